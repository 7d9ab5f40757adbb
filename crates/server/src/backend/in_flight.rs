//! [`InFlight`]: how many calls the backend has at the same time, and how many wait for that.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use super::failure::Failure;

/// Bounds the calls in flight, and those that wait, in the order in which they came.
#[derive(Debug)]
pub struct InFlight {
    permits: Semaphore,
    most: u32,
    waiting: AtomicU32,
    queue: u32,
}

impl InFlight {
    /// At most `most` calls in flight, and `queue` that wait.
    pub fn new(most: u32, queue: u32) -> Self {
        InFlight { permits: Semaphore::new(most as usize), most, waiting: AtomicU32::new(0), queue }
    }

    /// Waits for a permit for one call, at most until the deadline.
    ///
    /// # Errors
    /// [`Failure::Overloaded`] at once where as many wait as may, [`Failure::Busy`] at the deadline.
    pub async fn acquire(&self, deadline: Instant) -> Result<SemaphorePermit<'_>, Failure> {
        if let Ok(permit) = self.permits.try_acquire() {
            return Ok(permit);
        }
        let waiting = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waits = Waits(&self.waiting);
        if waiting >= self.queue {
            return Err(Failure::Overloaded(self.queue));
        }
        match timeout_at(deadline, self.permits.acquire()).await {
            Ok(permit) => Ok(permit.expect("the semaphore is never closed")),
            Err(_) => Err(Failure::Busy(self.most)),
        }
    }

    /// Calls that wait.
    #[cfg(test)]
    fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// One call that waits, until it is dropped.
struct Waits<'a>(&'a AtomicU32);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(1)
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_waits_for_a_permit_and_is_refused_where_too_many_wait() {
        let calls = InFlight::new(2, 1);
        let one = calls.acquire(soon()).await.unwrap();
        let _two = calls.acquire(soon()).await.unwrap();
        let mut third = Box::pin(calls.acquire(soon()));
        assert!((&mut third).now_or_never().is_none());
        assert_eq!(calls.waiting(), 1);
        assert_eq!(calls.acquire(soon()).await.err(), Some(Failure::Overloaded(1)));
        drop(one);
        assert!(third.await.is_ok());
        assert_eq!(calls.waiting(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_waits_no_longer_than_its_deadline() {
        let calls = InFlight::new(1, 10);
        let _one = calls.acquire(soon()).await.unwrap();
        assert_eq!(calls.acquire(soon()).await.err(), Some(Failure::Busy(1)));
        assert_eq!(calls.waiting(), 0);
    }
}
