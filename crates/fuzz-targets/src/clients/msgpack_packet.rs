//! Packets of clients in MessagePack, which are handled as the text that they stand for.

use rookery_protocol::packet::{self, PacketHead, msgpack};

use crate::repeat::repeated;
use crate::target::{Shape, Target};

/// The most bytes of a packet: the default of `socketio.maxPayload`.
const MAX: usize = 1 << 20;

/// An event up to its data.
const EVENT: &[u8] = b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data";

/// The target.
pub const TARGET: Target = Target {
    name: "msgpack_packet",
    run,
    shapes: &[
        Shape { name: "arguments", input: |n| list(b"\x01", n), max: 1 << 16 },
        Shape { name: "empty lists", input: |n| list(b"\x90", n), max: 1 << 16 },
        Shape { name: "control characters", input: text, max: MAX },
        Shape { name: "nesting", input: |n| repeated(EVENT, b"\x91", b"\xc0", n), max: MAX },
        Shape { name: "binary values", input: |n| list(b"\xc4\x00", n), max: 1 << 16 },
        Shape { name: "a namespace", input: namespace, max: MAX },
        Shape { name: "entries", input: entries, max: 1 << 16 },
    ],
};

/// Reads a packet, and writes it again.
pub fn run(input: &[u8]) {
    let Ok((text, attachments)) = msgpack::to_text(input) else { return };
    let head = PacketHead::parse(&text).expect("it is written as a packet");
    assert_eq!(head.attachments, attachments.len());
    assert!(head.namespace.starts_with('/'));
    assert!(PacketHead::parse(&msgpack::without_payload(&text)).is_ok());
    // An object that looks like a placeholder is one in text.
    if input.windows(12).any(|bytes| bytes == b"_placeholder") {
        return;
    }
    if let Ok(decoded) = packet::decode(&text, &attachments) {
        let written = msgpack::from_text(&text, &attachments).expect("it is a packet");
        let (text, attachments) = msgpack::to_text(&written).expect("it was written here");
        assert_eq!(packet::decode(&text, &attachments).as_ref(), Ok(&decoded));
    }
}

/// An event of about `size / unit` values.
fn list(unit: &[u8], size: usize) -> Vec<u8> {
    let count = (size / unit.len()).clamp(1, usize::from(u16::MAX) - 1);
    let length = (count as u16 + 1).to_be_bytes();
    [EVENT, b"\xdc", &length, b"\xa1e", &unit.repeat(count)].concat()
}

fn text(size: usize) -> Vec<u8> {
    let length = (size as u32).to_be_bytes();
    [EVENT, b"\x92\xa1e\xdb", &length, &b"\x01".repeat(size)].concat()
}

fn namespace(size: usize) -> Vec<u8> {
    let name = [b"/", &b"a"[..]].concat().repeat(size / 2 + 1);
    let length = (name.len() as u32).to_be_bytes();
    [b"\x82\xa4type\x01\xa3nsp\xdb", &length[..], &name].concat()
}

fn entries(size: usize) -> Vec<u8> {
    let count = (size / 3).clamp(1, usize::from(u16::MAX));
    let length = (count as u16).to_be_bytes();
    [EVENT, b"\x92\xa1e\xde", &length, &b"\xa1k\x01".repeat(count)].concat()
}
