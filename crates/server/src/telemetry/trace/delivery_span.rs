//! The [`DeliverySpan`]: the span over all deliveries of one publication on this instance.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// The attribute that marks a span without recipients; such a span is not exported.
pub(super) const EMPTY: &str = "rookery.empty";

/// How long a span waits for its last delivery. What is in outboxes then counts as pending.
pub(super) const MAX_AGE: Duration = Duration::from_secs(10);

/// Spans that may be open at once; further ones are dropped and counted.
const MAX_OPEN: usize = 4096;

/// Entries of ended spans that are kept in the list; beyond it they are removed together.
const MAX_ENDED: usize = MAX_OPEN;

/// The span over all deliveries of one traced publication on this instance. It ends with the last
/// reference to it, which the last delivery holds, or after ten seconds.
#[derive(Debug)]
pub struct DeliverySpan {
    /// `None` once the span has ended.
    span: Mutex<Option<(Span, Permit)>>,
    members: AtomicU64,
    written: AtomicU64,
    dropped: AtomicU64,
    queued: AtomicU64,
    /// The longest latency in microseconds; 0 where no delivery was timed.
    slowest_micros: AtomicU64,
}

impl DeliverySpan {
    fn new(span: Span, permit: Permit) -> Self {
        DeliverySpan {
            span: Mutex::new(Some((span, permit))),
            members: AtomicU64::new(0),
            written: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            queued: AtomicU64::new(0),
            slowest_micros: AtomicU64::new(0),
        }
    }

    /// Counts `n` members that a shard starts delivering to.
    pub fn addressed(&self, n: usize) {
        self.members.fetch_add(n as u64, Ordering::Relaxed);
    }

    /// Counts `n` deliveries that were written. `at` holds the time of each, or nothing where the
    /// clock was not read.
    pub fn written(&self, accepted: Instant, n: usize, at: &[Instant]) {
        self.written.fetch_add(n as u64, Ordering::Relaxed);
        if let Some(last) = at.last() {
            let micros = last.saturating_duration_since(accepted).as_micros();
            let micros = u64::try_from(micros).unwrap_or(u64::MAX).max(1);
            self.slowest_micros.fetch_max(micros, Ordering::Relaxed);
        }
    }

    /// Counts `n` deliveries that will never be written.
    pub fn dropped(&self, n: u64) {
        self.dropped.fetch_add(n, Ordering::Relaxed);
    }

    /// Counts a delivery that waits in a member's outbox.
    pub fn queued(&self) {
        self.queued.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends the span, once. `late` is true where deliveries may still be pending.
    fn close(&self, late: bool) {
        let taken = self.span.lock().take();
        let Some((span, _permit)) = taken else { return };
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (written, dropped) = (of(&self.written), of(&self.dropped));
        // Where none is pending, the other members left the room before they were served.
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

impl Drop for DeliverySpan {
    fn drop(&mut self) {
        self.close(false);
    }
}

/// The open spans, bounded by [`MAX_OPEN`].
#[derive(Debug, Default)]
pub(super) struct OpenSpans {
    permits: Arc<AtomicUsize>,
    /// When each span began, oldest first; ended ones are among them.
    begun: Mutex<VecDeque<(Instant, Weak<DeliverySpan>)>>,
}

/// One of [`MAX_OPEN`] permits for an open span; released when dropped.
#[derive(Debug)]
struct Permit(Arc<AtomicUsize>);

impl Permit {
    fn acquire(taken: &Arc<AtomicUsize>) -> Option<Self> {
        let one_more = |n| (n < MAX_OPEN).then_some(n + 1);
        taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Permit(taken.clone()))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl OpenSpans {
    /// Begins a span; `None` where too many are open.
    pub fn begin(&self, span: impl FnOnce() -> Span) -> Option<Arc<DeliverySpan>> {
        let permit = Permit::acquire(&self.permits)?;
        // Outside the lock: creating a span runs the subscriber.
        let span = Arc::new(DeliverySpan::new(span(), permit));
        let mut begun = self.begun.lock();
        if begun.len() >= MAX_OPEN + MAX_ENDED {
            begun.retain(|(_, span)| span.strong_count() > 0);
        }
        begun.push_back((Instant::now(), Arc::downgrade(&span)));
        Some(span)
    }

    /// Ends the spans that have been open for `max_age`.
    pub fn close(&self, max_age: Duration) {
        let mut late = Vec::new();
        {
            let mut begun = self.begun.lock();
            while let Some((began, span)) = begun.front()
                && (began.elapsed() >= max_age || span.strong_count() == 0)
            {
                late.extend(span.upgrade());
                begun.pop_front();
            }
        }
        // Outside the lock: ending a span runs the subscriber.
        late.iter().for_each(|span| span.close(true));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ended_spans_release_their_permit_and_use_bounded_memory() {
        let open = OpenSpans::default();
        let first = open.begin(Span::none).unwrap();
        for _ in 0..5 * (MAX_OPEN + MAX_ENDED) {
            drop(open.begin(Span::none).unwrap());
            assert!(open.begun.lock().len() <= MAX_OPEN + MAX_ENDED);
        }
        let mut rest: Vec<_> = (1..MAX_OPEN).map(|_| open.begin(Span::none).unwrap()).collect();
        assert!(open.begin(|| unreachable!("no span is created")).is_none());
        rest.pop();
        rest.push(open.begin(Span::none).unwrap());
        // A span that was ended late has released its permit, though it is still referenced.
        open.close(Duration::ZERO);
        assert!(open.begin(Span::none).is_some());
        drop((first, rest));
        assert_eq!(open.permits.load(Ordering::Relaxed), 0);
    }
}
