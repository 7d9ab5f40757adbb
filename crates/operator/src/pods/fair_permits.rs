//! [`FairPermits`]: a bound on scrapes at once that is shared fairly among namespaces.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// A semaphore whose permits go to the waiting namespaces in turn, so that many slow pods in one
/// namespace delay the others by no more than one pod per namespace would. Cloning is shallow.
#[derive(Clone)]
pub(super) struct FairPermits(Arc<Mutex<State>>);

/// A permit, returned when it is dropped.
pub(super) struct Permit {
    permits: Option<FairPermits>,
}

struct State {
    free: usize,
    /// Who waits, by namespace. The first one is next; none of the queues is empty.
    waiting: VecDeque<(String, VecDeque<oneshot::Sender<Permit>>)>,
}

impl FairPermits {
    pub(super) fn new(count: usize) -> Self {
        FairPermits(Arc::new(Mutex::new(State { free: count, waiting: VecDeque::new() })))
    }

    /// Waits for a permit. Within a namespace, who came first gets it first.
    pub(super) async fn acquire(&self, namespace: &str) -> Permit {
        let granted = {
            let mut state = self.0.lock();
            // Nobody waits while a permit is free.
            if state.free > 0 {
                state.free -= 1;
                return Permit { permits: Some(self.clone()) };
            }
            state.wait(namespace)
        };
        granted.await.expect("a waiter leaves the queue only with a permit")
    }

    fn release(&self) {
        loop {
            let Some(next) = self.0.lock().next_or_free() else { return };
            match next.send(Permit { permits: Some(self.clone()) }) {
                Ok(()) => return,
                // It no longer waits.
                Err(mut permit) => permit.permits = None,
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(permits) = self.permits.take() {
            permits.release();
        }
    }
}

impl State {
    fn wait(&mut self, namespace: &str) -> oneshot::Receiver<Permit> {
        let (sender, granted) = oneshot::channel();
        match self.waiting.iter_mut().find(|(name, _)| name == namespace) {
            Some((_, queue)) => {
                // Those that gave up must not pile up.
                queue.retain(|waiter| !waiter.is_closed());
                queue.push_back(sender);
            }
            None => self.waiting.push_back((namespace.to_owned(), VecDeque::from([sender]))),
        }
        granted
    }

    /// Whose turn it is; the permit is free if nobody waits.
    fn next_or_free(&mut self) -> Option<oneshot::Sender<Permit>> {
        while let Some((namespace, mut queue)) = self.waiting.pop_front() {
            let next = queue.pop_front();
            if !queue.is_empty() {
                self.waiting.push_back((namespace, queue));
            }
            if next.is_some() {
                return next;
            }
        }
        self.free += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn namespaces_take_turns() {
        let permits = FairPermits::new(1);
        let held = permits.acquire("slow").now_or_never().unwrap();
        let mut slow: Vec<_> = (0..3).map(|_| Box::pin(permits.acquire("slow"))).collect();
        assert!(slow.iter_mut().all(|waiter| waiter.now_or_never().is_none()));
        let mut healthy = Box::pin(permits.acquire("healthy"));
        assert!((&mut healthy).now_or_never().is_none());
        drop(held);
        let first = (&mut slow[0]).now_or_never().expect("it came first");
        assert!((&mut healthy).now_or_never().is_none());
        drop(first);
        drop((&mut healthy).now_or_never().expect("the other namespace is next"));
        assert!((&mut slow[1]).now_or_never().is_some());
    }

    #[test]
    fn a_permit_is_not_lost_to_a_waiter_that_gave_up() {
        let permits = FairPermits::new(1);
        let held = permits.acquire("a").now_or_never().unwrap();
        let mut gone = Box::pin(permits.acquire("a"));
        let mut granted = Box::pin(permits.acquire("b"));
        assert!((&mut gone).now_or_never().is_none() && (&mut granted).now_or_never().is_none());
        drop(gone);
        drop(held);
        // Granted, but dropped before it was taken.
        drop(granted);
        assert!(permits.acquire("c").now_or_never().is_some());
        assert_eq!(permits.0.lock().free, 1);
    }

    #[test]
    fn waiters_that_gave_up_do_not_pile_up() {
        let permits = FairPermits::new(1);
        let _held = permits.acquire("a").now_or_never().unwrap();
        for _ in 0..1000 {
            assert!(permits.acquire("a").now_or_never().is_none());
        }
        assert!(permits.0.lock().waiting[0].1.len() <= 2);
    }
}
