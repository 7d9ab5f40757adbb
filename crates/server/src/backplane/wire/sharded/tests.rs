use std::time::{Instant, SystemTime};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::backplane::sequence::SequenceNumber;
use crate::message::Source;
use rookery_protocol::Room;

const UID: &str = "0a990f6f890ca99c";

fn publication(args: Vec<Data>) -> Publication {
    Publication {
        id: "id-1".into(),
        namespace: "/admin".into(),
        rooms: ["room".into()].into_iter().collect(),
        except: ["out".into()].into(),
        event: "hello".into(),
        args: args.into(),
        volatile: true,
        compress: false,
        source: Source::Api,
        address: None,
        accepted: Instant::now(),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
    }
}

fn broadcast_in(bytes: &[u8]) -> Broadcast {
    match decode(bytes) {
        Ok(Message::Broadcast(broadcast)) => broadcast,
        other => panic!("{other:?}"),
    }
}

fn request_in(bytes: &[u8]) -> Request {
    match decode(bytes) {
        Ok(Message::Request(_, request)) => request,
        other => panic!("{other:?}"),
    }
}

fn parsed(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// What a Node server with the adapter 8.3.0 publishes.
fn of_node(kind: u64, data: &str) -> Vec<u8> {
    format!(r#"{{"type":{kind},"data":{data},"uid":"{UID}","nsp":"/"}}"#).into_bytes()
}

fn rooms_of(rooms: &[&str], except: &[&str]) -> Selector {
    let rooms_of = |names: &[&str]| names.iter().map(|n| Room::from(*n)).collect();
    Selector::Rooms { rooms: rooms_of(rooms), except: rooms_of(except) }
}

#[test]
fn a_publication_comes_back_with_everything() {
    let args = vec![Data::from("x"), Data::Binary(Bytes::from_static(&[0, 255]))];
    let publication = publication(args.clone());
    let mut bytes = encode(&publication, "podpodpo", Some(1_700_000_000_000_000));
    assert_eq!(sender(&bytes), Some(&b"podpodpo"[..]));
    let sequence = SequenceNumber { epoch: 3, number: 1 };
    sequence.replace_last(&mut bytes);
    let broadcast = broadcast_in(&bytes);
    assert_eq!((broadcast.uid.as_str(), broadcast.namespace.as_str()), ("podpodpo", "/admin"));
    assert_eq!(broadcast.rooms[..], publication.rooms[..]);
    assert_eq!(broadcast.except[..], publication.except[..]);
    assert_eq!((broadcast.event.as_str(), &broadcast.args), ("hello", &args));
    assert!(broadcast.volatile && !broadcast.compress);
    assert_eq!(broadcast.origin, Some(1_700_000_000_000_000));
    assert_eq!(broadcast.id.as_deref(), Some("id-1"));
    assert_eq!(broadcast.traceparent.as_deref(), publication.traceparent.as_deref());
    assert_eq!(broadcast.sequence, Some(sequence));
}

#[test]
fn node_reads_what_is_published_as_its_own_message() {
    let message = msgpack::read(&encode(&publication(vec![]), "podpodpo", None)).unwrap();
    let field = |key: &str| message.get(key).cloned();
    assert_eq!(field("type"), Some(Data::Number(3.into())));
    assert_eq!((field("uid"), field("nsp")), (Some("podpodpo".into()), Some("/admin".into())));
    let data = message.get("data").unwrap();
    assert_eq!(data.get("requestId"), None);
    let list = data.get("packet").and_then(|packet| packet.get("data"));
    assert_eq!(list, Some(&Data::Array(vec!["hello".into()])));
    let flags = data.get("opts").and_then(|opts| opts.get("flags"));
    let flag = |name: &str| flags.and_then(|flags| flags.get(name));
    assert_eq!(flag("volatile"), Some(&Data::Bool(true)));
    assert_eq!(flag("compress"), Some(&Data::Bool(false)));
}

/// `io.to("room").emit("bin1", Buffer.from([1, 2]), 2 ** 40, new Date(0), undefined, { u: undefined })`.
#[test]
fn a_node_servers_broadcasts_are_understood() {
    let options =
        r#"{"rooms":["room","7"],"except":["z"],"flags":{"volatile":true,"compress":false}}"#;
    let data = format!(r#"{{"packet":{{"type":2,"data":["two",1]}},"opts":{options}}}"#);
    let broadcast = broadcast_in(&of_node(3, &data));
    assert_eq!((broadcast.uid.as_str(), broadcast.namespace.as_str()), (UID, "/"));
    assert_eq!((broadcast.event.as_str(), broadcast.args.len()), ("two", 1));
    assert_eq!(broadcast.rooms, [Room::from("room"), Room::from("7")]);
    assert_eq!((broadcast.except.len(), broadcast.volatile), (1, true));
    assert!(!broadcast.compress);

    let bytes =
        b"\x84\xa4type\x03\xa4data\x82\xa6packet\x82\xa4type\x02\xa4data\x96\xa4bin1\xc4\x02\
        \x01\x02\xcf\x00\x00\x01\x00\x00\x00\x00\x00\xd6\xff\x00\x00\x00\x00\xc0\x80\xa4opts\x83\
        \xa5rooms\x91\xa4room\xa6except\x90\xa5flags\x80\xa3uid\xb00a990f6f890ca99c\xa3nsp\xa1/";
    let broadcast = broadcast_in(bytes);
    assert_eq!(sender(bytes), None);
    assert_eq!(broadcast.args[0], Data::Binary(Bytes::from_static(&[1, 2])));
    assert_eq!(broadcast.args[1], Data::Number((1_u64 << 40).into()));
    assert_eq!((broadcast.args.len(), broadcast.sequence), (5, None));
}

#[test]
fn what_looks_like_our_form_of_binary_stays_what_it_is() {
    for argument in [r#"{"$binary":"AQI="}"#, r#"{"$binary":7}"#] {
        let data = format!(
            r#"{{"packet":{{"type":2,"data":["e",{argument}]}},"opts":{{"rooms":[],"except":[]}}}}"#
        );
        let broadcast = broadcast_in(&of_node(3, &data));
        assert_eq!(serde_json::to_string(&broadcast.args[0]).unwrap(), argument);
    }
}

#[test]
fn a_node_servers_requests_are_understood() {
    let opts = r#""opts":{"rooms":["a"],"except":["b"],"flags":{}}"#;
    let of = || rooms_of(&["a"], &["b"]);
    let cases = [
        (4, format!(r#"{{{opts},"rooms":["c"]}}"#), Ask::Join(of(), vec!["c".into()])),
        (5, format!(r#"{{{opts},"rooms":["c"]}}"#), Ask::Leave(of(), vec!["c".into()])),
        (6, format!(r#"{{{opts},"close":true}}"#), Ask::Disconnect(of(), true)),
        (7, format!(r#"{{{opts},"requestId":"q"}}"#), Ask::Fetch(of())),
        (9, r#"{"requestId":"q","packet":["hi",1]}"#.to_owned(), Ask::ServerSideEmit),
    ];
    for (kind, data, ask) in cases {
        let request = request_in(&of_node(kind, &data));
        let id = data
            .contains("requestId")
            .then(|| RequestId { id: "q".into(), asker: Asker::Sharded(UID.into()) });
        assert_eq!((request.ask, request.id, request.from_pod), (ask, id, false), "{data}");
    }
    let data = format!(r#"{{"requestId":"q","packet":{{"type":2,"data":["e"]}},{opts}}}"#);
    let request = request_in(&of_node(3, &data));
    let Ask::Broadcast(Some(broadcast)) = request.ask else { panic!("{request:?}") };
    assert_eq!((broadcast.event.as_str(), broadcast.namespace.as_str()), ("e", "/"));
}

#[test]
fn a_target_that_names_nothing_selects_nobody() {
    for opts in [r#"{"rooms":[null],"except":[]}"#, r#"{"rooms":"a"}"#, "7", "null"] {
        for (kind, more) in
            [(4, r#""rooms":["r"]"#), (5, r#""rooms":["r"]"#), (6, r#""close":true"#)]
        {
            let ask = request_in(&of_node(kind, &format!(r#"{{"opts":{opts},{more}}}"#))).ask;
            let (Ask::Join(of, _) | Ask::Leave(of, _) | Ask::Disconnect(of, _)) = ask else {
                panic!("{ask:?}")
            };
            assert_eq!(of, Selector::Nobody, "{opts}");
        }
        let packet = r#""packet":{"type":2,"data":["e"]}"#;
        let plain = of_node(3, &format!(r#"{{{packet},"opts":{opts}}}"#));
        assert!(matches!(decode(&plain), Err(WireError::Shape(_))), "{opts}");
        let asks = of_node(3, &format!(r#"{{"requestId":"q",{packet},"opts":{opts}}}"#));
        assert_eq!(request_in(&asks).ask, Ask::Broadcast(None), "{opts}");
    }
}

#[test]
fn what_asks_nothing_is_left_alone_and_what_is_unknown_is_an_error() {
    for kind in [1, 2, 10, 13] {
        assert_eq!(decode(&of_node(kind, "{}")), Ok(Message::Other), "{kind}");
    }
    for bad in
        [&of_node(0, "{}")[..], &of_node(14, "{}"), &of_node(8, "{}"), b"{}", b"{", b"", b"\x80"]
    {
        assert!(decode(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn our_requests_are_marked_as_ours_and_understood_by_node() {
    let of = rooms_of(&["a"], &["b"]);
    let fetch = fetch("podpodpo", "/", "podpodpo-1", &of);
    let request = request_in(&fetch);
    assert!(request.from_pod);
    assert_eq!((request.uid.as_deref(), &request.ask), (Some("podpodpo"), &Ask::Fetch(of.clone())));
    // Node reads flags of it.
    assert_eq!(parsed(&fetch)["data"]["opts"]["flags"], json!({}));
    for (told, ask) in [
        (Order::Join(&["r".into()]), Ask::Join(of.clone(), vec!["r".into()])),
        (Order::Leave(&["r".into()]), Ask::Leave(of.clone(), vec!["r".into()])),
        (Order::Disconnect(true), Ask::Disconnect(of.clone(), true)),
    ] {
        let request = request_in(&order("podpodpo", "/", &of, told));
        assert_eq!((request.ask, request.from_pod), (ask, true));
    }
    let timeout = Duration::from_secs(2);
    let asks =
        broadcast_with_acks("podpodpo", "podpodpo-b1", &publication(vec![]), Some(7), timeout);
    assert_eq!(sender(&asks), Some(&b"podpodpo"[..]));
    let request = request_in(&asks);
    let Ask::Broadcast(Some(broadcast)) = request.ask else { panic!("{request:?}") };
    assert_eq!((broadcast.timeout, broadcast.origin), (Some(timeout), Some(7)));
    assert!(!request.from_pod);
}

#[test]
fn answers_are_nodes_own() {
    let member_here = MemberInfo {
        id: "podpodpoABCDEFGHIJKL".into(),
        user: Some("ann".into()),
        connected_at: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123)),
        rooms: vec!["a".into()],
    };
    let members = std::slice::from_ref(&member_here);
    let answer = |what: Reply<'_>| reply("podpodpo", "/", "q", &what).unwrap();
    let fetched = answer(Reply::Fetched(members));
    assert_eq!(parsed(&fetched)["type"], 8);
    assert_eq!(parsed(&fetched)["data"]["sockets"][0]["rooms"], json!([member_here.id, "a"]));
    assert_eq!(decode(&fetched), Ok(Message::Fetched("q".into(), members.to_vec())));
    let count = answer(Reply::Recipients(2));
    let expected = json!({
        "uid": "podpodpo", "nsp": "/", "type": 11, "data": { "requestId": "q", "clientCount": 2 },
    });
    assert_eq!(parsed(&count), expected);
    let recipients = Message::Acknowledged("q".into(), BroadcastAnswer::Recipients(2));
    assert_eq!(decode(&count), Ok(recipients));
    assert_eq!(parsed(&answer(Reply::Emitted))["data"], json!({"requestId": "q", "packet": null}));
    let argument = Data::Binary(Bytes::from_static(&[9]));
    let ack = answer(Reply::Ack(&argument));
    let said = BroadcastAnswer::Ack(argument, ack.len());
    assert_eq!(decode(&ack), Ok(Message::Acknowledged("q".into(), said)));
    assert!(reply("podpodpo", "/", "q", &Reply::Done).is_none());
}

#[test]
fn an_argument_may_nest_as_deep_as_an_event_of_a_client_and_no_deeper() {
    let nested = |levels: usize| (0..levels).fold(Data::Null, |inner, _| Data::Array(vec![inner]));
    let deepest = rookery_protocol::MAX_DEPTH;
    let bytes = encode(&publication(vec![nested(deepest)]), "podpodpo", None);
    assert_eq!(broadcast_in(&bytes).args, [nested(deepest)]);
    let bytes = encode(&publication(vec![nested(deepest + 1)]), "podpodpo", None);
    assert_eq!(decode(&bytes), Err(WireError::Deep));
}

proptest! {
    #[test]
    fn any_bytes_give_an_answer(bytes in any::<Vec<u8>>()) {
        let _ = decode(&bytes);
        let _ = sender(&bytes);
    }
}
