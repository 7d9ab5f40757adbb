//! Requests between servers on Node's classic wire, and their answers: JSON, or MessagePack where
//! binary is in them.
//!
//! Every request that Node waits on is answered. What a Rookery pod asks of Node servers carries
//! `rookery: true`, so that pods, who have a wire of their own, leave it to Node.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::classic::{self, Broadcast, number, rooms, text};
use crate::message::{MemberInfo, Selector};
use rookery_protocol::Data;
use rookery_protocol::Room;
use rookery_protocol::json::parse_json;
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
}

/// A request as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The id that an answer must carry; without one nobody waits.
    pub id: Option<String>,
    /// The server that asks.
    pub uid: Option<String>,
    /// Whether a Rookery pod asks; meant for Node servers only.
    pub from_pod: bool,
    /// What is asked.
    pub ask: Ask,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// The ids of the members of these rooms.
    Sockets(Selector),
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
    /// An event for the servers themselves.
    ServerSideEmit,
    /// A broadcast whose sender waits for the clients' acks.
    Broadcast(Box<Broadcast>),
}

/// Reads a request.
///
/// # Errors
/// See [`WireError`]; also for a type that this version does not know.
pub fn decode(bytes: &[u8]) -> Result<Request, WireError> {
    let request = read(bytes)?;
    let field = |key: &str| request.get(key).cloned().and_then(text);
    let selector = |options: &Data| Selector::Rooms {
        rooms: rooms(options.get("rooms")),
        except: rooms(options.get("except")),
    };
    // Old servers name one socket by `sid`; newer ones choose by `opts`.
    let chosen = || match (request.get("opts"), field("sid")) {
        (Some(options @ Data::Object(_)), _) => {
            Ok((selector(options), rooms(request.get("rooms"))))
        }
        (_, Some(sid)) => {
            let room = field("room").map(Room::from);
            Ok((Selector::Member(sid), room.into_iter().collect()))
        }
        _ => Err(WireError::Shape("neither opts nor sid")),
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
        Some(kind::BROADCAST) => {
            let packet = request.get("packet").cloned().unwrap_or(Data::Null);
            let options = request.get("opts").unwrap_or(&Data::Null);
            Ask::Broadcast(Box::new(classic::from_packet(packet, options)?))
        }
        _ => return Err(WireError::Shape("unknown request type")),
    };
    Ok(Request {
        id: field("requestId"),
        uid: field("uid"),
        from_pod: request.get("rookery") == Some(&Data::Bool(true)),
        ask,
    })
}

fn read(bytes: &[u8]) -> Result<Data, WireError> {
    if bytes.first() == Some(&b'{') {
        let request = parse_json(bytes).map_err(|_| WireError::Shape("no JSON"))?;
        if request.nests_within(msgpack::MAX_DEPTH) { Ok(request) } else { Err(WireError::Deep) }
    } else {
        msgpack::read(bytes)
    }
}

/// The answer to [`Ask::Sockets`].
pub fn sockets_answer(id: &str, members: &[MemberInfo]) -> Vec<u8> {
    let ids: Vec<&str> = members.iter().map(|m| m.id.as_str()).collect();
    bytes(&json!({ "requestId": id, "sockets": ids }))
}

/// The answer to [`Ask::AllRooms`]. As in Node, every member's id is a room too.
pub fn rooms_answer<'a>(id: &str, rooms: impl Iterator<Item = &'a str>) -> Vec<u8> {
    bytes(&json!({ "requestId": id, "rooms": rooms.collect::<Vec<_>>() }))
}

/// The answer to a join, leave or disconnect of one member.
pub fn done_answer(id: &str) -> Vec<u8> {
    bytes(&json!({ "requestId": id }))
}

/// The answer to [`Ask::Fetch`]: what becomes a `RemoteSocket` in Node. User and time of connection
/// travel in `data.rookery`.
pub fn fetch_answer(id: &str, members: &[MemberInfo]) -> Vec<u8> {
    let sockets: Vec<Value> = members.iter().map(remote_socket).collect();
    bytes(&json!({ "requestId": id, "sockets": sockets }))
}

/// The answer to [`Ask::ServerSideEmit`] where an ack is waited for: nobody listens here.
pub fn emit_answer(id: &str) -> Vec<u8> {
    bytes(&json!({ "type": kind::SERVER_SIDE_EMIT, "requestId": id, "data": null }))
}

/// The answer to [`Ask::Broadcast`]: how many clients will ack.
pub fn count_answer(id: &str, clients: usize) -> Vec<u8> {
    bytes(&json!({
        "type": kind::BROADCAST_CLIENT_COUNT, "requestId": id, "clientCount": clients,
    }))
}

