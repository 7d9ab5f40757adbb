//! The [`EncodedPublication`]: a publication made ready for the shards.

use std::sync::Arc;

use rookery_protocol::Room;
use rookery_protocol::encoded::Encoded;
use smallvec::{SmallVec, smallvec};

use super::shares::Share;
use crate::connection::outbox::Packet;
use crate::message::{Publication, RoomKey, Source};
use crate::telemetry::latency::DeliveryTag;
use crate::telemetry::trace::DeliverySpan;

/// A publication, encoded once, with a tag for each target room that its deliveries are counted
/// under. Shared by the shards.
#[derive(Debug)]
pub struct EncodedPublication {
    /// The namespace of its target rooms.
    pub namespace: Arc<str>,
    /// Target rooms; empty: the whole namespace.
    pub rooms: SmallVec<[Room; 1]>,
    /// Rooms whose members do not get it.
    pub except: SmallVec<[Room; 1]>,
    /// Whether it says who came into a room or went: whoever is told who is there knows that.
    pub tells_presence: bool,
    volatile: bool,
    encoded: Arc<Encoded>,
    tags: SmallVec<[Arc<DeliveryTag>; 1]>,
    trace: Option<Arc<DeliverySpan>>,
    /// Held until every shard has delivered it.
    _share: Option<Share>,
}

impl EncodedPublication {
    /// Encodes it. With `ack`, it asks its recipients to acknowledge it by this number. `class` gives
    /// the latency class of a room; `trace` follows its deliveries.
    pub fn new(
        publication: Publication,
        ack: Option<u64>,
        class: impl Fn(&str) -> Arc<str>,
        trace: Option<Arc<DeliverySpan>>,
    ) -> Self {
        let p = publication;
        let tag = |room: Option<&Room>| {
            Arc::new(DeliveryTag {
                accepted: p.accepted,
                class: class(room.map_or("", |room| room)),
                hop: p.source.hop(),
                room: room.map(|room| RoomKey::new(p.namespace.clone(), room.clone())),
                trace: trace.clone(),
            })
        };
        let tags = match p.rooms.is_empty() {
            true => smallvec![tag(None)],
            false => p.rooms.iter().map(|room| tag(Some(room))).collect(),
        };
        let encoded = match ack {
            Some(id) => Encoded::event_with_ack(&p.namespace, id, &p.event, &p.args),
            None => Encoded::event(&p.namespace, &p.event, &p.args),
        };
        let encoded = if p.compress { encoded } else { encoded.uncompressed() };
        EncodedPublication {
            encoded: Arc::new(encoded),
            tags,
            trace,
            tells_presence: p.source == Source::Presence,
            volatile: p.volatile,
            namespace: p.namespace,
            rooms: p.rooms,
            except: p.except,
            _share: None,
        }
    }

    /// The same, holding a share until it is delivered.
    pub fn holding(self, share: Option<Share>) -> Self {
        EncodedPublication { _share: share, ..self }
    }

    /// Tells the trace that a shard begins to deliver it to `members`.
    pub fn addressed(&self, members: usize) {
        if let Some(trace) = &self.trace {
            trace.addressed(members);
        }
    }

    /// Bytes of its text form.
    pub fn size(&self) -> usize {
        self.encoded.size()
    }

    /// What is delivered to a member whose first target room is at `position`.
    pub fn packet(&self, position: usize) -> Packet {
        Packet {
            encoded: self.encoded.clone(),
            tag: Some(self.tags[position.min(self.tags.len() - 1)].clone()),
            volatile: self.volatile,
        }
    }

    /// Whether it goes to the same members as `other`.
    pub fn same_target(&self, other: &EncodedPublication) -> bool {
        self.rooms == other.rooms
            && self.except == other.except
            && self.namespace == other.namespace
    }
}
