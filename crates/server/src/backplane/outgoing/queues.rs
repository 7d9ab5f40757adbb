//! The [`OutgoingQueues`]: one queue of what is to be sent, or on the sharded wire of a Cluster one
//! for each primary, so that a primary that is away holds up nothing that is for another one.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use super::{MessageKind, NotQueued, Outgoing};
use crate::backplane::connect::cluster::Cluster;
use crate::backplane::connect::slot_map::{Address, slot_of};
use crate::message::Publication;

/// Where what is to be sent waits, by channel.
pub(in crate::backplane) enum OutgoingQueues {
    /// All of it in one queue.
    One(Arc<Outgoing>),
    /// In the queue of the primary that owns the channel's slot.
    ByNode(NodeQueues),
}

/// The queue of each primary of a Cluster.
pub(in crate::backplane) struct NodeQueues {
    cluster: Arc<Cluster>,
    queues: RwLock<HashMap<Address, Arc<Outgoing>>>,
}

impl NodeQueues {
    /// No queue yet.
    pub(in crate::backplane) fn new(cluster: Arc<Cluster>) -> Self {
        NodeQueues { cluster, queues: RwLock::default() }
    }

    /// What is for `node` waits in `queue` from now on.
    pub(in crate::backplane) fn add(&self, node: Address, queue: Arc<Outgoing>) {
        self.queues.write().insert(node, queue);
    }

    /// Nothing waits for `node` any more.
    pub(in crate::backplane) fn remove(&self, node: &Address) {
        self.queues.write().remove(node);
    }
}

impl OutgoingQueues {
    /// The queue of a channel; `None` where nobody owns its slot, as far as is known.
    fn of(&self, channel: &str) -> Option<Arc<Outgoing>> {
        match self {
            OutgoingQueues::One(queue) => Some(queue.clone()),
            OutgoingQueues::ByNode(nodes) => {
                let map = nodes.cluster.map();
                let owner = map.owner(slot_of(channel.as_bytes()))?;
                nodes.queues.read().get(owner).cloned()
            }
        }
    }

    /// Queues a message that is no publication. False: no connection is up, or too many wait.
    pub(in crate::backplane) fn push(
        &self,
        channel: String,
        payload: Vec<u8>,
        kind: MessageKind,
    ) -> bool {
        self.of(&channel).is_some_and(|queue| queue.push(channel, payload, kind))
    }

    /// Queues a publication; `encode` makes its bytes, where it can be sent.
    ///
    /// # Errors
    /// Why it is not sent.
    pub(in crate::backplane) fn push_publication(
        &self,
        publication: &Publication,
        channel: String,
        encode: impl FnOnce() -> Vec<u8>,
    ) -> Result<(), NotQueued> {
        let queue = self.of(&channel).filter(|queue| queue.is_open());
        queue.ok_or(NotQueued::Closed)?.push_publication(publication, channel, encode())
    }

    /// Whether Redis refused the last PUBLISH to one of these channels.
    pub(in crate::backplane) fn refuses(&self, channels: [&str; 2]) -> bool {
        match self {
            OutgoingQueues::One(queue) => queue.refuses(channels),
            OutgoingQueues::ByNode(_) => channels.iter().any(|channel| {
                self.of(channel).is_some_and(|queue| queue.refuses([channel, channel]))
            }),
        }
    }
}
