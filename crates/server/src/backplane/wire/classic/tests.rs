use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn publication(rooms: &[&str], args: Vec<Data>) -> Publication {
    Publication {
        id: "id-1".into(),
        namespace: "/admin".into(),
        rooms: rooms.iter().map(|r| Room::from(*r)).collect(),
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

#[test]
fn a_publication_comes_back_with_everything() {
    let args = vec![Data::from("x"), Data::Binary(Bytes::from_static(&[0, 255]))];
    let publication = publication(&["a", "b"], args.clone());
    let bytes = encode(&publication, "podpodpo", Some(1_700_000_000_000_000));
    assert_eq!(sender(&bytes), Some(&b"podpodpo"[..]));
    let Data::Array(parts) = msgpack::read(&bytes).unwrap() else { panic!("no array") };
    assert_eq!(parts[1].get("type"), Some(&Data::Number(EVENT.into())));
    let broadcast = decode(&bytes).unwrap();
    assert_eq!(broadcast.uid, "podpodpo");
    assert_eq!(broadcast.namespace, "/admin");
    assert_eq!(broadcast.rooms[..], publication.rooms[..]);
    assert_eq!(broadcast.except[..], publication.except[..]);
    assert_eq!((broadcast.event.as_str(), &broadcast.args), ("hello", &args));
    assert!(broadcast.volatile && !broadcast.compress);
    assert_eq!(broadcast.origin, Some(1_700_000_000_000_000));
    assert_eq!(broadcast.sequence, None);
    let sequence = SequenceNumber { epoch: 3, number: 1 };
    let mut numbered = bytes.clone();
    sequence.replace_last(&mut numbered);
    assert_eq!(decode(&numbered).unwrap().sequence, Some(sequence));
    let accepted = Instant::now();
    let back = broadcast.into_publication("/admin".into(), || unreachable!(), accepted);
    assert_eq!((back.id, back.source), (publication.id, Source::Redis));
    assert!(back.volatile && !back.compress);
    assert_eq!(back.traceparent, publication.traceparent);
}

/// The exact bytes that notepack.io writes for
/// `["emitter", {type: 2, data: ["e", 1, undefined], nsp: "/"}, {rooms: ["r", 7], flags: {}, except: []}]`.
#[test]
fn an_emitters_broadcast_is_understood() {
    let mut bytes = vec![0x93, 0xa7];
    bytes.extend(b"emitter");
    bytes.extend(b"\x83\xa4type\x02\xa4data\x93\xa1e\x01\xc0\xa3nsp\xa1/");
    bytes.extend(b"\x83\xa5rooms\x92\xa1r\x07\xa5flags\x80\xa6except\x90");
    let broadcast = decode(&bytes).unwrap();
    assert_eq!(broadcast.uid, "emitter");
    assert_eq!(broadcast.args, [Data::Number(1.into()), Data::Null]);
    assert_eq!(broadcast.rooms, [Room::from("r"), Room::from("7")]);
    assert!(!broadcast.volatile && broadcast.origin.is_none() && broadcast.id.is_none());
    assert!(broadcast.compress, "what its sender does not say is as in Node");
}

/// The bytes that `msgpack_pack` of PHP writes for a packet and its options, without a sender: an
/// empty map is an empty list there.
#[test]
fn a_broadcast_of_the_time_of_socket_io_1_is_understood() {
    let bytes = b"\x92\x83\xa4type\x05\xa4data\x92\xa1e\xda\x00\x01x\xa3nsp\xa5/chat\
                  \x82\xa5rooms\x92\xa1a\xa1b\xa5flags\x90";
    let broadcast = decode(bytes).unwrap();
    assert_eq!((broadcast.uid.as_str(), broadcast.namespace.as_str()), ("", "/chat"));
    assert_eq!(broadcast.args, [Data::from("x")]);
    assert_eq!(broadcast.rooms, [Room::from("a"), Room::from("b")]);
}

#[test]
fn one_room_of_several_is_left_without_members_of_those_before_it() {
    let rooms = |names: &[&str]| names.iter().map(|name| Room::from(*name)).collect::<Vec<_>>();
    for (position, room, except) in
        [(0, "a", &["x"][..]), (1, "b", &["x", "a"]), (2, "c", &["x", "a", "b"])]
    {
        let options = r#",{"rooms":["a","b","c"],"except":["x"]}"#;
        let mut broadcast = decode(&broadcast_to(options)).unwrap();
        broadcast.narrow_to(position);
        assert_eq!((broadcast.rooms, broadcast.except), (rooms(&[room]), rooms(except)));
    }
}

/// `options` as `[uid, packet, options]` in MessagePack.
fn broadcast_to(options: &str) -> Vec<u8> {
    let packet = r#"{"type":2,"data":["e"],"nsp":"/"}"#;
    let json = format!(r#"["emitter",{packet}{options}]"#);
    let mut bytes = Vec::new();
    msgpack::write(&mut bytes, &rookery_protocol::json::parse_json(json.as_bytes()).unwrap());
    bytes
}

#[test]
fn only_an_absent_or_empty_list_of_rooms_is_the_whole_namespace() {
    for options in [
        "{}",
        r#"{"rooms":[]}"#,
        r#"{"rooms":null,"except":[null],"flags":{}}"#,
        r#"{"rooms":"","flags":""}"#,
    ] {
        let broadcast = decode(&broadcast_to(&format!(",{options}"))).unwrap();
        assert!(broadcast.rooms.is_empty() && broadcast.except.is_empty(), "{options}");
    }
    let some = decode(&broadcast_to(r#",{"rooms":[null,"a",["b"],7],"except":[{},"c"]}"#));
    let some = some.unwrap();
    assert_eq!(some.rooms, [Room::from("a"), Room::from("7")]);
    assert_eq!(some.except, [Room::from("c")]);
    for nobody in [
        "",
        ",null",
        ",[]",
        ",\"a\"",
        r#",{"rooms":[null]}"#,
        r#",{"rooms":[null,null],"except":[]}"#,
        r#",{"rooms":[["a"],{"a":1},true]}"#,
        r#",{"rooms":"a"}"#,
        r#",{"rooms":7}"#,
        r#",{"rooms":{}}"#,
        r#",{"rooms":["a"],"except":"b"}"#,
    ] {
        assert!(decode(&broadcast_to(nobody)).is_err(), "{nobody}");
    }
    assert_eq!(decode(&broadcast_to(r#",{"rooms":[""]}"#)).unwrap().rooms, [Room::from("")]);
}

#[test]
fn what_is_no_event_is_refused() {
    for bytes in [
        &b"\x90"[..],
        b"\x92\xa1u\xc0",
        b"\x92\xa1u\x82\xa4type\x03\xa4data\x91\xa1e",
        b"\x92\xa1u\x82\xa4type\x02\xa4data\x90",
        b"\x92\xa1u\x82\xa4type\x02\xa4data\x91\xc0",
        b"\x81\xa1u\xc0",
    ] {
        assert!(matches!(decode(bytes), Err(WireError::Shape(_))), "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_give_an_answer(bytes in any::<Vec<u8>>()) {
        let _ = decode(&bytes);
        let _ = sender(&bytes);
    }

    #[test]
    fn one_wrong_byte_gives_an_answer(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let args = vec![Data::Array(vec![Data::Null; 20]), Data::from("text")];
        let mut bytes = encode(&publication(&["a"], args), "podpodpo", Some(1));
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = decode(&bytes);
    }
}
