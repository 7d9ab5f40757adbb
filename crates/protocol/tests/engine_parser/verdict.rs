//! What a parser makes of the text of a client's packet.

use bytes::Bytes;
use rookery_protocol::RESERVED_EVENTS;
use rookery_protocol::packet::{MAX_ATTACHMENTS, PacketHead, PacketType, decode_ack, decode_event};
use socketioxide_core::packet::PacketData;
use socketioxide_core::parser::{Parse as _, ParseConfig, ParseError, ParserState};
use socketioxide_core::{Str, Value};
use socketioxide_parser_common::CommonParser;

/// What a parser makes of the text of a client's packet, with as many attachments as it announces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is an event or an acknowledgement, with this array.
    Message { event: bool, namespace: String, id: Option<u64>, array: String },
    /// It is another packet, which the engine handles.
    Control,
    /// It ends the session.
    Refused,
}

/// The verdict of the parser that handles a client's events and acknowledgements in place.
pub fn ours(text: &str) -> Verdict {
    let Ok(head) = PacketHead::parse(text) else { return Verdict::Refused };
    let attachments = vec![Bytes::from_static(b"a"); head.attachments];
    let attachments = head.kind.is_binary().then_some(&attachments[..]);
    let (event, decoded) = match head.kind {
        PacketType::Event | PacketType::BinaryEvent => {
            (true, decode_event(head.payload, attachments).is_ok())
        }
        PacketType::Ack | PacketType::BinaryAck => {
            (false, decode_ack(head.payload, attachments).is_ok())
        }
        PacketType::Connect | PacketType::Disconnect => return Verdict::Control,
        PacketType::ConnectError => return Verdict::Refused,
    };
    if !decoded {
        return Verdict::Refused;
    }
    let (namespace, array) = (head.namespace.to_owned(), head.payload.to_owned());
    Verdict::Message { event, namespace, id: head.id, array }
}

/// The verdict of socketioxide's parser.
pub fn engines(text: &str) -> Verdict {
    let max_incoming_binaries = MAX_ATTACHMENTS;
    let config = ParseConfig { max_incoming_binaries, ..ParseConfig::default() };
    let state = ParserState::default();
    let mut parsed = CommonParser.decode_str(&config, &state, Str::from(text.to_owned()));
    while matches!(parsed, Err(ParseError::NeedsMoreBinaryData)) {
        parsed = CommonParser.decode_bin(&config, &state, Bytes::from_static(b"a"));
    }
    let Ok(packet) = parsed else { return Verdict::Refused };
    let namespace = packet.ns.to_string();
    let message = |event: bool, value: &Value, id: Option<i64>| {
        let Value::Str(array, _) = value else { return Verdict::Refused };
        let id = id.and_then(|id| u64::try_from(id).ok());
        Verdict::Message { event, namespace: namespace.clone(), id, array: array.to_string() }
    };
    match &packet.inner {
        PacketData::Event(value, id) | PacketData::BinaryEvent(value, id) => {
            match CommonParser.read_event(value) {
                Ok(_) => message(true, value, *id),
                Err(_) => Verdict::Refused,
            }
        }
        PacketData::EventAck(value, id) | PacketData::BinaryAck(value, id) => {
            message(false, value, Some(*id))
        }
        PacketData::Connect(_) | PacketData::Disconnect => Verdict::Control,
        PacketData::ConnectError(_) => Verdict::Refused,
    }
}

/// Panics where the parsers differ, unless the difference is one of these, in which ours follows
/// `socket.io-parser`:
///
/// - ours parses the whole array: one that is not JSON, has a placeholder without its attachment or
///   a reserved name is refused;
/// - an event's name may be a number, or have escapes;
/// - an acknowledgement without an id is ignored, and one without an array refused;
/// - an id counts whatever follows it, if it fits into 64 bits.
pub fn assert_same(text: &str) {
    let (ours, engines) = (ours(text), engines(text));
    let same = match (&ours, &engines) {
        (
            Verdict::Message { event, namespace, id, array },
            Verdict::Message { event: e, namespace: n, id: i, array: a },
        ) => {
            let same_id = id == i || i.is_none() || id.is_none_or(|id| i64::try_from(id).is_err());
            (event, namespace, array) == (e, n, a) && same_id
        }
        (Verdict::Refused, Verdict::Message { array, .. }) => is_refused_array(array),
        (Verdict::Message { event: true, array, .. }, Verdict::Refused) => {
            array.contains('\\') || starts_with_number(array)
        }
        (Verdict::Message { event: false, .. }, Verdict::Refused) => true,
        (ours, engines) => ours == engines,
    };
    assert!(same, "{text:?}: ours {ours:?}, the engine's {engines:?}");
}

/// Whether there is a reason in the array itself to refuse it.
fn is_refused_array(array: &str) -> bool {
    let Ok(value) = serde_json::from_str::<serde_json::Value>(array) else { return true };
    let Some(items) = value.as_array() else { return true };
    let name = items.first().and_then(serde_json::Value::as_str);
    name.is_some_and(|name| RESERVED_EVENTS.contains(&name)) || array.contains("_placeholder")
}

fn starts_with_number(array: &str) -> bool {
    serde_json::from_str::<Vec<serde_json::Value>>(array)
        .is_ok_and(|items| items.first().is_some_and(serde_json::Value::is_number))
}
