//! The account of deliveries: each ends up as written or dropped, exactly once.

use std::sync::Arc;
use std::time::Instant;

use crate::message::Hop;
use crate::telemetry::metrics::Outcome;
use crate::telemetry::trace::Delivery;
use rookery_protocol::Room;

/// What a delivery is counted under, shared by all deliveries of one publication in one room.
#[derive(Debug)]
pub struct Stamp {
    /// When the publication was accepted, on this instance's clock.
    pub accepted: Instant,
    /// The room rule that matched, for the label `class`.
    pub class: Arc<str>,
    /// Whether it was accepted here.
    pub hop: Hop,
    /// The namespace that the room is in.
    pub namespace: Arc<str>,
    /// The room under which it counts; `None` for publications to a whole namespace.
    pub room: Option<Room>,
    /// The trace that follows the publication.
    pub trace: Option<Arc<Delivery>>,
}

impl Stamp {
    /// Tells the trace of `n` deliveries that will never be written.
    pub fn lost(&self, n: u64) {
        if let Some(trace) = &self.trace {
            trace.dropped(n);
        }
    }
}

/// Keeps the account. Called with an outbox's lock held: it must not call back into one.
pub trait Ledger: Send + Sync {
    /// Whether one of the next `deliveries` is to be measured; else their moments need not be
    /// known.
    fn is_due(&self, deliveries: usize) -> bool;

    /// `stamp`'s publication was handed to the kernel, or to a poll's answer, for so many
    /// recipients, at these moments; at none where they were not known.
    fn written(&self, stamp: &Stamp, deliveries: usize, at: &[Instant]);

    /// `n` deliveries will never be written.
    fn dropped(&self, outcome: Outcome, n: u64);
}
