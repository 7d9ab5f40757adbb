//! Wake-ups between the threads of the server, many at a time.
//!
//! To wake a task of another thread takes a system call, and where both share a core, the kernel often
//! runs the other thread at once. A publication over HTTP would cost two switches between threads: to
//! its shard, and back with the number of members. So a task that waits for other threads waits in
//! [`gathered`]: a thread that wakes such tasks first runs what it has to run anyway, and then wakes
//! each other thread once, in [`exchange`].

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

/// How much a thread hands over to others before it wakes them, whatever else it has to run: what is
/// handed over would wait long where that is much, and another core may be idle.
const HANDED_OVER: usize = 32;

thread_local! {
    /// The thread, while its [`exchange`] runs.
    static CURRENT: RefCell<Option<Arc<Thread>>> = const { RefCell::new(None) };
}

/// Waits for `future`. Where another thread that has an [`exchange`] wakes it, it is woken together with
/// the other tasks of this thread. On a thread without one, nothing changes.
pub async fn gathered<T>(future: impl Future<Output = T>) -> T {
    let (mut future, mut cached) = (pin!(future), None::<(Waker, Waker)>);
    poll_fn(move |cx| {
        let is_current = |(task, _): &(Waker, Waker)| task.will_wake(cx.waker());
        if !cached.as_ref().is_some_and(is_current) {
            let gathered = |home| {
                let waker = GatheredWaker { task: cx.waker().clone(), home };
                (cx.waker().clone(), Arc::new(waker).into())
            };
            cached = current().map(gathered);
        }
        match &cached {
            Some((_, gathered)) => future.as_mut().poll(&mut Context::from_waker(gathered)),
            None => future.as_mut().poll(cx),
        }
    })
    .await
}

/// Wakes what tasks of this thread wake elsewhere, and the tasks of this thread that others wake. Runs
/// until it is dropped, as a task of its own: as part of another one it would be late.
pub async fn exchange() {
    let attached = Attached::new();
    poll_fn(|cx| {
        attached.0.exchange.register(cx.waker());
        attached.0.wake_others();
        attached.0.wake_own();
        Poll::<()>::Pending
    })
    .await;
}

/// Wakes now what tasks of this thread wake elsewhere.
pub fn flush() {
    if let Some(thread) = current() {
        thread.wake_others();
    }
}

/// Something was put into a queue that another thread reads: after [`HANDED_OVER`] times, what waits for
/// it is woken.
pub fn handed_over() {
    if let Some(thread) = current()
        && thread.handed_over.fetch_add(1, Ordering::Relaxed) + 1 >= HANDED_OVER
    {
        thread.wake_others();
    }
}

fn current() -> Option<Arc<Thread>> {
    // There is none while a thread's variables are destroyed.
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// A thread with an [`exchange`].
#[derive(Default)]
struct Thread {
    /// Wakes the exchange.
    exchange: AtomicWaker,
    /// Tasks of other threads that this one wakes later.
    put_off: Mutex<Vec<Arc<GatheredWaker>>>,
    /// How often something was handed over to other threads since they were woken.
    handed_over: AtomicUsize,
    /// Tasks of this thread that others wake.
    woken: Mutex<Woken>,
}

#[derive(Default)]
struct Woken {
    tasks: Vec<Waker>,
    /// The exchange has ended: nothing is taken from here any more.
    closed: bool,
}

/// What a future in [`gathered`] is polled with.
struct GatheredWaker {
    task: Waker,
    home: Arc<Thread>,
}

impl Wake for GatheredWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        match current().filter(|current| !Arc::ptr_eq(current, &self.home)) {
            Some(current) => current.put_off(self.clone()),
            None => self.task.wake_by_ref(),
        }
    }
}

impl Thread {
    fn put_off(&self, waker: Arc<GatheredWaker>) {
        let mut put_off = self.put_off.lock();
        put_off.push(waker);
        if put_off.len() == 1 {
            self.exchange.wake();
        }
    }

    fn wake_others(&self) {
        self.handed_over.store(0, Ordering::Relaxed);
        let put_off = std::mem::take(&mut *self.put_off.lock());
        let mut threads: Vec<Arc<Thread>> = Vec::new();
        for waker in put_off {
            let mut woken = waker.home.woken.lock();
            if woken.closed {
                drop(woken);
                waker.task.wake_by_ref();
                continue;
            }
            if woken.tasks.is_empty() {
                threads.push(waker.home.clone());
            }
            woken.tasks.push(waker.task.clone());
        }
        threads.iter().for_each(|thread| thread.exchange.wake());
    }

    fn wake_own(&self) {
        let woken = std::mem::take(&mut self.woken.lock().tasks);
        woken.into_iter().for_each(Waker::wake);
    }
}

/// Makes a thread the current one for as long as it lives.
struct Attached(Arc<Thread>);

impl Attached {
    fn new() -> Self {
        let thread = Arc::<Thread>::default();
        CURRENT.set(Some(thread.clone()));
        Attached(thread)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // There is none while a thread's variables are destroyed.
        let _ = CURRENT.try_with(|current| {
            current.borrow_mut().take_if(|current| Arc::ptr_eq(current, &self.0));
        });
        self.0.woken.lock().closed = true;
        self.0.wake_others();
        self.0.wake_own();
    }
}

#[cfg(test)]
mod tests;
