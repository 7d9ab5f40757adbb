//! [`Cluster`]: the nodes of a Redis Cluster, which of them owns which slot, and a connection for
//! commands to each that is asked something.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{
    Client, ConnectionAddr, ErrorKind, PushInfo, PushKind, RedisError, RedisResult, ServerErrorKind,
};
use rookery_ops::throttle::{Throttle, limited};
use tokio::sync::{Notify, watch};

use super::address_of;
use super::advice::{Asked, advice};
use super::attempts::open;
use super::client::ClientTemplate;
use super::slot_map::{Address, SlotMap, slot_of};

/// How long a connection waits for the first answer about the slots.
const FIRST_MAP: Duration = Duration::from_secs(2);

/// How long an answer to a command may take.
const ANSWER: Duration = Duration::from_secs(5);

/// A Redis Cluster.
pub(in crate::backplane) struct Cluster {
    /// The nodes of the configuration.
    seeds: Vec<Address>,
    template: ClientTemplate,
    is_tls: bool,
    map: watch::Sender<Arc<SlotMap>>,
    /// Tells [`ClusterWatch`](super::cluster_watch::ClusterWatch) to ask again.
    stale: Notify,
    /// Connections for commands, by node; opened when one is needed.
    commands: Mutex<HashMap<Address, Arc<Slot>>>,
    /// Counts the connections of the classic wire, so that they go to the primaries in turn.
    turn: AtomicUsize,
    /// Why a node could not be asked who owns the slots, the last time.
    not_answered: Mutex<Option<String>>,
    /// Of the lines about nodes that cannot be reached.
    lines: Throttle,
}

/// The connection to one node. The lock is held while it is opened.
#[derive(Default)]
struct Slot {
    connection: tokio::sync::Mutex<Option<MultiplexedConnection>>,
}

