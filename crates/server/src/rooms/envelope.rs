//! The [`Envelope`]: a publication made ready for the shards.

use std::sync::Arc;

use crate::connection::outbox::Packet;
use crate::message::{Publication, RoomKey};
use crate::telemetry::latency::DeliveryTag;
use crate::telemetry::trace::DeliverySpan;
use rookery_protocol::Room;
use rookery_protocol::encoded::Encoded;
use rookery_protocol::packet::encode_event;

/// A publication, encoded once, with a stamp for each target room. Shared by the shards.
#[derive(Debug)]
pub struct Envelope {
    /// The publication.
    pub publication: Arc<Publication>,
    encoded: Arc<Encoded>,
    stamps: Vec<Arc<DeliveryTag>>,
    trace: Option<Arc<DeliverySpan>>,
}

impl Envelope {
    /// Encodes it. `class` gives the latency class of a room; `trace` follows its deliveries.
    pub fn seal(
        publication: Arc<Publication>,
        class: impl Fn(&str) -> Arc<str>,
        trace: Option<Arc<DeliverySpan>>,
    ) -> Self {
        let p = &publication;
        let (text, attachments) = encode_event(&p.namespace, None, &p.event, &p.args);
        let stamp = |room: Option<&Room>| {
            Arc::new(DeliveryTag {
                accepted: p.accepted,
                class: class(room.map_or("", |r| r)),
                hop: p.source.hop(),
                room: room.map(|room| RoomKey::new(p.namespace.clone(), room.clone())),
                trace: trace.clone(),
            })
        };
        let stamps = match p.rooms.is_empty() {
            true => vec![stamp(None)],
            false => p.rooms.iter().map(|room| stamp(Some(room))).collect(),
        };
        let encoded = Arc::new(Encoded::message(&text, attachments));
        Envelope { encoded, stamps, trace, publication }
    }

    /// Tells the trace that a shard begins to deliver it to `n` members.
    pub fn addressed(&self, n: usize) {
        if let Some(trace) = &self.trace {
            trace.addressed(n);
        }
    }

    /// Bytes of its text form.
    pub fn size(&self) -> usize {
        self.encoded.size()
    }

    /// What is delivered to a member whose first target room is at `position`.
    pub fn item(&self, position: usize) -> Packet {
        Packet {
            encoded: self.encoded.clone(),
            tag: Some(self.stamps[position.min(self.stamps.len() - 1)].clone()),
            volatile: self.publication.volatile,
        }
    }

    /// Whether it goes to the same members as `other`.
    pub fn same_target(&self, other: &Envelope) -> bool {
        let (a, b) = (&self.publication, &other.publication);
        a.rooms == b.rooms && a.except == b.except && a.namespace == b.namespace
    }
}
