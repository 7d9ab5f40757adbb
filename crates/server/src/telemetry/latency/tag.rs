//! The [`DeliveryTag`]: what the deliveries of one publication in one room are counted under.

use std::sync::Arc;
use std::time::Instant;

use crate::message::{Hop, RoomKey};
use crate::telemetry::trace::DeliverySpan;

/// What a delivery is counted under, shared by all deliveries of one publication in one room.
#[derive(Debug)]
pub struct DeliveryTag {
    /// When the publication was accepted, on this instance's monotonic clock.
    pub accepted: Instant,
    /// The value of the label `class`: the name of the room rule that matched.
    pub class: Arc<str>,
    /// Whether this instance or another one accepted the publication.
    pub hop: Hop,
    /// The room that the delivery counts for; `None` for a publication to a whole namespace.
    pub room: Option<RoomKey>,
    /// The span that follows the publication's deliveries; `None` where it is not traced.
    pub trace: Option<Arc<DeliverySpan>>,
}

impl DeliveryTag {
    /// Tells the trace that `n` deliveries will never be written.
    pub fn lost(&self, n: u64) {
        if let Some(trace) = &self.trace {
            trace.dropped(n);
        }
    }
}
