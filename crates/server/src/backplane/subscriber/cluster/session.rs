//! The connections to all primaries, and what is subscribed on them.

mod answers;

use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt, poll};
use redis::RedisResult;
use rookery_ops::throttle::limited;

use super::ClusterSubscriber;
use super::node::{NodeLink, SubscriptionReplies};
use super::placements::{ChannelKind, Order, Placements};
use crate::backplane::connect::slot_map::{Address, SlotMap};
use crate::backplane::connect::{Connector, ReconnectDelays};
use crate::backplane::link_status::{LinkConnection, NOT_HEARD};
use crate::backplane::subscriber::commands;
use crate::backplane::subscriber::session::until;
use answers::Answered;

/// Channels in one pipeline.
const CHUNK: usize = 500;

/// The connections, and what is subscribed.
pub(super) struct ClusterSession<'a> {
    subscriber: &'a ClusterSubscriber,
    placements: Placements,
    nodes: HashMap<Address, Node>,
    /// Connections that are made.
    opening: FuturesUnordered<BoxFuture<'a, (Address, RedisResult<NodeLink>)>>,
    /// Resolve with the reason when connections are lost.
    ending: FuturesUnordered<BoxFuture<'static, (Address, u64, String)>>,
    under_way: FuturesUnordered<BoxFuture<'static, Answered>>,
    replies: Arc<SubscriptionReplies>,
    /// When channels are asked for again that no node took.
    again: Option<Instant>,
    /// Whether `interests` takes Redis for connected.
    is_connected: bool,
    /// Whether every slot has an owner.
    is_whole: bool,
    /// Numbers the connections.
    links: u64,
}

/// A primary that owns slots.
#[derive(Default)]
struct Node {
    link: Option<NodeLink>,
    /// When it was connected last.
    since: Option<Instant>,
    delays: ReconnectDelays,
}

impl<'a> ClusterSession<'a> {
    /// Nothing is connected yet.
    pub(super) fn new(subscriber: &'a ClusterSubscriber) -> Self {
        let mut placements = Placements::default();
        let (of_wire, of_bridge) = subscriber.decoder.channels();
        let all = [(of_wire, ChannelKind::Sharded), (of_bridge, ChannelKind::Plain)];
        for (names, kind) in all {
            for name in names {
                placements.add_fixed(String::from_utf8_lossy(name).into_owned(), kind);
            }
        }
        ClusterSession {
            subscriber,
            placements,
            nodes: HashMap::new(),
            opening: FuturesUnordered::new(),
            ending: FuturesUnordered::new(),
            under_way: FuturesUnordered::new(),
            replies: Arc::default(),
            again: None,
            is_connected: false,
            is_whole: false,
            links: 0,
        }
    }

    /// Keeps connections and subscriptions as they have to be.
    pub(super) async fn run(mut self) {
        let ClusterSubscriber { cluster, interests, status, .. } = self.subscriber;
        let mut maps = cluster.follow();
        let first = maps.borrow_and_update().clone();
        self.keep(&first);
        let replies = self.replies.clone();
        let own_heartbeats_stop = status.own_heartbeats_stop();
        tokio::pin!(own_heartbeats_stop);
        loop {
            let (due, again) = (interests.next_due(), self.again);
            tokio::select! {
                () = replies.added() => self.read_replies(),
                Some(answered) = next(&mut self.under_way) => self.answered(answered),
                Some((node, link, why)) = next(&mut self.ending) => self.lost(&node, link, &why),
                Some((node, opened)) = next(&mut self.opening) => self.opened(node, opened),
                // The sender lives as long as `self`.
                _ = maps.changed() => {
                    let map = maps.borrow_and_update().clone();
                    self.keep(&map);
                }
                () = interests.changed() => self.take_changes().await,
                () = until(due) => self.take_changes().await,
                () = until(again) => {
                    self.again = None;
                    self.placements.connected();
                }
                () = &mut own_heartbeats_stop => {
                    own_heartbeats_stop.set(status.own_heartbeats_stop());
                    self.drop_all();
                }
            }
            self.subscribe_open().await;
            status.set(LinkConnection::Subscriber, self.is_up());
        }
    }