/// Asks Node servers for the selected members.
pub fn fetch(uid: &str, id: &str, of: &Selector) -> Vec<u8> {
    ask(uid, kind::REMOTE_FETCH, of, &[("requestId", id.into())])
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
    let id = answer.get("requestId").cloned().and_then(text);
    let id = id.ok_or(WireError::Shape("no requestId"))?;
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
        Selector::User(_) => {
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
    let connected = member.connected_at.map(rfc3339);
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

fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn parsed(bytes: &[u8]) -> Value {
        serde_json::from_slice(bytes).unwrap()
    }

    fn rooms_of(rooms: &[&str], except: &[&str]) -> Selector {
        let rooms_of = |names: &[&str]| names.iter().map(|n| Room::from(*n)).collect();
        Selector::Rooms { rooms: rooms_of(rooms), except: rooms_of(except) }
    }

    #[test]
    fn nodes_requests_are_understood() {
        let cases = [
            (r#"{"type":0,"requestId":"q","rooms":["a"]}"#, Ask::Sockets(rooms_of(&["a"], &[]))),
            (r#"{"uid":"u","requestId":"q","type":1}"#, Ask::AllRooms),
            (
                r#"{"type":2,"opts":{"rooms":["a",1],"except":["b"]},"rooms":["c"]}"#,
                Ask::Join(rooms_of(&["a", "1"], &["b"]), vec!["c".into()]),
            ),
            (
                r#"{"type":3,"requestId":"q","sid":"s","room":"c"}"#,
                Ask::Leave(Selector::Member("s".into()), vec!["c".into()]),
            ),
            (
                r#"{"type":4,"opts":{"rooms":[],"except":[]},"close":true}"#,
                Ask::Disconnect(rooms_of(&[], &[]), true),
            ),
            (
                r#"{"type":5,"requestId":"q","opts":{"rooms":["a"],"except":[]}}"#,
                Ask::Fetch(rooms_of(&["a"], &[])),
            ),
            (r#"{"type":6,"uid":"u","requestId":"q","data":["x",1]}"#, Ask::ServerSideEmit),
        ];
        for (json, ask) in cases {
            assert_eq!(decode(json.as_bytes()).unwrap().ask, ask, "{json}");
        }
        assert_eq!(decode(cases_without_id().as_bytes()).unwrap().id, None);
        for bad in [r#"{"type":99}"#, r#"{"type":2}"#, "{", "[]", ""] {
            assert!(decode(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    fn cases_without_id() -> &'static str {
        r#"{"uid":"emitter","type":6,"data":["x"]}"#
    }

    #[test]
    fn a_broadcast_that_wants_acks_is_understood() {
        let mut packet = Vec::new();
        msgpack::write(
            &mut packet,
            &parse_json(
                br#"{"uid":"u","requestId":"q","type":7,
                     "packet":{"type":2,"data":["e",1],"nsp":"/"},
                     "opts":{"rooms":["a"],"except":["b"],"flags":{"timeout":1000}}}"#,
            )
            .unwrap(),
        );
        let request = decode(&packet).unwrap();
        assert_eq!(request.id.as_deref(), Some("q"));
        let Ask::Broadcast(broadcast) = request.ask else { panic!("{request:?}") };
        assert_eq!((broadcast.event.as_str(), broadcast.rooms.len()), ("e", 1));
        assert_eq!(parsed(&count_answer("q", 0))["clientCount"], 0);
    }

    #[test]
    fn what_we_ask_of_node_is_marked_as_ours() {
        let request = decode(&fetch("podpodpo", "q", &rooms_of(&["a"], &["b"]))).unwrap();
        assert!(request.from_pod);
        assert_eq!(request.uid.as_deref(), Some("podpodpo"));
        assert_eq!(request.ask, Ask::Fetch(rooms_of(&["a"], &["b"])));
        let request = decode(&join("p", &Selector::Member("m".into()), &["r".into()])).unwrap();
        assert_eq!(request.ask, Ask::Join(rooms_of(&["m"], &[]), vec!["r".into()]));
        let request = decode(&disconnect("p", &rooms_of(&["a"], &[]), true)).unwrap();
        assert_eq!(request.ask, Ask::Disconnect(rooms_of(&["a"], &[]), true));
    }

    #[test]
    fn members_come_back_from_an_answer() {
        let member = MemberInfo {
            id: "podpodpoABCDEFGHIJKL".into(),
            user: Some("ann".into()),
            connected_at: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123)),
            rooms: vec!["a".into()],
        };
        let answer = fetch_answer("q", std::slice::from_ref(&member));
        assert_eq!(parsed(&answer)["sockets"][0]["rooms"], json!([member.id, "a"]));
        assert_eq!(fetched(&answer).unwrap(), ("q".to_owned(), vec![member]));
        let nodes = br#"{"requestId":"q","sockets":[{"id":"n","rooms":["n",7],"data":{}}, 3]}"#;
        let (_, members) = fetched(nodes).unwrap();
        assert_eq!(members.len(), 1);
        assert_eq!(members[0].rooms, [Room::from("7")]);
        assert_eq!(members[0].connected_at, None);
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_answer(bytes in any::<Vec<u8>>()) {
            let _ = decode(&bytes);
            let _ = fetched(&bytes);
        }
    }
}
