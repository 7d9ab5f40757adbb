//! Packets as `socket.io-msgpack-parser` writes them, to and from their text and attachments.
//!
//! Source: `socket.io-msgpack-parser` 3.0. A packet is one binary message of Engine.IO that holds a
//! map: `type` (0 to 4), `nsp`, `data`, and `id`. Binary values are in `data` itself, so there are no
//! types 5 and 6. `undefined`, which `notepack.io` writes for what a packet lacks, is read as null.

use bytes::Bytes;

use super::error::{MAX_ATTACHMENTS, PacketError};
use super::head::{PacketHead, PacketType};
use super::{json, write};
use crate::data::Data;
use crate::msgpack;

/// The deepest nesting of a packet: what the text of one may have, in a map.
const MAX_DEPTH: usize = 128;

/// A packet's text, without the Engine.IO type, and its attachments.
pub type TextPacket = (String, Vec<Bytes>);

/// Reads a packet, and writes it as text. What the text form cannot hold is refused: a namespace that
/// does not begin with `/` or has a comma, and more than [`MAX_ATTACHMENTS`] binary values. Those in the
/// auth object of a CONNECT are null.
///
/// # Errors
/// Fails where the stock parser does, and as said above.
pub fn to_text(packet: &[u8]) -> Result<TextPacket, PacketError> {
    let packet = msgpack::read_within(packet, MAX_DEPTH).map_err(PacketError::Msgpack)?;
    let Data::Object(_) = packet else {
        return Err(PacketError::Payload("a map"));
    };
    let kind = kind(packet.get("type"))?;
    let namespace = packet.get("nsp").and_then(Data::as_str).unwrap_or_default();
    if !namespace.starts_with('/') || namespace.contains(',') {
        return Err(PacketError::Header("a namespace begins with `/` and has no `,`"));
    }
    let id = id(packet.get("id"))?;
    match (kind, packet.get("data").filter(|data| **data != Data::Null)) {
        (PacketType::Connect, auth @ (None | Some(Data::Object(_)))) => {
            Ok((write::control(b'0', namespace, auth), Vec::new()))
        }
        (PacketType::Connect, _) => Err(PacketError::Payload("an object or nothing")),
        (PacketType::Disconnect, None) => Ok((write::control(b'1', namespace, None), Vec::new())),
        (PacketType::Disconnect, _) => Err(PacketError::Payload("nothing")),
        (PacketType::ConnectError, Some(error @ (Data::Object(_) | Data::String(_)))) => {
            Ok((write::control(b'4', namespace, Some(error)), Vec::new()))
        }
        (PacketType::ConnectError, _) => Err(PacketError::Payload("an object or a text")),
        (_, Some(Data::Array(elements))) => {
            let binaries: usize = elements.iter().map(Data::binaries).sum();
            if binaries > MAX_ATTACHMENTS {
                return Err(PacketError::TooManyAttachments);
            }
            let is_event = kind == PacketType::Event;
            Ok(write::elements(is_event, (namespace, id), elements, binaries))
        }
        (..) => Err(PacketError::Payload("an array")),
    }
}

/// An event in the namespace of a packet of text, without what that holds.
pub fn without_payload(text: &str) -> String {
    let namespace = PacketHead::parse(text).map_or("/", |head| head.namespace);
    write::control(b'2', namespace, Some(&Data::Array(vec!["".into()])))
}

/// The type of a packet. Like the stock parser, it takes a whole number however it is written.
fn kind(value: Option<&Data>) -> Result<PacketType, PacketError> {
    Ok(match value.and_then(whole) {
        Some(0) => PacketType::Connect,
        Some(1) => PacketType::Disconnect,
        Some(2) => PacketType::Event,
        Some(3) => PacketType::Ack,
        Some(4) => PacketType::ConnectError,
        _ => return Err(PacketError::UnknownType),
    })
}

/// The id of an acknowledgement. One that is negative is taken for none, as in text.
fn id(value: Option<&Data>) -> Result<Option<u64>, PacketError> {
    match value.filter(|id| **id != Data::Null) {
        None => Ok(None),
        Some(id) => {
            let id = whole(id).ok_or(PacketError::Header("the id is no whole number"))?;
            Ok(u64::try_from(id).ok())
        }
    }
}

