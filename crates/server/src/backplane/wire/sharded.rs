//! Messages on the wire of Node's sharded adapter: `{uid, nsp, type, data}`, in JSON, or in MessagePack
//! where binary is in them. Requests, answers and broadcasts share the channels.
//!
//! What we publish is MessagePack, and has our own fields under `rookery`, which Node ignores: those of
//! the [classic wire](super::classic). What a pod asks of Node servers carries `rookery: true`.
//!
//! Source: `@socket.io/redis-adapter` 8.3.0, `sharded-adapter.ts`; socket.io-adapter 2.5.8,
//! `cluster-adapter.ts`.

use std::time::Duration;

use serde_json::{Value, json};

use super::classic::{self, Broadcast, number, rooms, text};
use super::encoding::read_json;
use super::orders::{Order, names, options};
use super::replies::{BroadcastAnswer, Reply, member, remote_socket};
use super::requests::{Ask, Asker, Request, RequestId, selector};
use crate::message::{MemberInfo, Publication, Selector};
use rookery_protocol::Data;
use rookery_protocol::msgpack::{self, WireError};

/// The deepest nesting: the data of a message is one level more than a request of the classic wire has.
const MAX_DEPTH: usize = 1 + msgpack::MAX_DEPTH;

/// What a broadcast of a pod begins with: no message of Node has five fields, or `uid` first.
const HEAD: &[u8] = b"\x85\xa3uid";

/// The numbers of the message types.
mod kind {
    pub const INITIAL_HEARTBEAT: u64 = 1;
    pub const HEARTBEAT: u64 = 2;
    pub const BROADCAST: u64 = 3;
    pub const SOCKETS_JOIN: u64 = 4;
    pub const SOCKETS_LEAVE: u64 = 5;
    pub const DISCONNECT_SOCKETS: u64 = 6;
    pub const FETCH_SOCKETS: u64 = 7;
    pub const FETCH_SOCKETS_RESPONSE: u64 = 8;
    pub const SERVER_SIDE_EMIT: u64 = 9;
    pub const SERVER_SIDE_EMIT_RESPONSE: u64 = 10;
    pub const BROADCAST_CLIENT_COUNT: u64 = 11;
    pub const BROADCAST_ACK: u64 = 12;
    pub const ADAPTER_CLOSE: u64 = 13;
}

/// A message as it was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// A broadcast that nobody waits for.
    Broadcast(Broadcast),
    /// A request, and the namespace that it is about.
    Request(String, Request),
    /// An answer to [`broadcast_with_acks`]: the request's id, and what is said.
    Acknowledged(String, BroadcastAnswer),
    /// An answer to [`fetch`]: the request's id, and the members.
    Fetched(String, Vec<MemberInfo>),
    /// What needs no answer and changes nothing here: heartbeats, which other adapters send, and
    /// answers to what no pod asks.
    Other,
}

/// Reads a message. Never panics, whatever the bytes.
///
/// # Errors
/// See [`WireError`]; also for a type that this version does not know.
pub fn decode(bytes: &[u8]) -> Result<Message, WireError> {
    let mut message = read(bytes)?;
    let namespace = text(take(&mut message, "nsp")).ok_or(WireError::Shape("no nsp"))?;
    let uid = text(take(&mut message, "uid")).unwrap_or_default();
    let (mut data, own) = (take(&mut message, "data"), take(&mut message, "rookery"));
    let asked = text(take(&mut data, "requestId"));
    let ask = match message.get("type").and_then(number) {
        Some(kind::BROADCAST) => {
            let options = take(&mut data, "opts");
            if asked.is_some() && classic::targets(&options).is_err() {
                Ask::Broadcast(None)
            } else {
                let mut broadcast = classic::from_packet(take(&mut data, "packet"), &options)?;
                (broadcast.uid, broadcast.namespace) = (uid.clone(), namespace.clone());
                broadcast.read_own(&own);
                if asked.is_none() {
                    return Ok(Message::Broadcast(broadcast));
                }
                Ask::Broadcast(Some(Box::new(broadcast)))
            }
        }
        Some(kind::SOCKETS_JOIN) => Ask::Join(selected(&data), rooms(data.get("rooms"))),
        Some(kind::SOCKETS_LEAVE) => Ask::Leave(selected(&data), rooms(data.get("rooms"))),
        Some(kind::DISCONNECT_SOCKETS) => {
            Ask::Disconnect(selected(&data), data.get("close") == Some(&Data::Bool(true)))
        }
        Some(kind::FETCH_SOCKETS) => Ask::Fetch(selected(&data)),
        Some(kind::SERVER_SIDE_EMIT) => Ask::ServerSideEmit,
        Some(kind) => return other(kind, asked, data, bytes.len()),
        None => return Err(WireError::Shape("no message type")),
    };
    let from_pod = own == Data::Bool(true);
    let id = asked.map(|id| RequestId { id, asker: Asker::Sharded(uid.clone()) });
    Ok(Message::Request(namespace, Request { id, uid: Some(uid), from_pod, ask }))
}

