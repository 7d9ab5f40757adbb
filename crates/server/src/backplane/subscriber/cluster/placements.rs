//! The [`Placements`]: at which node of a Cluster each channel is subscribed, and which still have to
//! be. Pure bookkeeping.

use std::collections::{HashMap, HashSet};

use crate::backplane::connect::slot_map::{Address, SlotMap, slot_of};
use crate::rooms::interest::Ticket;

/// The command that subscribes a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChannelKind {
    /// SSUBSCRIBE, at the owner of the slot alone.
    Sharded,
    /// SUBSCRIBE, at any node: that of the bridge, whose publishers use PUBLISH.
    Plain,
}

/// Where a channel is subscribed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Nowhere,
    /// The node was asked.
    Asked(Address),
    /// The node confirmed it.
    At(Address),
    /// The node refused it for good.
    Refused(Address),
}

#[derive(Debug)]
struct Channel {
    slot: u16,
    kind: ChannelKind,
    place: Place,
    /// Of a room, whose members may wait for the confirmation.
    ticket: Option<Ticket>,
    /// Whether every instance needs it, whatever rooms have members.
    is_fixed: bool,
}

/// The channels that are to be subscribed.
#[derive(Debug, Default)]
pub(super) struct Placements {
    channels: HashMap<String, Channel>,
    /// Those that may have to be asked for: the others are where they have to be, or asked for.
    open: HashSet<String>,
    /// Those whose node is not connected.
    waiting: HashSet<String>,
    /// Those without which this instance hears less than before.
    missing: HashSet<String>,
}

/// What is to be asked of one node.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) node: Address,
    pub(super) kind: ChannelKind,
    pub(super) channels: Vec<String>,
}

impl Placements {
    /// A channel that every instance needs.
    pub(super) fn add_fixed(&mut self, name: String, kind: ChannelKind) {
        let slot = slot_of(name.as_bytes());
        let channel = Channel { slot, kind, place: Place::Nowhere, ticket: None, is_fixed: true };
        self.open.insert(name.clone());
        self.missing.insert(name.clone());
        self.channels.insert(name, channel);
    }

    /// The channel of a topic; gives the ticket back where it is subscribed already.
    pub(super) fn add(&mut self, name: String, ticket: Ticket) -> Option<Ticket> {
        if let Some(channel) = self.channels.get_mut(&name) {
            let is_there = matches!(channel.place, Place::At(_) | Place::Refused(_));
            channel.ticket = Some(ticket.clone());
            return is_there.then_some(ticket);
        }
        let (slot, kind) = (slot_of(name.as_bytes()), ChannelKind::Sharded);
        let (place, ticket) = (Place::Nowhere, Some(ticket));
        self.open.insert(name.clone());
        self.channels.insert(name, Channel { slot, kind, place, ticket, is_fixed: false });
        None
    }

    /// The rooms that are subscribed again, as they were lost with a node: until then this instance
    /// hears less.
    pub(super) fn miss(&mut self, name: &str) {
        self.missing.insert(name.to_owned());
    }

    /// A room has no members any more; gives the node where its channel is to be unsubscribed.
    pub(super) fn remove(&mut self, name: &str) -> Option<Address> {
        if self.channels.get(name)?.is_fixed {
            return None;
        }
        let channel = self.channels.remove(name)?;
        self.open.remove(name);
        self.waiting.remove(name);
        self.missing.remove(name);
        match channel.place {
            Place::Asked(node) | Place::At(node) => Some(node),
            Place::Nowhere | Place::Refused(_) => None,
        }
    }

    /// Forgets the channels of all rooms.
    pub(super) fn remove_rooms(&mut self) {
        self.channels.retain(|_, channel| channel.is_fixed);
        self.open.retain(|name| self.channels.contains_key(name));
        self.waiting.retain(|name| self.channels.contains_key(name));
        self.missing.retain(|name| self.channels.contains_key(name));
    }

