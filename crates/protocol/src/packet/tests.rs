use proptest::prelude::*;

use super::*;

fn object(entries: &[(&str, Data)]) -> Data {
    Data::Object(entries.iter().map(|(k, v)| ((*k).into(), v.clone())).collect())
}

fn binary(bytes: &'static [u8]) -> Data {
    Data::Binary(Bytes::from_static(bytes))
}

#[test]
fn packets_are_written_as_the_protocol_specifies() {
    let one = [Data::from("a\"\\\n\u{1}б")];
    assert_eq!(encode_event("/", None, "hi", &one).0, "2[\"hi\",\"a\\\"\\\\\\n\\u0001б\"]");
    assert_eq!(encode_event("/admin", Some(12), "hi", &[]).0, "2/admin,12[\"hi\"]");
    assert_eq!(encode_ack("/", 7, &[]).0, "37[]");
    assert_eq!(encode_connect("/", None), "0");
    assert_eq!(
        encode_connect("/a", Some(&object(&[("token", "t".into())]))),
        r#"0/a,{"token":"t"}"#
    );
    assert_eq!(encode_disconnect("/a"), "1/a,");
    assert_eq!(
        encode_connect_error("/", &object(&[("message", "no".into())])),
        r#"4{"message":"no"}"#
    );
}

#[test]
fn binary_values_become_placeholders_in_order() {
    let args = [object(&[("z", binary(b"1")), ("a", Data::Array(vec![binary(b"2")]))])];
    let (text, attachments) = encode_event("/n", Some(3), "e", &args);
    assert_eq!(
        text,
        r#"52-/n,3["e",{"z":{"_placeholder":true,"num":0},"a":[{"_placeholder":true,"num":1}]}]"#
    );
    assert_eq!(attachments, [Bytes::from_static(b"1"), Bytes::from_static(b"2")]);
    assert_eq!(announced_attachments(&text), Ok(2));
    let packet = decode(&text, &attachments).unwrap();
    assert_eq!(packet.body, Body::Event { event: "e".into(), args: args.to_vec() });
    assert_eq!((packet.namespace.as_str(), packet.id), ("/n", Some(3)));
}

