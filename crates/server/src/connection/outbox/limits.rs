//! The [`OutboxLimits`] that all outboxes share.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Limits that all outboxes share. `limits.queue` and `limits.writeStall` may change while
/// sessions are open.
#[derive(Debug)]
pub struct OutboxLimits {
    queue_bytes: AtomicUsize,
    write_stall_millis: AtomicU64,
    /// The most bytes in the answer of a poll.
    pub max_payload: usize,
}

impl OutboxLimits {
    /// `queue` and `max_payload` in bytes.
    pub fn new(queue: usize, write_stall: Duration, max_payload: usize) -> Self {
        let limits =
            OutboxLimits { queue_bytes: 0.into(), write_stall_millis: 0.into(), max_payload };
        limits.set(queue, write_stall);
        limits
    }

    /// Sets new limits, for open sessions too. `queue` in bytes.
    pub fn set(&self, queue: usize, write_stall: Duration) {
        self.queue_bytes.store(queue, Ordering::Relaxed);
        let millis = u64::try_from(write_stall.as_millis()).unwrap_or(u64::MAX);
        self.write_stall_millis.store(millis, Ordering::Relaxed);
    }

    /// Bytes that may wait for one client before a further delivery disconnects it.
    pub(super) fn queue(&self) -> usize {
        self.queue_bytes.load(Ordering::Relaxed)
    }

    /// How long a client may take none of the bytes that wait for it.
    pub(super) fn write_stall(&self) -> Duration {
        Duration::from_millis(self.write_stall_millis.load(Ordering::Relaxed))
    }
}