    /// The owners of slots have changed: what is not where it belongs is to be asked for there. The
    /// old owner ends the subscription itself, and no message comes from both.
    pub(super) fn reconsider(&mut self, map: &SlotMap) {
        self.waiting.clear();
        for (name, channel) in &self.channels {
            let owner = map.owner(channel.slot);
            let is_right = match &channel.place {
                Place::Nowhere => false,
                Place::Asked(_) | Place::At(_) if channel.kind == ChannelKind::Plain => true,
                Place::Asked(node) | Place::At(node) | Place::Refused(node) => Some(node) == owner,
            };
            if !is_right {
                self.open.insert(name.clone());
            }
        }
    }

    /// Another node is connected, or time has passed: what waited can be asked for.
    pub(super) fn connected(&mut self) {
        self.open.extend(self.waiting.drain());
    }

    /// What is to be asked of the nodes that are connected. Tickets of rooms whose node is not are
    /// given back: nobody is to wait for them.
    pub(super) fn orders(
        &mut self,
        map: &SlotMap,
        is_connected: impl Fn(&Address) -> bool,
    ) -> (Vec<Order>, Vec<Ticket>) {
        let (mut orders, mut in_vain) = (Vec::<Order>::new(), Vec::new());
        for name in self.open.drain() {
            let Some(channel) = self.channels.get_mut(&name) else { continue };
            let Some(node) = map.owner(channel.slot).filter(|node| is_connected(node)) else {
                in_vain.extend(channel.ticket.take());
                self.waiting.insert(name);
                continue;
            };
            channel.place = Place::Asked(node.clone());
            let of_node = |order: &&mut Order| order.node == *node && order.kind == channel.kind;
            match orders.iter_mut().find(of_node) {
                Some(order) => order.channels.push(name),
                None => orders.push(Order {
                    node: node.clone(),
                    kind: channel.kind,
                    channels: vec![name],
                }),
            }
        }
        (orders, in_vain)
    }

    /// A node confirmed a channel; gives its ticket.
    pub(super) fn confirmed(&mut self, name: &str, node: &Address) -> Option<Ticket> {
        let channel = self.channels.get_mut(name)?;
        if !matches!(&channel.place, Place::Asked(asked) | Place::At(asked) if asked == node) {
            return None;
        }
        channel.place = Place::At(node.clone());
        self.missing.remove(name);
        channel.ticket.clone()
    }

    /// A node has ended a subscription. True: unasked, so it is to be asked for again.
    pub(super) fn ended(&mut self, name: &str, node: &Address) -> bool {
        let Some(channel) = self.channels.get_mut(name) else { return false };
        let is_there = matches!(&channel.place, Place::At(at) | Place::Asked(at) if at == node);
        if is_there {
            channel.place = Place::Nowhere;
            self.open.insert(name.to_owned());
        }
        is_there
    }

    /// Whether a channel was asked for at a node that has not confirmed it yet.
    pub(super) fn is_asked(&self, name: &str, node: &Address) -> bool {
        let place = self.channels.get(name).map(|channel| &channel.place);
        matches!(place, Some(Place::Asked(asked)) if asked == node)
    }

    /// No node took a channel: it waits until [`Placements::connected`] to be asked for again.
    pub(super) fn postpone(&mut self, name: &str) {
        if let Some(channel) = self.channels.get_mut(name) {
            channel.place = Place::Nowhere;
            self.waiting.insert(name.to_owned());
        }
    }

    /// Whether every instance needs a channel.
    pub(super) fn is_fixed(&self, name: &str) -> bool {
        self.channels.get(name).is_some_and(|channel| channel.is_fixed)
    }

    /// A node refused a channel for good; gives its ticket.
    pub(super) fn refused(&mut self, name: &str, node: &Address) -> Option<Ticket> {
        let channel = self.channels.get_mut(name)?;
        channel.place = Place::Refused(node.clone());
        self.missing.remove(name);
        channel.ticket.clone()
    }

    /// The connection to a node is lost, and all that was subscribed there.
    pub(super) fn lost(&mut self, node: &Address) {
        for (name, channel) in &mut self.channels {
            let (Place::Asked(at) | Place::At(at) | Place::Refused(at)) = &channel.place else {
                continue;
            };
            if at == node {
                if matches!(channel.place, Place::At(_)) || channel.is_fixed {
                    self.missing.insert(name.clone());
                }
                channel.place = Place::Nowhere;
                self.open.insert(name.clone());
            }
        }
    }

