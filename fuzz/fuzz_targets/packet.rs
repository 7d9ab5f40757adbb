//! What clients send: payloads of polling, and Socket.IO packets.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use rookery_protocol::packet::{self, Body};
use rookery_protocol::Revision;
use rookery_protocol::encoded::Part;
use rookery_protocol::payload::{self, Form, Packet};

fuzz_target!(|input: &[u8]| {
    let Some((&kind, body)) = input.split_first() else { return };
    let (revision, bytes, form) = match kind % 3 {
        0 => (Revision::V4, false, Form::V4),
        1 => (Revision::V3, false, Form::V3Text),
        _ => (Revision::V3, true, Form::V3Binary),
    };
    if let Ok(packets) = payload::decode(body, revision, bytes) {
        written_again(&packets, form, revision, bytes);
        socketio(&packets);
    }
    let text = String::from_utf8_lossy(body);
    let _ = packet::decode_value(&text);
    let _ = packet::decode_event(&text, None);
    let _ = packet::decode_event(&text, Some(&[Bytes::from_static(b"a")]));
    event(&text, &[]);
});

/// Messages that the server encodes decode to the same.
fn written_again(packets: &[Packet], form: Form, revision: Revision, bytes: bool) {
    let mut body = Vec::new();
    let mut messages = Vec::new();
    for packet in packets {
        match packet {
            Packet::Message(text) => form.put(&mut body, Part::Text(format!("4{text}").as_bytes())),
            Packet::Binary(bytes) => form.put(&mut body, Part::Binary(bytes)),
            _ => continue,
        }
        messages.push(packet.clone());
    }
    if !messages.is_empty() {
        assert_eq!(payload::decode(&body, revision, bytes), Ok(messages));
    }
}

/// Decodes each text with the binary messages that follow it, as the engine does.
fn socketio(packets: &[Packet]) {
    let mut text: Option<&str> = None;
    let mut attachments: Vec<Bytes> = Vec::new();
    for packet in packets {
        match packet {
            Packet::Message(next) => {
                if let Some(text) = text.replace(next) {
                    event(text, &attachments);
                }
                attachments.clear();
            }
            Packet::Binary(bytes) => attachments.push(bytes.clone()),
            _ => {}
        }
    }
    if let Some(text) = text {
        event(text, &attachments);
    }
}

/// A packet that decodes has the head that is parsed alone, and decodes to the same once encoded.
fn event(text: &str, attachments: &[Bytes]) {
    let head = packet::PacketHead::parse(text);
    let Ok(decoded) = packet::decode(text, attachments) else { return };
    let head = head.expect("a packet that decodes has a head");
    assert_eq!((head.namespace, head.id), (decoded.namespace.as_str(), decoded.id));
    assert_eq!(head.attachments, attachments.len());
    let (written, attachments) = match &decoded.body {
        Body::Event { event, args } => {
            packet::encode_event(&decoded.namespace, decoded.id, event, args)
        }
        Body::Ack(args) => match decoded.id {
            Some(id) => packet::encode_ack(&decoded.namespace, id, args),
            None => return,
        },
        _ => return,
    };
    assert_eq!(packet::decode(&written, &attachments).as_ref(), Ok(&decoded));
}
