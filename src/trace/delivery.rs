//! The [`Delivery`]: what becomes of one publication on this instance.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
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

/// The deliveries of one followed publication on this instance, behind one span. It ends with the
/// last of them, when nothing refers to it any more, or after ten seconds.
#[derive(Debug)]
pub struct Delivery {
    span: Mutex<Span>,
    members: AtomicU64,
    written: AtomicU64,
    dropped: AtomicU64,
    queued: AtomicU64,
    slowest_micros: AtomicU64,
}

impl Delivery {
    fn new(span: Span) -> Self {
        Delivery {
            span: Mutex::new(span),
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
            let micros = u64::try_from(micros).unwrap_or(u64::MAX);
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
        let span = std::mem::replace(&mut *self.span.lock(), Span::none());
        if span.is_none() {
            return;
        }
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
        span.set_attribute("rookery.slowest_seconds", slowest.as_secs_f64());
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.close(false);
    }
}

/// The deliveries whose spans are open.
#[derive(Debug, Default)]
pub(super) struct Open(Mutex<VecDeque<(Instant, Weak<Delivery>)>>);

impl Open {
    /// Opens one; `None` where too many are open.
    pub fn begin(&self, span: impl FnOnce() -> Span) -> Option<Arc<Delivery>> {
        let mut open = self.0.lock();
        if open.len() >= OPEN {
            open.retain(|(_, delivery)| delivery.strong_count() > 0);
            if open.len() >= OPEN {
                return None;
            }
        }
        let delivery = Arc::new(Delivery::new(span()));
        open.push_back((Instant::now(), Arc::downgrade(&delivery)));
        Some(delivery)
    }

    /// Ends those that are open for `longest`.
    pub fn close(&self, longest: Duration) {
        let mut late = Vec::new();
        {
            let mut open = self.0.lock();
            while let Some((began, delivery)) = open.front()
                && (began.elapsed() >= longest || delivery.strong_count() == 0)
            {
                late.extend(delivery.upgrade());
                open.pop_front();
            }
        }
        // Outside the lock: ending a span runs its subscriber.
        late.iter().for_each(|delivery| delivery.close(true));
    }
}
