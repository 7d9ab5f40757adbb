//! Answers to requests on Node's classic wire: to those of other servers, and theirs to ours.

use std::fmt::Write as _;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::classic::{number, rooms, text};
use super::encoding::read;
use super::requests::{Asker, RequestId, kind};
use crate::message::MemberInfo;
use rookery_protocol::Data;
use rookery_protocol::msgpack::{self, WireError};

/// What is answered to a request.
#[derive(Clone, Debug)]
pub enum Reply<'a> {
    /// To [`Ask::Sockets`](super::requests::Ask::Sockets): the members' ids.
    Sockets(&'a [MemberInfo]),
    /// To [`Ask::AllRooms`](super::requests::Ask::AllRooms) and [`Ask::MemberRooms`](super::requests::Ask::MemberRooms).
    /// As in Node, every member's id is a room too.
    Rooms(Vec<&'a str>),
    /// To a join, leave or disconnect of one member.
    Done,
    /// To [`Ask::Fetch`](super::requests::Ask::Fetch): what becomes a `RemoteSocket` in Node.
    Fetched(&'a [MemberInfo]),
    /// To [`Ask::ServerSideEmit`](super::requests::Ask::ServerSideEmit) where an ack is waited for: nobody
    /// listens here.
    Emitted,
    /// To [`Ask::Broadcast`](super::requests::Ask::Broadcast): how many clients will ack.
    Recipients(usize),
    /// To [`Ask::Broadcast`](super::requests::Ask::Broadcast) for each client that acknowledged it: its first
    /// argument.
    Ack(&'a Data),
}

/// Writes an answer for a server with a classic adapter.
pub fn reply(id: &RequestId, reply: &Reply<'_>) -> Vec<u8> {
    let key = id.key();
    let fields = match reply {
        Reply::Ack(argument) => return ack(id, argument),
        Reply::Sockets(members) => {
            let ids: Vec<&str> = members.iter().map(|m| m.id.as_str()).collect();
            // `clients` is what socket.io-redis 5 reads.
            let list = if id.asker == Asker::Old { "clients" } else { "sockets" };
            json!({ key: id.id, list: ids })
        }
        Reply::Rooms(rooms) => json!({ key: id.id, "rooms": rooms }),
        Reply::Done => json!({ key: id.id }),
        Reply::Fetched(members) => {
            let sockets: Vec<Value> = members.iter().map(remote_socket).collect();
            json!({ key: id.id, "sockets": sockets })
        }
        Reply::Emitted => json!({ "type": kind::SERVER_SIDE_EMIT, key: id.id, "data": null }),
        Reply::Recipients(clients) => json!({
            "type": kind::BROADCAST_CLIENT_COUNT, key: id.id, "clientCount": clients,
        }),
    };
    fields.to_string().into_bytes()
}

fn ack(id: &RequestId, argument: &Data) -> Vec<u8> {
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

/// What another server answers to [`broadcast`](super::orders::broadcast).
#[derive(Clone, Debug, PartialEq)]
pub enum BroadcastAnswer {
    /// It has so many recipients.
    Recipients(usize),
    /// One of them acknowledged it, with this first argument; and the bytes of the answer.
    Ack(Data, usize),
}

/// Reads an answer to [`broadcast`](super::orders::broadcast): the request's id, and what is said. `None`
/// where it is an answer to something else.
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

/// Reads a Node server's answer to [`fetch`](super::orders::fetch): the request's id, and the members.
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

/// A member as Node describes it to other servers. User and time of connection travel in
/// `data.rookery`.
pub fn remote_socket(member: &MemberInfo) -> Value {
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

/// Reads a member as another server describes it; `None` where it has no id.
pub fn member(socket: &Data) -> Option<MemberInfo> {
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
