//! The [`NodePublishers`]: on the sharded wire of a Cluster, a [`Publisher`] for each primary.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Publisher, PublisherStatus};
use crate::backplane::Parts;
use crate::backplane::connect::Connector;
use crate::backplane::connect::cluster::Cluster;
use crate::backplane::connect::slot_map::{Address, SlotMap};
use crate::backplane::link_status::{LinkConnection, LinkStatus};
use crate::backplane::outgoing::Outgoing;
use crate::backplane::outgoing::queues::OutgoingQueues;
use crate::backplane::sequence::Numbering;
use crate::wakeups::gathered;

/// Keeps a publisher for each primary that owns slots.
pub(in crate::backplane) struct NodePublishers {
    parts: Arc<Parts>,
    cluster: Arc<Cluster>,
    up: Arc<NodesUp>,
    numbering: Arc<Mutex<Numbering>>,
    running: HashMap<Address, CancellationToken>,
    tasks: JoinSet<()>,
}

/// Which publishers are connected.
struct NodesUp {
    status: Arc<LinkStatus>,
    nodes: Mutex<Nodes>,
}

#[derive(Default)]
struct Nodes {
    /// Whether each primary's publisher is connected.
    up: HashMap<Address, bool>,
    /// Whether every slot has an owner.
    is_whole: bool,
}

/// Says for one primary whether its publisher is connected.
#[derive(Clone)]
pub(super) struct NodePublisherStatus {
    node: Address,
    up: Arc<NodesUp>,
}

impl NodePublisherStatus {
    /// The publisher was connected, or lost its connection.
    pub(super) fn set(&self, is_up: bool) {
        self.up.change(|nodes| {
            // One that was left is of no importance any more.
            if let Some(up) = nodes.up.get_mut(&self.node) {
                *up = is_up;
            }
        });
    }
}

impl NodesUp {
    fn change(&self, change: impl FnOnce(&mut Nodes)) {
        let mut nodes = self.nodes.lock();
        change(&mut nodes);
        let is_up = nodes.is_whole && !nodes.up.is_empty() && nodes.up.values().all(|up| *up);
        // Under the lock, so that the last change is told last.
        self.status.set(LinkConnection::Commands, is_up);
    }
}

impl NodePublishers {
    /// For the primaries of `cluster`: none yet.
    pub(in crate::backplane) fn new(parts: Arc<Parts>, cluster: Arc<Cluster>) -> Self {
        let up = NodesUp { status: parts.status.clone(), nodes: Mutex::default() };
        let (up, running, tasks) = (Arc::new(up), HashMap::new(), JoinSet::new());
        NodePublishers { parts, cluster, up, numbering: Arc::default(), running, tasks }
    }

    /// Keeps them until `shutdown`; then each sends what still waits.
    pub(in crate::backplane) async fn run(mut self, shutdown: CancellationToken) {
        let mut maps = self.cluster.follow();
        while !shutdown.is_cancelled() {
            let map = maps.borrow_and_update().clone();
            self.keep(&map, &shutdown);
            tokio::select! {
                () = shutdown.cancelled() => {}
                // The sender lives as long as `self`.
                _ = maps.changed() => {}
                Some(ended) = self.tasks.join_next() => resume(ended),
            }
        }
        while let Some(ended) = self.tasks.join_next().await {
            resume(ended);
        }
    }

    /// Starts publishers for new primaries, and ends those of primaries that own nothing any more.
    fn keep(&mut self, map: &SlotMap, shutdown: &CancellationToken) {
        let OutgoingQueues::ByNode(queues) = &*self.parts.outgoing else { return };
        self.running.retain(|node, ends| {
            let stays = map.has_primary(node);
            if !stays {
                queues.remove(node);
                ends.cancel();
            }
            stays
        });
        let new: Vec<_> =
            map.primaries().filter(|node| !self.running.contains_key(node)).cloned().collect();
        self.up.change(|nodes| {
            nodes.up.retain(|node, _| map.has_primary(node));
            nodes.up.extend(new.iter().map(|node| (node.clone(), false)));
            nodes.is_whole = map.uncovered() == 0;
        });
        for node in new {
            let (outgoing, queue) = Outgoing::new();
            queues.add(node.clone(), outgoing.clone());
            let status = NodePublisherStatus { node: node.clone(), up: self.up.clone() };
            let publisher = Publisher {
                connector: Connector::to_node(self.cluster.clone(), node.clone()),
                status: PublisherStatus::Node(status),
                commands: Arc::default(),
                numbering: self.numbering.clone(),
                ..Publisher::new(&self.parts, outgoing, queue)
            };
            let ends = shutdown.child_token();
            self.tasks.spawn(gathered(publisher.run(ends.clone())));
            self.running.insert(node, ends);
        }
    }
}

/// A publisher that panics takes this task along, which ends the process.
fn resume(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}
