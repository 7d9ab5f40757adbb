//! Requests of socket.io-redis 5 and earlier, the adapter for Socket.IO 2: another table of types,
//! and the id under `requestid`.
//!
//! Source: socket.io-redis 5.4.0, `index.js`, `requestTypes` and `onrequest`.

use rookery_protocol::Data;
use rookery_protocol::msgpack::WireError;

use super::{Ask, selector};
use crate::backplane::wire::classic::{number, text};
use crate::message::Selector;

/// The numbers of the request types.
mod kind {
    pub const CLIENTS: u64 = 0;
    pub const CLIENT_ROOMS: u64 = 1;
    pub const ALL_ROOMS: u64 = 2;
    pub const REMOTE_JOIN: u64 = 3;
    pub const REMOTE_LEAVE: u64 = 4;
    pub const CUSTOM_REQUEST: u64 = 5;
    pub const REMOTE_DISCONNECT: u64 = 6;
}

/// What such a request asks.
///
/// # Errors
/// [`WireError::Shape`].
pub(super) fn ask(request: &Data) -> Result<Ask, WireError> {
    let field = |key: &str| request.get(key).cloned().and_then(text);
    let sid = || field("sid").ok_or(WireError::Shape("no sid"));
    let member = || sid().map(Selector::Member);
    let rooms = || field("room").map(|room| vec![room.into()]).unwrap_or_default();
    Ok(match request.get("type").and_then(number) {
        Some(kind::CLIENTS) => Ask::Sockets(selector(request)),
        Some(kind::CLIENT_ROOMS) => Ask::MemberRooms(sid()?),
        Some(kind::ALL_ROOMS) => Ask::AllRooms,
        Some(kind::REMOTE_JOIN) => Ask::Join(member()?, rooms()),
        Some(kind::REMOTE_LEAVE) => Ask::Leave(member()?, rooms()),
        Some(kind::CUSTOM_REQUEST) => Ask::ServerSideEmit,
        Some(kind::REMOTE_DISCONNECT) => {
            Ask::Disconnect(member()?, request.get("close") == Some(&Data::Bool(true)))
        }
        _ => return Err(WireError::Shape("unknown request type of socket.io-redis 5")),
    })
}
