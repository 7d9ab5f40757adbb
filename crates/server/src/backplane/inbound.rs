//! The [`Inbound`] messages of other servers.

use std::sync::Arc;
use std::time::Duration;

use super::wire::pod_messages::Ask;
use super::wire::presence::PresenceMessage;
use super::wire::requests;
use crate::message::Publication;
use crate::rooms::shares::Share;

/// Inbound messages that may wait to be handled; what arrives beyond it is dropped and counted.
/// More than the driver reads from a socket before others are scheduled.
pub const INBOUND_QUEUE: usize = 1 << 16;

/// A message of another server, decoded.
#[derive(Debug)]
pub enum Inbound {
    /// What another pod, a Node server or an emitter publishes; its share is held until it is
    /// delivered.
    Publication(Publication, Share),
    /// What a backend publishes on a bridged channel. Every pod hears it.
    Bridge(Publication, Share),
    /// What another server publishes, and asks the recipients to acknowledge.
    WithAcks {
        /// What is published.
        publication: Publication,
        /// What the answers must carry.
        id: requests::RequestId,
        /// How long the sender waits for acknowledgements.
        timeout: Duration,
    },
    /// What a Node server asks.
    NodeRequest {
        /// The namespace that it is about.
        namespace: Arc<str>,
        /// What is asked.
        ask: requests::Ask,
        /// What an answer must carry; without one nobody waits for an answer.
        id: Option<requests::RequestId>,
    },
    /// What another pod tells of a room with presence.
    PeerPresence {
        /// The pod that tells it.
        pod: String,
        /// What it tells.
        presence: PresenceMessage,
    },
    /// Another pod stops, and said so.
    PeerStops {
        /// The pod that stops.
        pod: String,
    },
    /// What another pod asks.
    PeerQuestion {
        /// The pod that asks.
        pod: String,
        /// What the answer must carry.
        id: u64,
        /// The namespace that it is about, where the question does not name it.
        namespace: String,
        /// What is asked; `None` where this version does not know the question.
        ask: Option<Ask>,
    },
}
