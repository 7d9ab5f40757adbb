//! Payloads of polling, and the Socket.IO packets in them.
//!
//! The first byte says in which form the rest is.

use bytes::Bytes;
use rookery_protocol::Revision;
use rookery_protocol::encoded::Part;
use rookery_protocol::packet::{self, Body};
use rookery_protocol::payload::{self, Form, MAX_PACKETS, Packet};

use crate::repeat::repeated;
use crate::target::{Shape, Target};

/// The most bytes of a body: the default of `socketio.maxPayload`.
const MAX: usize = 1 << 20;

/// The target.
pub const TARGET: Target = Target {
    name: "event",
    run,
    shapes: &[
        Shape { name: "empty packets", input: |n| repeated([0, b'4'], b"\x1e4", b"", n), max: MAX },
        Shape { name: "binary", input: |n| repeated("\x004\x1eb", b"AAAA", b"", n), max: MAX },
        Shape {
            name: "empty packets of revision 3",
            input: |n| repeated([1], b"1:4", b"", n),
            max: MAX,
        },
        Shape { name: "digits of revision 3", input: |n| repeated([1], b"1", b":", n), max: MAX },
        Shape { name: "wide characters of revision 3", input: wide, max: MAX },
        Shape {
            name: "bytes of revision 3",
            input: |n| repeated([2], b"\x00\x01\xff4", b"", n),
            max: MAX,
        },
        Shape { name: "an event's keys", input: keys, max: MAX },
        Shape {
            name: "an event's strings",
            input: |n| repeated("\x0042[\"e\"", b",\"\\n\"", b"]", n),
            max: MAX,
        },
    ],
};

/// Decodes a payload and its packets, and encodes them again.
pub fn run(input: &[u8]) {
    let Some((&kind, body)) = input.split_first() else { return };
    let (revision, bytes, form) = match kind % 3 {
        0 => (Revision::V4, false, Form::V4),
        1 => (Revision::V3, false, Form::V3Text),
        _ => (Revision::V3, true, Form::V3Binary),
    };
    if let Ok(packets) = payload::decode(body, revision, bytes) {
        assert!(packets.len() <= MAX_PACKETS);
        written_again(&packets, form, revision, bytes);
        socketio(&packets);
    }
    let text = String::from_utf8_lossy(body);
    let _ = packet::decode_value(&text);
    let _ = packet::decode_event(&text, None);
    let _ = packet::decode_event(&text, Some(&[Bytes::from_static(b"a")]));
    event(&text, &[]);
}

/// Messages that the server encodes decode to the same, and are no longer than announced.
fn written_again(packets: &[Packet], form: Form, revision: Revision, bytes: bool) {
    let (mut body, mut bound) = (Vec::new(), 0);
    let mut put = |part: Part<'_>| {
        bound += form.bound(part);
        form.put(&mut body, part);
    };
    let mut messages = Vec::new();
    for packet in packets {
        match packet {
            Packet::Message(text) => put(Part::Text(format!("4{text}").as_bytes())),
            Packet::Binary(bytes) => put(Part::Binary(bytes)),
            _ => continue,
        }
        messages.push(packet.clone());
    }
    assert!(body.len() <= bound, "{} bytes, announced {bound}", body.len());
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

/// A packet of characters that are two code units in UTF-16.
fn wide(size: usize) -> Vec<u8> {
    let wide = "\u{1f600}";
    let count = (size / wide.len()).max(1);
    repeated(format!("\u{1}{}:4", 1 + 2 * count), wide.as_bytes(), b"", count * wide.len())
}

fn keys(size: usize) -> Vec<u8> {
    crate::repeat::numbered("\x0042[\"e\",{", |n| format!("\"k{n}\":{n}"), ",", "}]", size)
}