/// The sender of a pod's broadcast, without reading the rest: own ones are skipped at this cost.
pub fn sender(bytes: &[u8]) -> Option<&[u8]> {
    let (marker, rest) = bytes.strip_prefix(HEAD)?.split_first()?;
    match *marker {
        n @ 0xa0..=0xbf => rest.get(..usize::from(n & 0x1f)),
        _ => None,
    }
}

/// Writes a broadcast. `origin` is the time of acceptance in microseconds of Redis' clock, where
/// that is known yet. It ends with a sequence number that is not known yet.
pub fn encode(publication: &Publication, uid: &str, origin: Option<u64>) -> Vec<u8> {
    let mut to = head(publication, uid);
    msgpack::write_map_len(&mut to, 2);
    write_broadcast(&mut to, publication, None);
    msgpack::write_str(&mut to, "rookery");
    classic::write_own(&mut to, publication, origin, true);
    to
}

/// Writes a broadcast whose acknowledgements are waited for: for pods and Node servers alike.
pub fn broadcast_with_acks(
    uid: &str,
    id: &str,
    publication: &Publication,
    origin: Option<u64>,
    timeout: Duration,
) -> Vec<u8> {
    let mut to = head(publication, uid);
    msgpack::write_map_len(&mut to, 3);
    msgpack::write_str(&mut to, "requestId");
    msgpack::write_str(&mut to, id);
    write_broadcast(&mut to, publication, Some(timeout));
    msgpack::write_str(&mut to, "rookery");
    classic::write_own(&mut to, publication, origin, false);
    to
}

/// Asks Node servers for the selected members.
pub fn fetch(uid: &str, namespace: &str, id: &str, of: &Selector) -> Vec<u8> {
    let data = json!({ "opts": flagged(of), "requestId": id });
    request(uid, namespace, kind::FETCH_SOCKETS, data)
}

/// Makes the selected members of Node servers do something.
pub fn order(uid: &str, namespace: &str, of: &Selector, order: Order<'_>) -> Vec<u8> {
    let opts = flagged(of);
    let (kind, data) = match order {
        Order::Join(rooms) => (kind::SOCKETS_JOIN, json!({ "opts": opts, "rooms": names(rooms) })),
        Order::Leave(rooms) => {
            (kind::SOCKETS_LEAVE, json!({ "opts": opts, "rooms": names(rooms) }))
        }
        Order::Disconnect(close) => {
            (kind::DISCONNECT_SOCKETS, json!({ "opts": opts, "close": close }))
        }
    };
    request(uid, namespace, kind, data)
}

/// Writes an answer to the request with this id; `None` where this wire has none.
pub fn reply(uid: &str, namespace: &str, id: &str, reply: &Reply<'_>) -> Option<Vec<u8>> {
    let (kind, data) = match reply {
        Reply::Ack(argument) => return Some(ack(uid, namespace, id, argument)),
        Reply::Fetched(members) => {
            let sockets: Vec<Value> = members.iter().map(remote_socket).collect();
            (kind::FETCH_SOCKETS_RESPONSE, json!({ "requestId": id, "sockets": sockets }))
        }
        Reply::Emitted => {
            (kind::SERVER_SIDE_EMIT_RESPONSE, json!({ "requestId": id, "packet": null }))
        }
        Reply::Recipients(clients) => {
            (kind::BROADCAST_CLIENT_COUNT, json!({ "requestId": id, "clientCount": clients }))
        }
        Reply::Sockets(_) | Reply::Rooms(_) | Reply::Done => return None,
    };
    let message = json!({ "uid": uid, "nsp": namespace, "type": kind, "data": data });
    Some(message.to_string().into_bytes())
}

