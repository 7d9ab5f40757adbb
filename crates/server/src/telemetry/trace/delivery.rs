//! The [`Delivery`]: what becomes of one publication on this instance.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Marks the span of a delivery that was for nobody; it is not sent.
pub(super) const EMPTY: &str = "rookery.empty";

/// How long a span waits for its last delivery. What is in outboxes then counts as pending.
pub(super) const LONGEST: Duration = Duration::from_secs(10);

/// Deliveries that may be open at once; further ones get no span.
const OPEN: usize = 4096;

/// Entries of ended deliveries that are kept besides; they are cleared away together.
const ENDED: usize = OPEN;

/// The deliveries of one followed publication on this instance, behind one span. It ends with the
/// last of them, when nothing refers to it any more, or after ten seconds.
#[derive(Debug)]
pub struct Delivery {
    span: Mutex<Option<(Span, Place)>>,
    members: AtomicU64,
    written: AtomicU64,
    dropped: AtomicU64,
    queued: AtomicU64,
    /// 0 where no delivery was timed.
    slowest_micros: AtomicU64,
}

impl Delivery {
    fn new(span: Span, place: Place) -> Self {
        Delivery {
            span: Mutex::new(Some((span, place))),
            members: AtomicU64::new(0),
            written: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            queued: AtomicU64::new(0),
            slowest_micros: AtomicU64::new(0),
        }
    }

    /// A shard begins to deliver to `n` of its members.
    pub fn addressed(&self, n: usize) {
        self.members.fetch_add(n as u64, Ordering::Relaxed);
    }

    /// It was written for `n` members, at these moments where they are known.
    pub fn written(&self, accepted: Instant, n: usize, at: &[Instant]) {
        self.written.fetch_add(n as u64, Ordering::Relaxed);
        if let Some(last) = at.last() {
            let micros = last.saturating_duration_since(accepted).as_micros();
            let micros = u64::try_from(micros).unwrap_or(u64::MAX).max(1);
            self.slowest_micros.fetch_max(micros, Ordering::Relaxed);
        }
    }

    /// It will never be written for `n` members.
    pub fn dropped(&self, n: u64) {
        self.dropped.fetch_add(n, Ordering::Relaxed);
    }

    /// It waits in one member's outbox.
    pub fn queued(&self) {
        self.queued.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends the span, once. `late`: not all was written or dropped yet, perhaps.
    fn close(&self, late: bool) {
        let taken = self.span.lock().take();
        let Some((span, _place)) = taken else { return };
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (written, dropped) = (of(&self.written), of(&self.dropped));
        // At its natural end the rest left the room before their turn.
        let members = if late { of(&self.members) } else { written + dropped };
        if members == 0 && !late {
            span.set_attribute(EMPTY, true);
        }
        let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        span.set_attribute("rookery.members", count(members));
        span.set_attribute("rookery.written", count(written));
        span.set_attribute("rookery.dropped", count(dropped));
        span.set_attribute("rookery.queued", count(of(&self.queued)));
        span.set_attribute("rookery.pending", count(members.saturating_sub(written + dropped)));
        let slowest = Duration::from_micros(of(&self.slowest_micros));
        if !slowest.is_zero() {
            span.set_attribute("rookery.slowest_seconds", slowest.as_secs_f64());
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.close(false);
    }
}

/// The deliveries whose spans are open.
#[derive(Debug, Default)]
pub(super) struct Open {
    taken: Arc<AtomicUsize>,
    /// The oldest first; ended ones are among them.
    begun: Mutex<VecDeque<(Instant, Weak<Delivery>)>>,
}

/// One of the [`OPEN`] places; free again when dropped.
#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(taken: &Arc<AtomicUsize>) -> Option<Self> {
        let one_more = |n| (n < OPEN).then_some(n + 1);
        taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Place(taken.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Open {
    /// Opens one; `None` where too many are open.
    pub fn begin(&self, span: impl FnOnce() -> Span) -> Option<Arc<Delivery>> {
        let place = Place::take(&self.taken)?;
        // Outside the lock: making a span runs its subscriber.
        let delivery = Arc::new(Delivery::new(span(), place));
        let mut begun = self.begun.lock();
        if begun.len() >= OPEN + ENDED {
            begun.retain(|(_, delivery)| delivery.strong_count() > 0);
        }
        begun.push_back((Instant::now(), Arc::downgrade(&delivery)));
        Some(delivery)
    }

    /// Ends those that are open for `longest`.
    pub fn close(&self, longest: Duration) {
        let mut late = Vec::new();
        {
            let mut begun = self.begun.lock();
            while let Some((began, delivery)) = begun.front()
                && (began.elapsed() >= longest || delivery.strong_count() == 0)
            {
                late.extend(delivery.upgrade());
                begun.pop_front();
            }
        }
        // Outside the lock: ending a span runs its subscriber.
        late.iter().for_each(|delivery| delivery.close(true));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ended_deliveries_take_no_place_and_bounded_memory() {
        let open = Open::default();
        let first = open.begin(Span::none).unwrap();
        for _ in 0..5 * (OPEN + ENDED) {
            drop(open.begin(Span::none).unwrap());
            assert!(open.begun.lock().len() <= OPEN + ENDED);
        }
        let mut rest: Vec<_> = (1..OPEN).map(|_| open.begin(Span::none).unwrap()).collect();
        assert!(open.begin(|| unreachable!("no span is made for it")).is_none());
        rest.pop();
        rest.push(open.begin(Span::none).unwrap());
        // One that was ended because it took too long has no place, though it is still referred to.
        open.close(Duration::ZERO);
        assert!(open.begin(Span::none).is_some());
        drop((first, rest));
        assert_eq!(open.taken.load(Ordering::Relaxed), 0);
    }
}