fn whole(value: &Data) -> Option<i128> {
    let Data::Number(n) = value else { return None };
    match (n.as_u64(), n.as_i64(), n.as_f64()) {
        (Some(n), _, _) => Some(n.into()),
        (_, Some(n), _) => Some(n.into()),
        (_, _, Some(n)) if n.fract() == 0.0 => Some(n as i128),
        _ => None,
    }
}

/// Writes a packet that was written as text.
///
/// # Errors
/// When the text is no packet, or its payload is not JSON.
pub fn from_text(text: &str, attachments: &[Bytes]) -> Result<Vec<u8>, PacketError> {
    let head = PacketHead::parse(text)?;
    let data = match head.payload {
        "" => None,
        payload => Some(json::value(payload, head.kind.is_binary().then_some(attachments))?),
    };
    let kind = match head.kind {
        PacketType::Connect => 0,
        PacketType::Disconnect => 1,
        PacketType::Event | PacketType::BinaryEvent => 2,
        PacketType::Ack | PacketType::BinaryAck => 3,
        PacketType::ConnectError => 4,
    };
    let entries = 2 + usize::from(data.is_some()) + usize::from(head.id.is_some());
    let mut out =
        Vec::with_capacity(text.len() + attachments.iter().map(Bytes::len).sum::<usize>());
    msgpack::write_map_len(&mut out, entries);
    msgpack::write_str(&mut out, "type");
    msgpack::write_uint(&mut out, kind);
    msgpack::write_str(&mut out, "nsp");
    msgpack::write_str(&mut out, head.namespace);
    if let Some(data) = data {
        msgpack::write_str(&mut out, "data");
        msgpack::write(&mut out, &data);
    }
    if let Some(id) = head.id {
        msgpack::write_str(&mut out, "id");
        msgpack::write_uint(&mut out, id);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::msgpack::WireError;
    use crate::packet::{Body, Packet, decode, encode_ack, encode_event};

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> =
            text.bytes().map(|b| (b as char).to_digit(16).unwrap() as u8).collect();
        digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    /// A packet with these entries, besides `type` and `nsp`.
    fn packet(kind: u64, namespace: &str, more: Vec<(&str, Data)>) -> Vec<u8> {
        let mut entries =
            vec![("type".into(), Data::Number(kind.into())), ("nsp".into(), namespace.into())];
        entries.extend(more.into_iter().map(|(key, value)| (key.into(), value)));
        let mut out = Vec::new();
        msgpack::write(&mut out, &Data::Object(entries));
        out
    }

    #[test]
    fn what_the_stock_client_writes_is_read() {
        let bytes = |bytes: &'static [u8]| vec![Bytes::from_static(bytes)];
        let cases = [
            ("83a47479706500a36e7370a12fa464617461d40000", "0", vec![]),
            ("83a47479706500a36e7370a12fa46461746181a5746f6b656ea178", r#"0{"token":"x"}"#, vec![]),
            ("82a47479706501a36e7370a22f6e", "1/n,", vec![]),
            ("84a47479706503a2696400a46461746191c3a36e7370a12f", "30[true]", vec![]),
            (
                "85a47479706502a46461746197a165c402010281a161c7010003c0d40000ffcb3ff8000000000000a7\
                 6f7074696f6e7381a8636f6d7072657373c3a2696407a36e7370a22f6e",
                r#"52-/n,7["e",{"_placeholder":true,"num":0},{"a":{"_placeholder":true,"num":1}},null,null,-1,1.5]"#,
                [bytes(&[1, 2]), bytes(&[3])].concat(),
            ),
        ];
        for (message, text, attachments) in cases {
            let message = hex(&message.replace(' ', ""));
            assert_eq!(to_text(&message).unwrap(), (text.to_owned(), attachments), "{text}");
        }
    }

    #[test]
    fn what_the_stock_parser_refuses_is_refused() {
        let text = |text: &str| ("data", Data::from(text));
        let list = || ("data", Data::Array(vec!["e".into()]));
        let object = || ("data", Data::Object(Vec::new()));
        for message in [
            b"".to_vec(),
            vec![0xc1],
            vec![0x90],
            packet(0, "/", vec![list()]),
            packet(0, "/", vec![text("x")]),
            packet(1, "/", vec![object()]),
            packet(2, "/", vec![object()]),
            packet(2, "/", vec![]),
            packet(3, "/", vec![text("x")]),
            packet(4, "/", vec![list()]),
            packet(5, "/", vec![list()]),
            packet(2, "/", vec![list(), ("id", "7".into())]),
            packet(
                2,
                "/",
                vec![list(), ("id", Data::Number(serde_json::Number::from_f64(1.5).unwrap()))],
            ),
            packet(2, "n", vec![list()]),
            packet(2, "", vec![list()]),
            packet(2, "/a,b", vec![list()]),
            [packet(1, "/", vec![]), vec![0]].concat(),
        ] {
            assert!(to_text(&message).is_err(), "{message:x?}");
        }
        let nested = |levels| (0..levels).fold(Data::Null, |inner, _| Data::Array(vec![inner]));
        assert!(to_text(&packet(2, "/", vec![("data", nested(127))])).is_ok());
        assert_eq!(
            to_text(&packet(2, "/", vec![("data", nested(128))])),
            Err(PacketError::Msgpack(WireError::Deep))
        );
    }

    #[test]
    fn a_packet_has_as_many_binary_values_as_its_text_has_attachments() {
        let event = |count| {
            let binary = Data::Binary(Bytes::from_static(b"x"));
            let data = Data::Array(vec!["e".into(), Data::Array(vec![binary; count])]);
            to_text(&packet(2, "/", vec![("data", data)]))
        };
        assert_eq!(event(MAX_ATTACHMENTS).unwrap().1.len(), MAX_ATTACHMENTS);
        assert_eq!(event(MAX_ATTACHMENTS + 1), Err(PacketError::TooManyAttachments));
    }

    #[test]
    fn an_id_that_text_cannot_hold_is_none_and_one_that_is_whole_counts() {
        let event = |id: Data| {
            let list = ("data", Data::Array(vec!["e".into()]));
            to_text(&packet(2, "/", vec![list, ("id", id)])).unwrap().0
        };
        assert_eq!(event(Data::Number(u64::MAX.into())), format!("2{}[\"e\"]", u64::MAX));
        assert_eq!(event(Data::Number((-1).into())), "2[\"e\"]");
        assert_eq!(event(Data::Number(serde_json::Number::from_f64(7.0).unwrap())), "27[\"e\"]");
        assert_eq!(event(Data::Null), "2[\"e\"]");
    }

    #[test]
    fn control_packets_of_the_server_keep_their_payload() {
        for text in [
            "0",
            r#"0/n,{"sid":"x"}"#,
            "1/n,",
            r#"4{"message":"no","data":{"code":"x"}}"#,
            r#"4"no""#,
        ] {
            let message = from_text(text, &[]).unwrap();
            assert_eq!(to_text(&message).unwrap(), (text.to_owned(), vec![]));
        }
        assert!(from_text("", &[]).is_err());
        assert_eq!(
            without_payload("51-/n,[\"e\",{\"_placeholder\":true,\"num\":0}]"),
            "2/n,[\"\"]"
        );
    }

    fn data() -> impl Strategy<Value = Data> {
        let leaf = prop_oneof![
            Just(Data::Null),
            any::<bool>().prop_map(Data::Bool),
            any::<i64>().prop_map(|n| Data::Number(n.into())),
            any::<u64>().prop_map(|n| Data::Number(n.into())),
            "\\PC{0,8}".prop_map(Data::from),
            prop::collection::vec(any::<u8>(), 0..8).prop_map(|bytes| Data::Binary(bytes.into())),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Data::Array),
                prop::collection::btree_map("[a-z]{1,4}", inner, 0..4).prop_map(|entries| {
                    Data::Object(entries.into_iter().map(|(k, v)| (k.into(), v)).collect())
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn both_forms_of_a_packet_hold_the_same(
            args in prop::collection::vec(data(), 0..4),
            id in prop::option::of(any::<u64>()),
            is_event in any::<bool>(),
        ) {
            prop_assume!(args.iter().map(Data::binaries).sum::<usize>() <= MAX_ATTACHMENTS);
            let (text, attachments) = match is_event {
                true => encode_event("/n", id, "event", &args),
                false => encode_ack("/n", id.unwrap_or(7), &args),
            };
            let message = from_text(&text, &attachments).unwrap();
            prop_assert_eq!(to_text(&message).unwrap(), (text.clone(), attachments.clone()));
            let Packet { body, .. } = decode(&text, &attachments).unwrap();
            let (Body::Event { args: decoded, .. } | Body::Ack(decoded)) = body else { panic!() };
            prop_assert_eq!(decoded, args);
        }

        #[test]
        fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok((text, attachments)) = to_text(&bytes) {
                prop_assert!(PacketHead::parse(&text).unwrap().attachments == attachments.len());
            }
        }
    }
}
