//! The [`DeliveryRecorder`]: records what becomes of one shard's deliveries.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use super::statistics::ShardStatistics;
use super::tag::DeliveryTag;
#[cfg(test)]
use super::{top_rooms::TopRooms, windows::MAX_ROOMS, windows::RoomWindows};
use crate::telemetry::metrics::{Metrics, Outcome, Traffic};

/// Records what becomes of one shard's deliveries: each is written or dropped, exactly once.
///
/// It is called with an outbox's lock held, so it neither waits nor calls back into an outbox.
pub struct DeliveryRecorder {
    metrics: Arc<Metrics>,
    /// Deliveries until the next one that is measured, so that [`DeliveryRecorder::is_due`] needs no
    /// lock.
    due_in: AtomicU64,
    statistics: Mutex<ShardStatistics>,
}

impl DeliveryRecorder {
    /// A recorder that counts outcomes in `metrics` and latencies in `statistics`.
    pub(super) fn new(metrics: Arc<Metrics>, statistics: ShardStatistics) -> Self {
        let due_in = statistics.due_in().into();
        DeliveryRecorder { metrics, due_in, statistics: Mutex::new(statistics) }
    }

    /// The shard's statistics. A delivery of the shard waits for whoever holds their lock.
    pub fn statistics(&self) -> &Mutex<ShardStatistics> {
        &self.statistics
    }

    /// Whether one of the next `deliveries` is to be measured. If not, the caller need not read
    /// the clock for them.
    pub fn is_due(&self, deliveries: usize) -> bool {
        if cfg!(feature = "unmeasured") {
            return false;
        }
        deliveries as u64 >= self.due_in.load(Ordering::Relaxed)
    }

    /// Records that a publication was handed to the kernel, or to the answer of a poll, for
    /// `deliveries` recipients. `at` holds the time of each write, or nothing where the clock was
    /// not read.
    pub fn written(&self, tag: &DeliveryTag, deliveries: usize, at: &[Instant]) {
        self.written_together(std::iter::once(tag), deliveries, at);
    }

    /// The same for publications that were written together, each for `deliveries` recipients at
    /// the times `at`.
    pub fn written_together<'a>(
        &self,
        tags: impl Iterator<Item = &'a DeliveryTag> + Clone,
        deliveries: usize,
        at: &[Instant],
    ) {
        if deliveries == 0 {
            return;
        }
        let publications = tags.clone().count();
        self.metrics.delivered(Outcome::Written, (publications * deliveries) as u64);
        for tag in tags.clone() {
            if let Some(trace) = &tag.trace {
                trace.written(tag.accepted, deliveries, at);
            }
        }
        if cfg!(feature = "unmeasured") || publications == 0 {
            return;
        }
        let now = at.last().copied().unwrap_or_else(Instant::now);
        let mut statistics = self.statistics.lock();
        for tag in tags {
            statistics.record(tag, deliveries, at, now);
        }
        self.due_in.store(statistics.due_in(), Ordering::Relaxed);
    }

    /// Records that `n` deliveries begin. What becomes of each is recorded later.
    pub fn addressed(&self, n: u64) {
        if n > 0 {
            self.metrics.recipients.inc_by(n);
        }
    }

    /// Records what a client sent.
    pub fn received(&self, traffic: Traffic) {
        self.metrics.clients.received(traffic);
    }

    /// Records what clients are sent.
    pub fn sent(&self, traffic: Traffic) {
        self.metrics.clients.sent(traffic);
    }

    /// Records bytes for a client that takes compressed messages: before compression, and after it.
    pub fn deflated(&self, before: usize, after: usize) {
        self.metrics.deflate.add(before, after);
    }

    /// Records that `n` deliveries will never be written.
    pub fn dropped(&self, outcome: Outcome, n: u64) {
        self.metrics.delivered(outcome, n);
    }
}

#[cfg(test)]
impl DeliveryRecorder {
    /// A recorder with metrics of its own that measures every delivery.
    pub fn for_test() -> Arc<Self> {
        let metrics = Arc::new(Metrics::new().expect("the metrics are valid"));
        let top_rooms = Arc::new(TopRooms::new([], 0, ""));
        let windows = RoomWindows::new(MAX_ROOMS, Instant::now());
        Arc::new(Self::new(metrics, ShardStatistics::new(top_rooms, 1, windows)))
    }

    /// How many deliveries began.
    pub fn recipients(&self) -> u64 {
        self.metrics.recipients.get()
    }

    /// How many deliveries had this outcome.
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.metrics.deliveries(outcome)
    }
}
