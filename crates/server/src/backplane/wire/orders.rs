//! What a pod asks of Node servers on the classic wire, and what it tells them to do.

use std::time::Duration;

use serde_json::{Value, json};

use super::classic;
use super::requests::kind;
use crate::message::{Publication, Selector};
use rookery_protocol::Room;
use rookery_protocol::msgpack;

/// What members of Node servers are made to do.
#[derive(Clone, Copy, Debug)]
pub enum Order<'a> {
    /// Join these rooms.
    Join(&'a [Room]),
    /// Leave these rooms.
    Leave(&'a [Room]),
    /// Disconnect; true: with their transports.
    Disconnect(bool),
}

/// A broadcast whose acknowledgements are waited for: for pods and Node servers alike.
pub fn broadcast(
    uid: &str,
    id: &str,
    publication: &Publication,
    origin: Option<u64>,
    timeout: Duration,
) -> Vec<u8> {
    let mut to = Vec::with_capacity(256);
    msgpack::write_map_len(&mut to, 6);
    for (key, value) in [("uid", uid), ("requestId", id)] {
        msgpack::write_str(&mut to, key);
        msgpack::write_str(&mut to, value);
    }
    msgpack::write_str(&mut to, "type");
    msgpack::write_uint(&mut to, kind::BROADCAST);
    msgpack::write_str(&mut to, "packet");
    classic::write_packet(&mut to, publication);
    msgpack::write_str(&mut to, "opts");
    classic::write_options(&mut to, publication, Some(timeout));
    msgpack::write_str(&mut to, "own");
    classic::write_own(&mut to, publication, origin, false);
    to
}

/// Asks Node servers for the selected members. To socket.io-redis 5 this is a custom request, which
/// it answers under `requestid` without members, so that nobody waits for it.
pub fn fetch(uid: &str, id: &str, of: &Selector) -> Vec<u8> {
    ask(uid, kind::REMOTE_FETCH, of, &[("requestId", id.into()), ("requestid", id.into())])
}

/// Makes the selected members of Node servers do something.
pub fn order(uid: &str, of: &Selector, order: Order<'_>) -> Vec<u8> {
    match order {
        Order::Join(rooms) => ask(uid, kind::REMOTE_JOIN, of, &[("rooms", names(rooms))]),
        Order::Leave(rooms) => ask(uid, kind::REMOTE_LEAVE, of, &[("rooms", names(rooms))]),
        Order::Disconnect(close) => {
            ask(uid, kind::REMOTE_DISCONNECT, of, &[("close", close.into())])
        }
    }
}

fn ask(uid: &str, kind: u64, of: &Selector, more: &[(&str, Value)]) -> Vec<u8> {
    let mut request = json!({ "uid": uid, "type": kind, "rookery": true, "opts": options(of) });
    for (key, value) in more {
        request[*key] = value.clone();
    }
    request.to_string().into_bytes()
}

/// Whom Node servers are to select, as `{rooms, except}`.
pub fn options(of: &Selector) -> Value {
    let member: Room;
    let (rooms, except) = match of {
        Selector::Rooms { rooms, except } => (rooms.as_slice(), except.as_slice()),
        Selector::Member(id) => {
            member = id.as_str().into();
            (std::slice::from_ref(&member), &[][..])
        }
        // Node servers know no users: nobody is chosen there.
        Selector::User(_) | Selector::Nobody => {
            member = "".into();
            (std::slice::from_ref(&member), &[][..])
        }
    };
    json!({ "rooms": names(rooms), "except": names(except) })
}

/// The names of rooms.
pub fn names(rooms: &[Room]) -> Value {
    rooms.iter().map(|room| Value::from(&**room)).collect()
}
