//! Wake-ups counted, and threads that wake each other all the time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc as threads;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::*;

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Another thread, how often its exchange is woken, and ten tasks of it.
struct Elsewhere {
    thread: Arc<Thread>,
    exchange: Arc<Count>,
    tasks: Vec<(Arc<Count>, Waker)>,
}

impl Elsewhere {
    fn new() -> Self {
        let (thread, exchange) = (Arc::<Thread>::default(), Arc::<Count>::default());
        thread.exchange.register(&exchange.clone().into());
        let task = |_| {
            let task = Arc::<Count>::default();
            let waker = GatheredWaker { task: task.clone().into(), home: thread.clone() };
            (task, Arc::new(waker).into())
        };
        Elsewhere { tasks: (0..10).map(task).collect(), thread, exchange }
    }

    fn wake_all(&self) {
        self.tasks.iter().for_each(|(_, waker)| waker.wake_by_ref());
    }

    fn woken(&self) -> usize {
        self.tasks.iter().map(|(task, _)| task.get()).sum()
    }
}

#[test]
fn tasks_of_another_thread_are_woken_together() {
    let (elsewhere, here) = (Elsewhere::new(), Attached::new());
    let exchange = Arc::<Count>::default();
    here.0.exchange.register(&exchange.clone().into());
    elsewhere.wake_all();
    assert_eq!((exchange.get(), elsewhere.exchange.get(), elsewhere.woken()), (1, 0, 0));
    flush();
    assert_eq!((elsewhere.exchange.get(), elsewhere.woken()), (1, 0), "its exchange wakes them");
    elsewhere.thread.wake_own();
    assert_eq!(elsewhere.woken(), 10);
    flush();
    assert_eq!((elsewhere.exchange.get(), elsewhere.woken()), (1, 10), "each was woken once");
}

#[test]
fn what_is_handed_over_waits_for_a_part_of_what_a_thread_runs_only() {
    let (elsewhere, _here) = (Elsewhere::new(), Attached::new());
    for _ in 0..2 {
        let woken = elsewhere.exchange.get();
        elsewhere.thread.exchange.register(&elsewhere.exchange.clone().into());
        elsewhere.thread.wake_own();
        elsewhere.wake_all();
        (1..HANDED_OVER).for_each(|_| handed_over());
        assert_eq!(elsewhere.exchange.get(), woken);
        handed_over();
        assert_eq!(elsewhere.exchange.get(), woken + 1);
    }
}

#[test]
fn a_thread_without_an_exchange_wakes_at_once() {
    let elsewhere = Elsewhere::new();
    elsewhere.wake_all();
    assert_eq!((elsewhere.exchange.get(), elsewhere.woken()), (0, 10));
}

#[test]
fn a_thread_wakes_its_own_tasks_at_once() {
    let (here, task) = (Attached::new(), Arc::<Count>::default());
    let waker = GatheredWaker { task: task.clone().into(), home: here.0.clone() };
    Waker::from(Arc::new(waker)).wake();
    assert_eq!(task.get(), 1);
}

#[test]
fn tasks_are_woken_where_the_exchange_of_their_thread_has_ended() {
    let (elsewhere, _here) = (Elsewhere::new(), Attached::new());
    elsewhere.wake_all();
    flush();
    drop(Attached(elsewhere.thread.clone()));
    assert_eq!(elsewhere.woken(), 10, "those that were to be woken");
    elsewhere.wake_all();
    flush();
    assert_eq!(elsewhere.woken(), 20, "those that are woken later");
}

#[test]
fn an_exchange_that_ends_wakes_what_was_put_off() {
    let (elsewhere, here) = (Elsewhere::new(), Attached::new());
    elsewhere.wake_all();
    drop(here);
    assert_eq!(elsewhere.exchange.get(), 1);
    elsewhere.thread.wake_own();
    elsewhere.wake_all();
    assert_eq!(elsewhere.woken(), 20, "the thread has no exchange any more");
}

/// A thread with a runtime and an exchange that runs `main`; sends what it gives.
fn thread<T: Send + 'static>(
    main: impl Future<Output = T> + Send + 'static,
) -> threads::Receiver<T> {
    let (result, done) = threads::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            tokio::spawn(exchange());
            let _ = result.send(tokio::spawn(main).await.unwrap());
        });
    });
    done
}

#[test]
fn no_wake_up_is_lost_between_threads_that_wait_for_each_other() {
    const CALLERS: usize = 16;
    const CALLS: usize = 2_000;
    let (calls, mut called) = mpsc::channel::<(usize, oneshot::Sender<usize>)>(4);
    let answered = thread(gathered(async move {
        let mut answered = 0;
        while let Some((number, answer)) = called.recv().await {
            answered += usize::from(answer.send(number + 1).is_ok());
        }
        answered
    }));
    let caller = |calls: mpsc::Sender<_>| {
        gathered(async move {
            for number in 0..CALLS {
                let (answer, answered) = oneshot::channel();
                calls.send((number, answer)).await.unwrap();
                assert_eq!(answered.await, Ok(number + 1));
            }
        })
    };
    let callers: Vec<_> = (0..2)
        .map(|_| {
            let tasks: Vec<_> = (0..CALLERS / 2).map(|_| caller(calls.clone())).collect();
            thread(async move {
                let tasks: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
                for task in tasks {
                    task.await.unwrap();
                }
            })
        })
        .collect();
    drop(calls);
    let deadline = Duration::from_secs(120);
    callers.iter().for_each(|caller| caller.recv_timeout(deadline).expect("the calls end"));
    assert_eq!(answered.recv_timeout(deadline), Ok(CALLERS * CALLS));
}