impl Cluster {
    /// The Cluster that `seeds` are nodes of; connects to nothing. `first`: where to begin among the
    /// primaries.
    pub(super) fn new(
        seeds: &[ConnectionAddr],
        template: ClientTemplate,
        is_tls: bool,
        first: usize,
        lines: Throttle,
    ) -> Self {
        let seeds = seeds.iter().filter_map(|seed| match seed {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                Some(Address { host: host.clone(), port: *port })
            }
            _ => None,
        });
        Cluster {
            seeds: seeds.collect(),
            template,
            is_tls,
            map: watch::Sender::default(),
            stale: Notify::new(),
            commands: Mutex::default(),
            turn: AtomicUsize::new(first),
            not_answered: Mutex::default(),
            lines,
        }
    }

    /// The nodes of the configuration.
    pub(super) fn seeds(&self) -> &[Address] {
        &self.seeds
    }

    /// Who owns each slot, as far as is known.
    pub(in crate::backplane) fn map(&self) -> Arc<SlotMap> {
        self.map.borrow().clone()
    }

    /// Follows who owns each slot.
    pub(in crate::backplane) fn follow(&self) -> watch::Receiver<Arc<SlotMap>> {
        self.map.subscribe()
    }

    /// Who owns each slot; waits for the first answer of a node, but at most 2 s.
    ///
    /// # Errors
    /// When no node has answered.
    pub(in crate::backplane) async fn first_map(&self) -> RedisResult<Arc<SlotMap>> {
        let mut maps = self.map.subscribe();
        let known = maps.wait_for(|map| !map.is_empty());
        match tokio::time::timeout(FIRST_MAP, known).await {
            Ok(Ok(map)) => Ok(map.clone()),
            _ => {
                let seeds = || self.seeds.iter().map(ToString::to_string).collect::<Vec<_>>();
                let why = self.not_answered.lock().clone().unwrap_or_else(|| seeds().join(", "));
                Err((ErrorKind::Io, "no node of the Cluster says who owns its slots", why).into())
            }
        }
    }

    /// What the nodes answer: replaces what was known.
    pub(super) fn learned(&self, map: SlotMap) {
        let is_new = self.map.send_if_modified(|known| {
            let is_new = **known != map;
            if is_new {
                *known = Arc::new(map);
            }
            is_new
        });
        if is_new {
            let map = self.map();
            self.commands.lock().retain(|address, _| map.nodes().any(|node| node == address));
        }
    }

    /// The nodes are to be asked soon who owns the slots.
    pub(in crate::backplane) fn suspect(&self) {
        self.stale.notify_one();
    }

    /// Resolves when the nodes are to be asked again.
    pub(super) async fn suspected(&self) {
        self.stale.notified().await;
    }

    /// Takes note of what an error of the node `asked` says about a slot. True: it is MOVED, and the
    /// owner that it names is known now.
    pub(in crate::backplane) fn moved(&self, error: &RedisError, asked: &Address) -> bool {
        if error.kind() != ErrorKind::Server(ServerErrorKind::Moved) {
            return false;
        }
        let Some((address, slot)) = error.redirect_node() else { return false };
        let Some(owner) = Address::read(address, asked) else { return false };
        self.map.send_if_modified(|map| {
            let is_new = map.owner(slot) != Some(&owner);
            if is_new {
                *map = Arc::new(map.moved(slot, &owner));
            }
            is_new
        });
        self.suspect();
        true
    }

    /// Resolves when a node is no primary with slots any more.
    pub(super) async fn left(&self, address: &Address) {
        let mut maps = self.map.subscribe();
        // The sender lives as long as `self`.
        let _ = maps.wait_for(|map| !map.is_empty() && !map.has_primary(address)).await;
    }

    /// A client of a node; connects to nothing.
    ///
    /// # Errors
    /// Where the certificates cannot be used.
    pub(super) fn client(&self, node: &Address) -> RedisResult<Client> {
        self.template.at(address_of(&node.host, node.port, self.is_tls))
    }

    /// The primaries, each time from another one on.
    pub(super) fn primaries_in_turn(&self, map: &SlotMap) -> Vec<Address> {
        let mut primaries: Vec<Address> = map.primaries().cloned().collect();
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % primaries.len().max(1);
        primaries.rotate_left(first);
        primaries
    }

    /// The connection for commands to a node, which is opened if there is none.
    ///
    /// # Errors
    /// When the node cannot be reached.
    pub(in crate::backplane) async fn commands_at(
        self: &Arc<Self>,
        node: &Address,
    ) -> RedisResult<MultiplexedConnection> {
        let slot = self.commands.lock().entry(node.clone()).or_default().clone();
        let mut connection = slot.connection.lock().await;
        if let Some(connection) = &*connection {
            return Ok(connection.clone());
        }
        let (this, lost_node) = (Arc::downgrade(self), node.clone());
        let push = move |info: PushInfo| -> Result<(), redis::aio::SendError> {
            if info.kind == PushKind::Disconnection
                && let Some(cluster) = this.upgrade()
            {
                cluster.commands.lock().remove(&lost_node);
                cluster.suspect();
            }
            Ok(())
        };
        let opened = open(&self.client(node)?, Some(ANSWER), push).await;
        if opened.is_err() {
            self.suspect();
        }
        Ok(connection.insert(opened?).clone())
    }

    /// The connection for commands to the owner of the slot of `name`, and that owner.
    ///
    /// # Errors
    /// When nobody owns it, or the owner cannot be reached.
    pub(in crate::backplane) async fn commands_for(
        self: &Arc<Self>,
        name: &[u8],
    ) -> RedisResult<(MultiplexedConnection, Address)> {
        let owner = self.map().owner(slot_of(name)).cloned();
        let Some(owner) = owner else {
            self.suspect();
            let why = "no primary of the Cluster owns the slot";
            return Err((ErrorKind::Io, why, slot_of(name).to_string()).into());
        };
        let connection = self.commands_at(&owner).await?;
        Ok((connection, owner))
    }

    /// A node could not be asked who owns the slots.
    pub(super) fn not_answered(&self, node: &Address, error: &RedisError) {
        let hint = advice(&error.to_string(), Asked::Node);
        *self.not_answered.lock() = Some(format!("{node}: {error}"));
        limited!(self.lines, warn, %node, %error, hint, "cannot ask a node of the Cluster");
    }
}
