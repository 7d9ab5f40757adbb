//! The [`NodeWire`]: the protocol that is spoken with Node servers.

use std::time::Duration;

use super::replies::{self, Reply};
use super::requests::RequestId;
use super::{classic, orders};
use crate::message::{Publication, Selector};
use orders::Order;

/// The protocol that is spoken with Node servers, `redis.wire`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeWire {
    /// That of `@socket.io/redis-adapter`.
    Classic,
}

impl NodeWire {
    /// Writes a broadcast of the pod `uid`. `origin` is the time of acceptance in microseconds of
    /// Redis' clock, where that is known yet. The message ends with a sequence number that is not
    /// known yet.
    pub fn broadcast(self, uid: &str, publication: &Publication, origin: Option<u64>) -> Vec<u8> {
        match self {
            NodeWire::Classic => classic::encode(publication, uid, origin),
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
        }
    }

    /// Writes a question to Node servers for the selected members.
    pub fn fetch(self, uid: &str, _namespace: &str, id: &str, of: &Selector) -> Vec<u8> {
        match self {
            NodeWire::Classic => orders::fetch(uid, id, of),
        }
    }

    /// Writes what the selected members of Node servers are made to do.
    pub fn order(self, uid: &str, _namespace: &str, of: &Selector, order: Order<'_>) -> Vec<u8> {
        match self {
            NodeWire::Classic => orders::order(uid, of, order),
        }
    }
}

/// Writes an answer of the pod `uid` to a request, in the form that the asker reads; `None` where
/// its wire has none.
pub fn answer(_uid: &str, _namespace: &str, id: &RequestId, reply: &Reply<'_>) -> Option<Vec<u8>> {
    Some(replies::reply(id, reply))
}