fn ack(uid: &str, namespace: &str, id: &str, argument: &Data) -> Vec<u8> {
    let mut to = Vec::with_capacity(96);
    msgpack::write_map_len(&mut to, 4);
    for (key, value) in [("uid", uid), ("nsp", namespace)] {
        msgpack::write_str(&mut to, key);
        msgpack::write_str(&mut to, value);
    }
    msgpack::write_str(&mut to, "type");
    msgpack::write_uint(&mut to, kind::BROADCAST_ACK);
    msgpack::write_str(&mut to, "data");
    msgpack::write_map_len(&mut to, 2);
    msgpack::write_str(&mut to, "requestId");
    msgpack::write_str(&mut to, id);
    msgpack::write_str(&mut to, "packet");
    msgpack::write(&mut to, argument);
    to
}

/// A broadcast up to its data.
fn head(publication: &Publication, uid: &str) -> Vec<u8> {
    let mut to = Vec::with_capacity(256);
    to.extend(HEAD);
    msgpack::write_str(&mut to, uid);
    msgpack::write_str(&mut to, "nsp");
    msgpack::write_str(&mut to, &publication.namespace);
    msgpack::write_str(&mut to, "type");
    msgpack::write_uint(&mut to, kind::BROADCAST);
    msgpack::write_str(&mut to, "data");
    to
}

fn write_broadcast(to: &mut Vec<u8>, publication: &Publication, timeout: Option<Duration>) {
    msgpack::write_str(to, "packet");
    classic::write_packet(to, publication);
    msgpack::write_str(to, "opts");
    classic::write_options(to, publication, timeout);
}

fn request(uid: &str, namespace: &str, kind: u64, data: Value) -> Vec<u8> {
    let request =
        json!({ "uid": uid, "nsp": namespace, "type": kind, "data": data, "rookery": true });
    request.to_string().into_bytes()
}

/// The options of a request; Node reads flags from it.
fn flagged(of: &Selector) -> Value {
    let mut options = options(of);
    options["flags"] = json!({});
    options
}

/// Reads what asks nothing: an answer to the request `id`, of `size` bytes, or a heartbeat.
fn other(kind: u64, id: Option<String>, mut data: Data, size: usize) -> Result<Message, WireError> {
    let id = || id.ok_or(WireError::Shape("no requestId"));
    Ok(match kind {
        kind::FETCH_SOCKETS_RESPONSE => {
            let Some(Data::Array(sockets)) = data.get("sockets") else {
                return Err(WireError::Shape("no sockets"));
            };
            Message::Fetched(id()?, sockets.iter().filter_map(member).collect())
        }
        kind::BROADCAST_CLIENT_COUNT => {
            let clients = data.get("clientCount").and_then(number);
            let clients = clients.and_then(|n| usize::try_from(n).ok());
            let clients = clients.ok_or(WireError::Shape("no clientCount"))?;
            Message::Acknowledged(id()?, BroadcastAnswer::Recipients(clients))
        }
        kind::BROADCAST_ACK => {
            let argument = take(&mut data, "packet");
            Message::Acknowledged(id()?, BroadcastAnswer::Ack(argument, size))
        }
        kind::SERVER_SIDE_EMIT_RESPONSE
        | kind::INITIAL_HEARTBEAT
        | kind::HEARTBEAT
        | kind::ADAPTER_CLOSE => Message::Other,
        _ => return Err(WireError::Shape("unknown message type")),
    })
}

/// Whom the options of a request select.
fn selected(data: &Data) -> Selector {
    selector(data.get("opts").unwrap_or(&Data::Null))
}

/// Takes a field out of an object; null where it has none. Of several, JavaScript reads the last.
fn take(from: &mut Data, key: &str) -> Data {
    let Data::Object(fields) = from else { return Data::Null };
    let at = fields.iter().rposition(|(name, _)| name == key);
    at.map_or(Data::Null, |at| fields.swap_remove(at).1)
}

fn read(bytes: &[u8]) -> Result<Data, WireError> {
    if bytes.first() != Some(&b'{') {
        return msgpack::read_within(bytes, MAX_DEPTH);
    }
    read_json(bytes, MAX_DEPTH)
}

#[cfg(test)]
mod tests;
