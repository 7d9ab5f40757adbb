//! Requests between servers on Node's classic wire, and their answers: JSON, or MessagePack where
//! binary is in them.
//!
//! Every request that Node waits on is answered. What a Rookery pod asks of Node servers carries
//! `rookery: true`, so that pods, who have a wire of their own, leave it to Node.

mod old;

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::classic::{self, Broadcast, number, rooms, text};
use super::encoding::read;
use crate::message::{MemberInfo, Publication, Selector};
use rookery_protocol::Data;
use rookery_protocol::Room;
use rookery_protocol::msgpack::{self, WireError};

/// The numbers of the request types.
mod kind {
    pub const SOCKETS: u64 = 0;
    pub const ALL_ROOMS: u64 = 1;
    pub const REMOTE_JOIN: u64 = 2;
    pub const REMOTE_LEAVE: u64 = 3;
    pub const REMOTE_DISCONNECT: u64 = 4;
    pub const REMOTE_FETCH: u64 = 5;
    pub const SERVER_SIDE_EMIT: u64 = 6;
    pub const BROADCAST: u64 = 7;
    pub const BROADCAST_CLIENT_COUNT: u64 = 8;
    pub const BROADCAST_ACK: u64 = 9;
}

/// A request as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// What an answer must carry; without it nobody waits.
    pub id: Option<RequestId>,
    /// The server that asks.
    pub uid: Option<String>,
    /// Whether a Rookery pod asks; meant for Node servers only.
    pub from_pod: bool,
    /// What is asked.
    pub ask: Ask,
}

/// What the answer to a request must carry, under the name that the asker's adapter gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId {
    /// The id.
    pub id: String,
    /// Whether a server with socket.io-redis 5 or earlier asks, the adapter for Socket.IO 2.
    pub is_old: bool,
}

impl RequestId {
    fn key(&self) -> &'static str {
        if self.is_old { "requestid" } else { "requestId" }
    }
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// The ids of the members of these rooms.
    Sockets(Selector),
    /// The rooms of one member, by its id. Only socket.io-redis 5 asks.
    MemberRooms(String),
    /// The names of all rooms.
    AllRooms,
    /// Members join rooms. Answered only where one member was named by its id.
    Join(Selector, Vec<Room>),
    /// Members leave rooms. Answered likewise.
    Leave(Selector, Vec<Room>),
    /// Members are disconnected, with their transport or without. Answered likewise.
    Disconnect(Selector, bool),
    /// All that is known of the members.
    Fetch(Selector),
    /// An event for the servers themselves; of socket.io-redis 5, a custom request.
    ServerSideEmit,
    /// A broadcast whose sender waits for the clients' acks; `None` where it is for nobody.
    Broadcast(Option<Box<Broadcast>>),
}

/// Reads a request.
///
/// # Errors
/// See [`WireError`]; also for a type that this version does not know.
pub fn decode(bytes: &[u8]) -> Result<Request, WireError> {
    let request = read(bytes)?;
    let field = |key: &str| request.get(key).cloned().and_then(text);
    let request_id = |key: &str, is_old| field(key).map(|id| RequestId { id, is_old });
    if let (None, Some(id)) = (field("requestId"), request_id("requestid", true)) {
        let ask = old::ask(&request)?;
        return Ok(Request { id: Some(id), uid: None, from_pod: false, ask });
    }
    // Old servers name one socket by `sid`; newer ones choose by `opts`.
    let chosen = || match (request.get("opts"), field("sid")) {
        (Some(options @ Data::Object(_)), _) => {
            Ok((selector(options), rooms(request.get("rooms"))))
        }
        (None | Some(Data::Null), Some(sid)) => {
            let room = field("room").map(Room::from);
            Ok((Selector::Member(sid), room.into_iter().collect()))
        }
        _ => Err(WireError::Shape("neither opts nor sid names a member")),
    };
    let ask = match request.get("type").and_then(number) {
        Some(kind::SOCKETS) => Ask::Sockets(selector(&request)),
        Some(kind::ALL_ROOMS) => Ask::AllRooms,
        Some(kind::REMOTE_JOIN) => chosen().map(|(of, rooms)| Ask::Join(of, rooms))?,
        Some(kind::REMOTE_LEAVE) => chosen().map(|(of, rooms)| Ask::Leave(of, rooms))?,
        Some(kind::REMOTE_DISCONNECT) => {
            let close = request.get("close") == Some(&Data::Bool(true));
            Ask::Disconnect(chosen()?.0, close)
        }
        Some(kind::REMOTE_FETCH) => {
            Ask::Fetch(selector(request.get("opts").unwrap_or(&Data::Null)))
        }
        Some(kind::SERVER_SIDE_EMIT) => Ask::ServerSideEmit,
        Some(kind::BROADCAST) => Ask::Broadcast(broadcast_in(&request)?),
        _ => return Err(WireError::Shape("unknown request type")),
    };
    Ok(Request {
        id: request_id("requestId", false),
        uid: field("uid"),
        from_pod: request.get("rookery") == Some(&Data::Bool(true)),
        ask,
    })
}

