//! Requests of other servers on Node's classic wire: JSON, or MessagePack where binary is in them.
//!
//! Every request that Node waits on is answered. What a Rookery pod asks of Node servers carries
//! `rookery: true`, so that pods, who have a wire of their own, leave it to Node.

mod old;

use super::classic::{self, Broadcast, number, rooms, text};
use super::encoding::read;
use crate::message::Selector;
use rookery_protocol::Data;
use rookery_protocol::Room;
use rookery_protocol::msgpack::WireError;

/// The numbers of the request types.
pub(super) mod kind {
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

/// What the answer to a request must carry, and whose adapter reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId {
    /// The id.
    pub id: String,
    /// Who waits for the answer.
    pub asker: Asker,
}

/// The adapter of a server that waits for an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asker {
    /// `@socket.io/redis-adapter`, or socket.io-redis 6.
    Classic,
    /// socket.io-redis 5 or earlier, the adapter for Socket.IO 2.
    Old,
    /// The sharded adapter, with its uid.
    Sharded(String),
}

impl RequestId {
    /// The name that the asker's adapter gives the id.
    pub(super) fn key(&self) -> &'static str {
        if self.asker == Asker::Old { "requestid" } else { "requestId" }
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
    let request_id = |key: &str, asker| field(key).map(|id| RequestId { id, asker });
    if let (None, Some(id)) = (field("requestId"), request_id("requestid", Asker::Old)) {
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
        id: request_id("requestId", Asker::Classic),
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
pub(super) fn selector(options: &Data) -> Selector {
    match classic::targets(options) {
        Ok((rooms, except)) => Selector::Rooms { rooms, except },
        Err(_) => Selector::Nobody,
    }
}

#[cfg(test)]
mod tests;