    fn is_up(&self) -> bool {
        let all = self.nodes.values().all(|node| node.link.is_some());
        self.is_whole && all && self.placements.is_complete()
    }

    /// Connects to new primaries, and leaves those that own nothing any more.
    fn keep(&mut self, map: &SlotMap) {
        self.is_whole = map.uncovered() == 0;
        let gone: Vec<_> =
            self.nodes.keys().filter(|node| !map.has_primary(node)).cloned().collect();
        for node in gone {
            if let Some(link) = self.nodes.remove(&node).and_then(|node| node.link) {
                link.lost.cancel();
            }
            self.placements.lost(&node);
        }
        for node in map.primaries() {
            if !self.nodes.contains_key(node) {
                self.nodes.insert(node.clone(), Node::default());
                self.open(node.clone(), Duration::ZERO);
            }
        }
        self.disconnected_if_alone();
        self.placements.reconsider(map);
    }

    fn open(&mut self, node: Address, delay: Duration) {
        self.links += 1;
        let (number, replies) = (self.links, self.replies.clone());
        let ClusterSubscriber { cluster, decoder, .. } = self.subscriber;
        let connector = Connector::to_node(cluster.clone(), node.clone());
        let opened = async move {
            tokio::time::sleep(delay).await;
            let link =
                NodeLink::open(connector, node.clone(), number, decoder.clone(), replies).await;
            (node, link)
        };
        self.opening.push(opened.boxed());
    }

    fn opened(&mut self, address: Address, opened: RedisResult<NodeLink>) {
        let Some(node) = self.nodes.get_mut(&address) else { return };
        if node.link.is_some() {
            return;
        }
        match opened {
            Ok(link) => {
                let again = u64::from(node.since.is_some());
                self.subscriber.metrics.redis_reconnects.inc_by(again);
                (node.link, node.since) = (Some(link.clone()), Some(Instant::now()));
                let number = link.number;
                let ended = async move { (address, number, link.ended().await) };
                self.ending.push(ended.boxed());
                self.placements.connected();
                self.add_rooms();
            }
            Err(error) => {
                let cluster = self.subscriber.cluster.clone();
                let hint = Connector::to_node(cluster, address.clone()).advice(&error);
                limited!(self.subscriber.away, warn, %error, hint, "cannot connect to Redis to subscribe");
                let delay = node.delays.next_delay();
                self.open(address, delay);
            }
        }
    }

    /// Takes the rooms that have members, with the first connection.
    fn add_rooms(&mut self) {
        if self.is_connected {
            return;
        }
        self.is_connected = true;
        let ClusterSubscriber { interests, channels, .. } = self.subscriber;
        for ticket in interests.connected(Instant::now()) {
            let name = channels.topic(&ticket.0);
            match self.placements.add(name.clone(), ticket) {
                Some(ticket) => interests.confirmed(&[ticket]),
                None => self.placements.miss(&name),
            }
        }
    }

    /// A connection is lost.
    fn lost(&mut self, address: &Address, link: u64, why: &str) {
        let Some(node) = self.nodes.get_mut(address) else { return };
        if node.link.as_ref().is_none_or(|current| current.number != link) {
            return;
        }
        node.link = None;
        if let Some(since) = node.since {
            node.delays.lasted(since.elapsed());
        }
        let (delay, reason) = (node.delays.next_delay(), format!("{address}: {why}"));
        tracing::warn!(reason, "lost the connection to Redis that subscribes");
        self.placements.lost(address);
        self.subscriber.cluster.suspect();
        self.open(address.clone(), delay);
        self.disconnected_if_alone();
    }

    /// Without any connection nobody waits for a subscription.
    fn disconnected_if_alone(&mut self) {
        if self.is_connected && self.nodes.values().all(|node| node.link.is_none()) {
            self.is_connected = false;
            self.subscriber.interests.disconnected();
            self.placements.remove_rooms();
        }
    }