/// The broadcast of a request, whose sender waits for acknowledgements; `None` where it is for nobody.
fn broadcast_in(request: &Data) -> Result<Option<Box<Broadcast>>, WireError> {
    let packet = request.get("packet").cloned().unwrap_or(Data::Null);
    let options = request.get("opts").unwrap_or(&Data::Null);
    if classic::targets(options).is_err() {
        return Ok(None);
    }
    let mut broadcast = classic::from_packet(packet, options)?;
    if let Some(own) = request.get("own") {
        broadcast.read_own(own);
    }
    Ok(Some(Box::new(broadcast)))
}

/// Whom `{rooms, except}` selects.
fn selector(options: &Data) -> Selector {
    match classic::targets(options) {
        Ok((rooms, except)) => Selector::Rooms { rooms, except },
        Err(_) => Selector::Nobody,
    }
}

/// The answer to [`Ask::Sockets`].
pub fn sockets_answer(id: &RequestId, members: &[MemberInfo]) -> Vec<u8> {
    let ids: Vec<&str> = members.iter().map(|m| m.id.as_str()).collect();
    // `clients` is what socket.io-redis 5 reads.
    let list = if id.is_old { "clients" } else { "sockets" };
    bytes(&json!({ id.key(): id.id, list: ids }))
}

/// The answer to [`Ask::AllRooms`]. As in Node, every member's id is a room too.
pub fn rooms_answer<'a>(id: &RequestId, rooms: impl Iterator<Item = &'a str>) -> Vec<u8> {
    bytes(&json!({ id.key(): id.id, "rooms": rooms.collect::<Vec<_>>() }))
}

/// The answer to a join, leave or disconnect of one member.
pub fn done_answer(id: &RequestId) -> Vec<u8> {
    bytes(&json!({ id.key(): id.id }))
}

/// The answer to [`Ask::Fetch`]: what becomes a `RemoteSocket` in Node. User and time of connection
/// travel in `data.rookery`.
pub fn fetch_answer(id: &RequestId, members: &[MemberInfo]) -> Vec<u8> {
    let sockets: Vec<Value> = members.iter().map(remote_socket).collect();
    bytes(&json!({ id.key(): id.id, "sockets": sockets }))
}

/// The answer to [`Ask::ServerSideEmit`] where an ack is waited for: nobody listens here.
pub fn emit_answer(id: &RequestId) -> Vec<u8> {
    bytes(&json!({ "type": kind::SERVER_SIDE_EMIT, id.key(): id.id, "data": null }))
}

/// The answer to [`Ask::Broadcast`]: how many clients will ack.
pub fn count_answer(id: &RequestId, clients: usize) -> Vec<u8> {
    bytes(&json!({
        "type": kind::BROADCAST_CLIENT_COUNT, id.key(): id.id, "clientCount": clients,
    }))
}

