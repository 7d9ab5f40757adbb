//! The [`NodeWire`]: the protocol that is spoken with Node servers.

use std::time::Duration;

use rookery_config::{Redis, SubscriptionMode, Wire};

use super::orders::{self, Order};
use super::replies::{self, Reply};
use super::requests::{Asker, RequestId};
use super::{classic, sharded};
use crate::message::{Publication, Selector};
use crate::rooms::topic::MemberChannels;

/// The protocol that is spoken with Node servers: `redis.wire`, and what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeWire {
    /// That of `createAdapter` of `@socket.io/redis-adapter`.
    Classic,
    /// That of its `createShardedAdapter`.
    Sharded(SubscriptionMode),
}

impl NodeWire {
    /// The wire of the configuration.
    pub fn of(config: &Redis) -> Self {
        match config.wire {
            Wire::Classic => NodeWire::Classic,
            Wire::Sharded => NodeWire::Sharded(config.subscription_mode),
        }
    }

    /// The command that publishes.
    pub fn publish_command(self) -> &'static str {
        match self {
            NodeWire::Classic => "PUBLISH",
            NodeWire::Sharded(_) => "SPUBLISH",
        }
    }

    /// The subcommand of PUBSUB that counts subscribers.
    pub fn count_command(self) -> &'static str {
        match self {
            NodeWire::Classic => "NUMSUB",
            NodeWire::Sharded(_) => "SHARDNUMSUB",
        }
    }

    /// Whether a broadcast to this room alone has a channel of its own.
    pub fn has_channel(self, room: &str) -> bool {
        self.member_channels().has_channel(room)
    }

    /// On which channels others publish to members of this pod by their ids.
    pub fn member_channels(self) -> MemberChannels {
        match self {
            NodeWire::Classic => MemberChannels::Pattern,
            NodeWire::Sharded(SubscriptionMode::Dynamic) => MemberChannels::Shared,
            NodeWire::Sharded(SubscriptionMode::DynamicPrivate) => MemberChannels::Own,
        }
    }

    /// Writes a broadcast of the pod `uid`. `origin` is the time of acceptance in microseconds of
    /// Redis' clock, where that is known yet. The message ends with a sequence number that is not
    /// known yet.
    pub fn broadcast(self, uid: &str, publication: &Publication, origin: Option<u64>) -> Vec<u8> {
        match self {
            NodeWire::Classic => classic::encode(publication, uid, origin),
            NodeWire::Sharded(_) => sharded::encode(publication, uid, origin),
        }
    }

    /// Writes a broadcast whose acknowledgements are waited for: for pods and Node servers alike.
    pub fn broadcast_with_acks(
        self,
        uid: &str,
        id: &str,
        publication: &Publication,
        origin: Option<u64>,
        timeout: Duration,
    ) -> Vec<u8> {
        match self {
            NodeWire::Classic => orders::broadcast(uid, id, publication, origin, timeout),
            NodeWire::Sharded(_) => {
                sharded::broadcast_with_acks(uid, id, publication, origin, timeout)
            }
        }
    }

    /// Writes a question to Node servers for the selected members.
    pub fn fetch(self, uid: &str, namespace: &str, id: &str, of: &Selector) -> Vec<u8> {
        match self {
            NodeWire::Classic => orders::fetch(uid, id, of),
            NodeWire::Sharded(_) => sharded::fetch(uid, namespace, id, of),
        }
    }

    /// Writes what the selected members of Node servers are made to do.
    pub fn order(self, uid: &str, namespace: &str, of: &Selector, order: Order<'_>) -> Vec<u8> {
        match self {
            NodeWire::Classic => orders::order(uid, of, order),
            NodeWire::Sharded(_) => sharded::order(uid, namespace, of, order),
        }
    }
}

/// Writes an answer of the pod `uid` to a request, in the form that the asker reads; `None` where
/// its wire has none.
pub fn answer(uid: &str, namespace: &str, id: &RequestId, reply: &Reply<'_>) -> Option<Vec<u8>> {
    match id.asker {
        Asker::Classic | Asker::Old => Some(replies::reply(id, reply)),
        Asker::Sharded(_) => sharded::reply(uid, namespace, &id.id, reply),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_that_node_takes_for_a_client_has_no_channel_in_the_dynamic_mode() {
        let dynamic = NodeWire::Sharded(SubscriptionMode::Dynamic);
        for (room, expected) in [
            ("room", true),
            ("exactly-20-character", false),
            ("one-more-than-twenty-", true),
            ("pod-bbbb000000000001", false),
            // 20 units of UTF-16, in 27 and in 40 bytes; and 20 bytes that are 16 units.
            ("ten birds: \u{1f426}\u{1f426}\u{1f426}\u{1f426}x", false),
            (
                "\u{1f426}\u{1f426}\u{1f426}\u{1f426}\u{1f426}\u{1f426}\u{1f426}\u{1f426}\u{1f426}\u{1f426}",
                false,
            ),
            ("twelve bytes\u{e4}\u{e4}\u{e4}\u{e4}", true),
        ] {
            assert_eq!(dynamic.has_channel(room), expected, "{room}");
            for wire in [NodeWire::Classic, NodeWire::Sharded(SubscriptionMode::DynamicPrivate)] {
                assert!(wire.has_channel(room), "{room}");
            }
        }
    }
}