    /// Whether everything is subscribed that every instance needs, and that was lost with a node.
    pub(super) fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use redis::Value;

    use super::*;
    use crate::message::RoomKey;
    use crate::rooms::topic::Topic;

    fn at(port: u16) -> Address {
        Address { host: "h".to_owned(), port }
    }

    /// One node owns every slot.
    fn owned_by(port: u16) -> SlotMap {
        let node = Value::Array(vec![
            Value::BulkString(b"h".to_vec()),
            Value::Int(i64::from(port)),
            Value::BulkString(b"id".to_vec()),
        ]);
        let range = Value::Array(vec![Value::Int(0), Value::Int(16_383), node]);
        SlotMap::read(&Value::Array(vec![range]), &at(0)).unwrap()
    }

    fn ticket(room: &str) -> Ticket {
        (Topic::Room(RoomKey::new("/", room)), 1)
    }

    fn order(port: u16, name: &str) -> Order {
        let channels = vec![name.to_owned()];
        Order { node: at(port), kind: ChannelKind::Sharded, channels }
    }

    /// A room that node 1 has confirmed.
    fn with_a_room() -> Placements {
        let mut placements = Placements::default();
        assert_eq!(placements.add("a".to_owned(), ticket("a")), None);
        let (orders, in_vain) = placements.orders(&owned_by(1), |_| true);
        assert_eq!((orders, in_vain), (vec![order(1, "a")], vec![]));
        assert_eq!(placements.confirmed("a", &at(1)), Some(ticket("a")));
        placements
    }

    #[test]
    fn a_channel_is_asked_for_once() {
        let mut placements = with_a_room();
        placements.reconsider(&owned_by(1));
        assert_eq!(placements.orders(&owned_by(1), |_| true), (vec![], vec![]));
        assert_eq!(placements.add("a".to_owned(), ticket("a")), Some(ticket("a")));
        assert_eq!(placements.remove("a"), Some(at(1)));
    }

    #[test]
    fn a_channel_follows_its_slot() {
        let mut placements = with_a_room();
        placements.reconsider(&owned_by(2));
        assert_eq!(placements.orders(&owned_by(2), |_| true).0, [order(2, "a")]);
        // The old owner says it after the new one was asked.
        assert!(!placements.ended("a", &at(1)));
        assert_eq!(placements.confirmed("a", &at(1)), None);
        assert_eq!(placements.confirmed("a", &at(2)), Some(ticket("a")));
        assert!(placements.is_complete());
    }

    #[test]
    fn a_subscription_that_ends_unasked_is_asked_for_again() {
        let mut placements = with_a_room();
        assert!(placements.ended("a", &at(1)));
        assert_eq!(placements.orders(&owned_by(1), |_| true).0, [order(1, "a")]);
        assert!(placements.is_asked("a", &at(1)));
    }

    #[test]
    fn what_was_lost_with_a_node_is_missing_until_it_is_confirmed_elsewhere() {
        let mut placements = with_a_room();
        placements.lost(&at(1));
        assert!(!placements.is_complete());
        assert_eq!(placements.orders(&owned_by(1), |_| false), (vec![], vec![ticket("a")]));
        assert_eq!(placements.orders(&owned_by(2), |_| true), (vec![], vec![]));
        placements.connected();
        assert_eq!(placements.orders(&owned_by(2), |_| true).0, [order(2, "a")]);
        placements.confirmed("a", &at(2));
        assert!(placements.is_complete());
    }

    #[test]
    fn a_channel_that_every_instance_needs_stays() {
        let mut placements = Placements::default();
        placements.add_fixed("f".to_owned(), ChannelKind::Sharded);
        placements.add("f".to_owned(), ticket("f"));
        placements.add("a".to_owned(), ticket("a"));
        assert!(!placements.is_complete());
        assert_eq!(placements.remove("f"), None);
        placements.remove_rooms();
        assert_eq!(placements.orders(&owned_by(1), |_| true).0, [order(1, "f")]);
        placements.refused("f", &at(1));
        assert!(placements.is_fixed("f") && placements.is_complete());
    }
}