/// The answer to [`Ask::Broadcast`] for each client that acknowledged it, with its first argument.
pub fn ack_answer(id: &RequestId, argument: &Data) -> Vec<u8> {
    // Node reads JSON whatever its `parser` is. Not `json!`, which sorts the keys of objects.
    let is_text = !argument.has_binary();
    if let (true, Ok(packet)) = (is_text, serde_json::to_string(argument)) {
        let (kind, key, id) = (kind::BROADCAST_ACK, id.key(), Value::from(id.id.as_str()));
        return format!(r#"{{"type":{kind},"{key}":{id},"packet":{packet}}}"#).into_bytes();
    }
    let mut to = Vec::with_capacity(64);
    msgpack::write_map_len(&mut to, 3);
    msgpack::write_str(&mut to, "type");
    msgpack::write_uint(&mut to, kind::BROADCAST_ACK);
    msgpack::write_str(&mut to, id.key());
    msgpack::write_str(&mut to, &id.id);
    msgpack::write_str(&mut to, "packet");
    msgpack::write(&mut to, argument);
    to
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

/// What another server answers to [`broadcast`].
#[derive(Clone, Debug, PartialEq)]
pub enum BroadcastAnswer {
    /// It has so many recipients.
    Recipients(usize),
    /// One of them acknowledged it, with this first argument; and the bytes of the answer.
    Ack(Data, usize),
}

/// Reads an answer to [`broadcast`]: the request's id, and what is said. `None` where it is an answer
/// to something else.
pub fn broadcast_answer(bytes: &[u8]) -> Option<(String, BroadcastAnswer)> {
    let answer = read(bytes).ok()?;
    let id = answer.get("requestId").cloned().and_then(text)?;
    let said = match answer.get("type").and_then(number)? {
        kind::BROADCAST_CLIENT_COUNT => {
            let recipients = answer.get("clientCount").and_then(number)?;
            BroadcastAnswer::Recipients(usize::try_from(recipients).ok()?)
        }
        kind::BROADCAST_ACK => {
            let argument = answer.get("packet").cloned().unwrap_or(Data::Null);
            BroadcastAnswer::Ack(argument, bytes.len())
        }
        _ => return None,
    };
    Some((id, said))
}

/// Asks Node servers for the selected members. To socket.io-redis 5 this is a custom request, which
/// it answers under `requestid` without members, so that nobody waits for it.
pub fn fetch(uid: &str, id: &str, of: &Selector) -> Vec<u8> {
    ask(uid, kind::REMOTE_FETCH, of, &[("requestId", id.into()), ("requestid", id.into())])
}

/// Makes members of Node servers join rooms.
pub fn join(uid: &str, of: &Selector, rooms: &[Room]) -> Vec<u8> {
    ask(uid, kind::REMOTE_JOIN, of, &[("rooms", names(rooms))])
}

/// Makes members of Node servers leave rooms.
pub fn leave(uid: &str, of: &Selector, rooms: &[Room]) -> Vec<u8> {
    ask(uid, kind::REMOTE_LEAVE, of, &[("rooms", names(rooms))])
}

/// Disconnects members of Node servers.
pub fn disconnect(uid: &str, of: &Selector, close: bool) -> Vec<u8> {
    ask(uid, kind::REMOTE_DISCONNECT, of, &[("close", close.into())])
}

/// Reads a Node server's answer to [`fetch`]: the request's id, and the members.
///
/// # Errors
/// See [`WireError`].
pub fn fetched(bytes: &[u8]) -> Result<(String, Vec<MemberInfo>), WireError> {
    let answer = read(bytes)?;
    let field = |key: &str| answer.get(key).cloned().and_then(text);
    if let (None, Some(id)) = (field("requestId"), field("requestid")) {
        return Ok((id, Vec::new()));
    }
    let id = field("requestId").ok_or(WireError::Shape("no requestId"))?;
    let Some(Data::Array(sockets)) = answer.get("sockets") else {
        return Err(WireError::Shape("no sockets"));
    };
    Ok((id, sockets.iter().filter_map(member).collect()))
}

fn ask(uid: &str, kind: u64, of: &Selector, more: &[(&str, Value)]) -> Vec<u8> {
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
    let mut request = json!({
        "uid": uid, "type": kind, "rookery": true,
        "opts": { "rooms": names(rooms), "except": names(except) },
    });
    for (key, value) in more {
        request[*key] = value.clone();
    }
    bytes(&request)
}

fn names(rooms: &[Room]) -> Value {
    rooms.iter().map(|room| Value::from(&**room)).collect()
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn remote_socket(member: &MemberInfo) -> Value {
    let connected = member.connected_at.and_then(rfc3339);
    let issued = member.connected_at.and_then(|t| t.duration_since(SystemTime::UNIX_EPOCH).ok());
    let rooms: Vec<&str> =
        std::iter::once(member.id.as_str()).chain(member.rooms.iter().map(|r| &**r)).collect();
    json!({
        "id": member.id,
        "handshake": {
            "headers": {}, "query": {}, "auth": {}, "url": "", "address": "",
            "time": connected, "issued": issued.map(|t| t.as_millis() as u64),
            "secure": false, "xdomain": false,
        },
        "rooms": rooms,
        "data": { "rookery": { "user": member.user, "connectedAt": connected } },
    })
}

fn member(socket: &Data) -> Option<MemberInfo> {
    let id = socket.get("id")?.as_str()?.to_owned();
    let own = socket.get("data").and_then(|data| data.get("rookery"));
    let own = |key: &str| own.and_then(|own| own.get(key)).and_then(Data::as_str);
    Some(MemberInfo {
        user: own("user").map(str::to_owned),
        connected_at: own("connectedAt").and_then(|t| humantime::parse_rfc3339(t).ok()),
        rooms: rooms(socket.get("rooms")).into_iter().filter(|room| **room != *id).collect(),
        id,
    })
}

/// `None` for a time that has no such form: before 1970, or after the year 9999.
fn rfc3339(time: SystemTime) -> Option<String> {
    let mut text = String::new();
    write!(text, "{}", humantime::format_rfc3339_millis(time)).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests;