#[test]
fn placeholders_must_refer_to_an_attachment() {
    let one = [Bytes::from_static(b"x")];
    for num in ["1", "-1", "0.5", "\"0\"", "null"] {
        let text = format!(r#"51-["e",{{"_placeholder":true,"num":{num}}}]"#);
        assert_eq!(decode(&text, &one), Err(PacketError::Placeholder), "{num}");
    }
    assert_eq!(decode(r#"51-["e",{"_placeholder":true}]"#, &one), Err(PacketError::Placeholder));
}

#[test]
fn placeholders_have_no_meaning_in_a_plain_event() {
    let packet = decode(r#"2["e",{"_placeholder":true,"num":0}]"#, &[]).unwrap();
    let Body::Event { args, .. } = packet.body else { panic!("an event") };
    assert!(matches!(args.as_slice(), [Data::Object(_)]));
}

#[test]
fn the_namespace_of_a_socket_io_2_client_keeps_its_query() {
    assert_eq!(decode("0/admin?token=x", &[]).unwrap().namespace, "/admin?token=x");
    assert_eq!(decode("0/admin?token=x,", &[]).unwrap().namespace, "/admin?token=x");
}

#[test]
fn objects_keep_the_order_and_duplicates_of_their_keys() {
    let Body::Ack(args) = decode(r#"31[{"b":1,"a":2,"b":3}]"#, &[]).unwrap().body else {
        panic!("an answer")
    };
    let Data::Object(entries) = &args[0] else { panic!("an object") };
    assert_eq!(entries.iter().map(|(k, _)| k.as_str()).collect::<Vec<_>>(), ["b", "a", "b"]);
}

#[test]
fn an_id_that_does_not_fit_into_64_bits_is_taken_for_none() {
    let id = |text| PacketHead::parse(text).unwrap().id;
    assert_eq!(id(r#"218446744073709551615["e"]"#), Some(u64::MAX));
    assert_eq!(id(r#"218446744073709551616["e"]"#), None);
    let packet = decode(r#"299999999999999999999["e",1]"#, &[]).unwrap();
    let body = Body::Event { event: "e".into(), args: vec![Data::Number(1.into())] };
    assert_eq!((packet.id, packet.body), (None, body));
}

#[test]
fn malformed_packets_are_refused() {
    let payload = |text: &str| decode(text, &[]).unwrap_err().label();
    assert_eq!(payload(""), "unknown_type");
    assert_eq!(payload("7"), "unknown_type");
    assert_eq!(payload("я"), "unknown_type");
    assert_eq!(payload("5[\"e\"]"), "header");
    assert_eq!(payload("5-[\"e\"]"), "header");
    assert_eq!(payload("511-[\"e\"]"), "attachments");
    assert_eq!(payload("51-[\"e\"]"), "attachments");
    assert_eq!(payload("2"), "payload");
    assert_eq!(payload("2{}"), "payload");
    assert_eq!(payload("2[]"), "payload");
    assert_eq!(payload("2[null]"), "payload");
    assert_eq!(payload("2[\"e\""), "json");
    assert_eq!(payload("2[\"e\"]x"), "json");
    assert_eq!(payload("2[\"connect\"]"), "reserved");
    assert_eq!(payload("1{}"), "payload");
    assert_eq!(payload("0[]"), "payload");
    assert_eq!(payload("4"), "payload");
    assert_eq!(payload(&format!("2[\"e\",{}", "[".repeat(100_000))), "json");
    assert_eq!(decode("2[5]", &[]).unwrap().body, Body::Event { event: "5".into(), args: vec![] });
}

fn data() -> impl Strategy<Value = Data> {
    let leaf = prop_oneof![
        Just(Data::Null),
        any::<bool>().prop_map(Data::Bool),
        any::<u64>().prop_map(|n| Data::Number(n.into())),
        any::<i64>().prop_map(|n| Data::Number(n.into())),
        any::<f64>().prop_filter_map("finite", serde_json::Number::from_f64).prop_map(Data::Number),
        any::<String>().prop_map(Data::from),
        any::<Vec<u8>>().prop_map(|bytes| Data::Binary(bytes.into())),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Data::Array),
            prop::collection::vec((any::<String>().prop_map_into(), inner), 0..4)
                .prop_map(Data::Object),
        ]
    })
}

fn binaries(data: &Data) -> usize {
    match data {
        Data::Binary(_) => 1,
        Data::Array(items) => items.iter().map(binaries).sum(),
        Data::Object(entries) => entries.iter().map(|(_, v)| binaries(v)).sum(),
        _ => 0,
    }
}

fn floats(data: &Data) -> usize {
    match data {
        Data::Number(number) => usize::from(number.is_f64()),
        Data::Array(items) => items.iter().map(floats).sum(),
        Data::Object(entries) => entries.iter().map(|(_, v)| floats(v)).sum(),
        _ => 0,
    }
}

proptest! {
    #[test]
    fn encoded_events_and_acks_decode_to_the_same(
        namespace in "/([a-z/]{0,8})",
        id in any::<Option<u64>>(),
        event in any::<String>(),
        args in prop::collection::vec(data(), 0..4),
    ) {
        prop_assume!(args.iter().map(binaries).sum::<usize>() <= MAX_ATTACHMENTS);
        prop_assume!(!RESERVED_EVENTS.contains(&event.as_str()));
        let (text, attachments) = encode_event(&namespace, id, &event, &args);
        prop_assert_eq!(announced_attachments(&text), Ok(attachments.len()));
        let packet = Packet {
            namespace: namespace.clone(),
            id,
            body: Body::Event { event, args: args.clone() },
        };
        prop_assert_eq!(decode(&text, &attachments), Ok(packet));

        let (text, attachments) = encode_ack(&namespace, 5, &args);
        let packet = Packet { namespace, id: Some(5), body: Body::Ack(args) };
        prop_assert_eq!(decode(&text, &attachments), Ok(packet));
    }

    #[test]
    fn an_encoded_packet_fills_its_allocation(
        namespace in "/([a-z/]{0,8})",
        id in any::<Option<u64>>(),
        event in any::<Option<String>>(),
        args in prop::collection::vec(data(), 0..4),
    ) {
        prop_assume!(args.iter().map(binaries).sum::<usize>() <= MAX_ATTACHMENTS);
        let message = Message { namespace: &namespace, id, event: event.as_deref() };
        let (text, _) = message.encode(b"prefix", args.iter().map(Into::into));
        let floats: usize = args.iter().map(floats).sum();
        prop_assert!((0..=24 * floats).contains(&(text.capacity() - text.len())));
    }

    #[test]
    fn strings_are_read_alike_by_other_json_parsers(text in any::<String>()) {
        let (packet, _) = encode_event("/", None, &text, &[]);
        let parsed: Vec<String> = serde_json::from_str(&packet[1..]).unwrap();
        prop_assert_eq!(parsed, vec![text]);
    }

    #[test]
    fn no_text_makes_the_decoder_panic(
        text in "[0-9]{0,2}(-|/|,|\\[|\\{|\"|[0-9]|e|:|_placeholder|true|\\PC){0,24}",
        attachments in prop::collection::vec(any::<Vec<u8>>(), 0..3),
    ) {
        let attachments: Vec<Bytes> = attachments.into_iter().map(Bytes::from).collect();
        let _ = decode(&text, &attachments);
    }
}

#[test]
fn an_unpaired_surrogate_is_replaced() {
    let read = |json: &str| decode_event(json, None).map(|(_, args)| args);
    let text = |text: &str| Ok(vec![Data::from(text)]);
    assert_eq!(read(r#"["e","cut \ud83d"]"#), text("cut \u{fffd}"));
    assert_eq!(read(r#"["e","\ude00 \uD83D\uDE00 \\ud83d"]"#), text("\u{fffd} 😀 \\ud83d"));
    assert_eq!(read(r#"["e","\ud83d\ud83d\ude00\n"]"#), text("\u{fffd}😀\n"));
    assert!(read(r#"["e","\ud83d"#).is_err() && read(r#"["e","\ud8"]"#).is_err());
}

proptest! {
    #[test]
    fn no_escapes_make_the_decoder_panic(text in "[\\\\uUdD8cCeE0fF\"a€]{0,40}") {
        let _ = decode_event(&format!("[\"e\",\"{text}\"]"), None);
    }
}

#[test]
fn a_head_is_split_from_its_payload() {
    let head = PacketHead::parse(r#"52-/chat,17["e",{}]"#).unwrap();
    let expected = PacketHead {
        kind: PacketType::BinaryEvent,
        attachments: 2,
        namespace: "/chat",
        id: Some(17),
        payload: r#"["e",{}]"#,
    };
    assert_eq!(head, expected);
    let head = PacketHead::parse("0/admin").unwrap();
    assert_eq!((head.kind, head.namespace, head.payload), (PacketType::Connect, "/admin", ""));
    let head = PacketHead::parse(r#"4{"message":"no, 5"}"#).unwrap();
    assert_eq!((head.namespace, head.id, head.payload), ("/", None, r#"{"message":"no, 5"}"#));
}

proptest! {
    #[test]
    fn the_head_agrees_with_the_whole_packet(
        text in "[0-7]{0,2}(-|/[a-z]{0,3},?|[0-9]|\\[\"e\"\\]|\\[\\]|\\{\\}|\\PC){0,8}",
    ) {
        let head = PacketHead::parse(&text);
        let attachments = head.as_ref().map_or(0, |head| head.attachments);
        let packet = decode(&text, &vec![Bytes::new(); attachments]);
        match (head, packet) {
            (Err(error), packet) => prop_assert_eq!(packet, Err(error)),
            (Ok(head), Ok(packet)) => {
                prop_assert_eq!(head.namespace, &packet.namespace);
                prop_assert_eq!(head.id, packet.id);
                let kinds: &[PacketType] = match packet.body {
                    Body::Connect(_) => &[PacketType::Connect],
                    Body::Disconnect => &[PacketType::Disconnect],
                    Body::Event { .. } => &[PacketType::Event, PacketType::BinaryEvent],
                    Body::Ack(_) => &[PacketType::Ack, PacketType::BinaryAck],
                    Body::ConnectError(_) => &[PacketType::ConnectError],
                };
                prop_assert!(kinds.contains(&head.kind));
            }
            (Ok(head), Err(_)) => prop_assert!(text.ends_with(head.payload)),
        }
    }

    #[test]
    fn no_text_makes_the_head_parser_panic(text in any::<String>()) {
        let _ = PacketHead::parse(&text);
    }
}
