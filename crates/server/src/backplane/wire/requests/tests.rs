//! Requests of Node servers, as they were read, and answers to them.

use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use rookery_protocol::json::parse_plain_json;
use rookery_protocol::msgpack;
use serde_json::{Value, json};

use super::*;
use crate::backplane::wire::orders::{Order, fetch, order};
use crate::backplane::wire::replies::{Reply, fetched, reply};
use crate::message::MemberInfo;

fn parsed(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn id_of(id: &str) -> RequestId {
    RequestId { id: id.to_owned(), asker: Asker::Classic }
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

#[test]
fn a_request_whose_target_names_nothing_selects_nobody() {
    for opts in [
        r#"{"rooms":[null],"except":[]}"#,
        r#"{"rooms":[null,{},[["a"]],false]}"#,
        r#"{"rooms":"a"}"#,
        r#"{"rooms":""}"#,
        r#"{"rooms":0}"#,
        r#"{"rooms":[],"except":"a"}"#,
    ] {
        for kind in 2..=5 {
            let json = format!(r#"{{"type":{kind},"opts":{opts},"rooms":["r"],"close":true}}"#);
            let expected = match kind {
                2 => Ask::Join(Selector::Nobody, vec!["r".into()]),
                3 => Ask::Leave(Selector::Nobody, vec!["r".into()]),
                4 => Ask::Disconnect(Selector::Nobody, true),
                _ => Ask::Fetch(Selector::Nobody),
            };
            assert_eq!(decode(json.as_bytes()).unwrap().ask, expected, "{json}");
        }
        let packet = r#"{"type":2,"data":["e"],"nsp":"/"}"#;
        let json = format!(r#"{{"type":7,"requestId":"q","packet":{packet},"opts":{opts}}}"#);
        assert_eq!(decode(json.as_bytes()).unwrap().ask, Ask::Broadcast(None), "{json}");
    }
    let fetch = decode(br#"{"type":5,"requestId":"q"}"#).unwrap().ask;
    assert_eq!(fetch, Ask::Fetch(Selector::Nobody));
    let sockets = decode(br#"{"type":0,"requestId":"q","rooms":[null]}"#).unwrap().ask;
    assert_eq!(sockets, Ask::Sockets(Selector::Nobody));
    for opts in ["7", "true", "[]", "\"a\""] {
        let json = format!(r#"{{"type":4,"sid":"s","opts":{opts},"close":true}}"#);
        assert!(decode(json.as_bytes()).is_err(), "{json}");
    }
    let mixed = br#"{"type":4,"opts":{"rooms":[null,"a"],"except":[null]}}"#;
    assert_eq!(decode(mixed).unwrap().ask, Ask::Disconnect(rooms_of(&["a"], &[]), false));
}

fn cases_without_id() -> &'static str {
    r#"{"uid":"emitter","type":6,"data":["x"]}"#
}

#[test]
fn a_broadcast_that_wants_acks_is_understood() {
    let mut packet = Vec::new();
    msgpack::write(
        &mut packet,
        &parse_plain_json(
            br#"{"uid":"u","requestId":"q","type":7,
                 "packet":{"type":2,"data":["e",1],"nsp":"/"},
                 "opts":{"rooms":["a"],"except":["b"],"flags":{"timeout":1000}}}"#,
        )
        .unwrap(),
    );
    let request = decode(&packet).unwrap();
    let id = request.id.clone().unwrap();
    assert_eq!(id, id_of("q"));
    let Ask::Broadcast(Some(broadcast)) = request.ask else { panic!("{request:?}") };
    assert_eq!((broadcast.event.as_str(), broadcast.rooms.len()), ("e", 1));
    assert_eq!(parsed(&reply(&id, &Reply::Recipients(0)))["clientCount"], 0);
}

/// A key that this server's own JSON gives a meaning has none in Node's.
#[test]
fn what_looks_like_our_form_of_binary_stays_what_it_is() {
    for argument in [r#"{"$binary":"AQI="}"#, r#"{"$binary":"no base64"}"#, r#"{"$binary":7}"#] {
        let json = format!(
            r#"{{"uid":"u","requestId":"q","type":7,"opts":{{"rooms":["a"],"except":[]}},
                "packet":{{"type":2,"data":["e",{argument}],"nsp":"/"}}}}"#
        );
        let Ask::Broadcast(Some(broadcast)) = decode(json.as_bytes()).unwrap().ask else {
            panic!("no broadcast");
        };
        assert_eq!(serde_json::to_string(&broadcast.args[0]).unwrap(), argument);
    }
}

#[test]
fn what_we_ask_of_node_is_marked_as_ours() {
    let request = decode(&fetch("podpodpo", "q", &rooms_of(&["a"], &["b"]))).unwrap();
    assert!(request.from_pod);
    assert_eq!(request.uid.as_deref(), Some("podpodpo"));
    assert_eq!(request.ask, Ask::Fetch(rooms_of(&["a"], &["b"])));
    let request =
        decode(&order("p", &Selector::Member("m".into()), Order::Join(&["r".into()]))).unwrap();
    assert_eq!(request.ask, Ask::Join(rooms_of(&["m"], &[]), vec!["r".into()]));
    let request = decode(&order("p", &rooms_of(&["a"], &[]), Order::Disconnect(true))).unwrap();
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
    let answer = reply(&id_of("q"), &Reply::Fetched(std::slice::from_ref(&member)));
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

#[test]
fn requests_of_socket_io_redis_5_have_a_table_of_their_own() {
    let member = || Selector::Member("s".into());
    let cases = [
        (r#"{"requestid":"q","type":0,"rooms":["a"]}"#, Ask::Sockets(rooms_of(&["a"], &[]))),
        (r#"{"requestid":"q","type":0,"rooms":[]}"#, Ask::Sockets(rooms_of(&[], &[]))),
        (r#"{"requestid":"q","type":0,"rooms":[null]}"#, Ask::Sockets(Selector::Nobody)),
        (r#"{"requestid":"q","type":1,"sid":"s"}"#, Ask::MemberRooms("s".into())),
        (r#"{"requestid":"q","type":2}"#, Ask::AllRooms),
        (
            r#"{"requestid":"q","type":3,"sid":"s","room":"c"}"#,
            Ask::Join(member(), vec!["c".into()]),
        ),
        (
            r#"{"requestid":"q","type":4,"sid":"s","room":"c"}"#,
            Ask::Leave(member(), vec!["c".into()]),
        ),
        (r#"{"requestid":"q","type":5,"data":"x"}"#, Ask::ServerSideEmit),
        (r#"{"requestid":"q","type":6,"sid":"s","close":true}"#, Ask::Disconnect(member(), true)),
        (r#"{"requestid":"q","type":6,"sid":"s"}"#, Ask::Disconnect(member(), false)),
    ];
    for (json, ask) in cases {
        let request = decode(json.as_bytes()).unwrap();
        assert_eq!(request.ask, ask, "{json}");
        assert_eq!(request.id, Some(RequestId { id: "q".into(), asker: Asker::Old }), "{json}");
    }
    for bad in [3, 4, 6, 7, 99] {
        let json = format!(r#"{{"requestid":"q","type":{bad},"room":"c","close":true}}"#);
        assert!(decode(json.as_bytes()).is_err(), "{json}");
    }
    let id = RequestId { id: "q".into(), asker: Asker::Old };
    assert_eq!(parsed(&reply(&id, &Reply::Sockets(&[]))), json!({"requestid": "q", "clients": []}));
    assert_eq!(parsed(&reply(&id, &Reply::Done)), json!({"requestid": "q"}));
    assert_eq!(fetched(br#"{"requestid":"q","data":null}"#).unwrap(), ("q".to_owned(), vec![]));
}