    /// This instance does not hear itself: everything is connected again.
    fn drop_all(&mut self) {
        let links: Vec<_> = self
            .nodes
            .iter()
            .filter_map(|(address, node)| {
                node.link.as_ref().map(|link| (address.clone(), link.clone()))
            })
            .collect();
        for (address, link) in links {
            link.lost.cancel();
            self.lost(&address, link.number, NOT_HEARD);
        }
    }

    /// Takes note of what nodes replied about subscriptions.
    fn read_replies(&mut self) {
        let ClusterSubscriber { interests, cluster, .. } = self.subscriber;
        let mut confirmed = Vec::new();
        for reply in self.replies.take() {
            let link = self.nodes.get(&reply.node).and_then(|node| node.link.as_ref());
            if link.is_none_or(|link| link.number != reply.link) {
                continue;
            }
            if reply.is_subscribed {
                confirmed.extend(self.placements.confirmed(&reply.channel, &reply.node));
            } else if self.placements.ended(&reply.channel, &reply.node) {
                // The slot is another node's.
                cluster.suspect();
            }
        }
        interests.confirmed(&confirmed);
    }

    async fn take_changes(&mut self) {
        let ClusterSubscriber { interests, channels, decoder, .. } = self.subscriber;
        let changes = interests.changes(Instant::now());
        let mut by_node: HashMap<Address, Vec<String>> = HashMap::new();
        for topic in &changes.unsubscribe {
            let name = channels.topic(topic);
            match self.placements.remove(&name) {
                Some(node) => by_node.entry(node).or_default().push(name),
                None if self.placements.is_fixed(&name) => {}
                None => decoder.unsubscribed(&[name]),
            }
        }
        for (node, channels) in by_node {
            self.send(Order { node, kind: ChannelKind::Sharded, channels }, false).await;
        }
        for ticket in changes.subscribe {
            let there = self.placements.add(channels.topic(&ticket.0), ticket);
            interests.confirmed(there.as_slice());
        }
    }

    /// Asks for what is not subscribed where it belongs.
    async fn subscribe_open(&mut self) {
        let ClusterSubscriber { interests, cluster, .. } = self.subscriber;
        let nodes = &self.nodes;
        let is_connected = |node: &Address| nodes.get(node).is_some_and(|node| node.link.is_some());
        let (orders, in_vain) = self.placements.orders(&cluster.map(), is_connected);
        interests.confirmed(&in_vain);
        for order in orders {
            self.send(order, true).await;
        }
    }

    /// The first poll puts the commands in the connection's queue, so commands stay in order.
    async fn send(&mut self, order: Order, subscribes: bool) {
        let Order { node, kind, channels } = order;
        let Some(link) = self.nodes.get(&node).and_then(|node| node.link.clone()) else { return };
        let command = match (kind, subscribes) {
            (ChannelKind::Sharded, true) => "SSUBSCRIBE",
            (ChannelKind::Sharded, false) => "SUNSUBSCRIBE",
            (ChannelKind::Plain, _) => "SUBSCRIBE",
        };
        for channels in channels.chunks(CHUNK) {
            let (node, channels, link) = (node.clone(), channels.to_vec(), link.clone());
            let mut sent = async move {
                let mut connection = link.connection.clone();
                let result = commands::send_each(command, &mut connection, &channels).await;
                Answered { node, link, kind, subscribes, channels, result }
            }
            .boxed();
            match poll!(&mut sent) {
                std::task::Poll::Ready(answered) => self.answered(answered),
                std::task::Poll::Pending => self.under_way.push(sent),
            }
        }
    }
}

/// The next result; never where there is nothing to wait for.
async fn next<T>(futures: &mut FuturesUnordered<BoxFuture<'_, T>>) -> Option<T> {
    if futures.is_empty() {
        return pending().await;
    }
    futures.next().await
}
