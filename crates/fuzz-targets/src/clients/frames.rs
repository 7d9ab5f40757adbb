//! WebSocket frames of clients, and of the engine however its writes divide them.
//!
//! The first byte is the length of the pieces, the rest the frames.

use rookery_protocol::frames::{ClientMessages, Frame, FrameReader, Opcode};

use crate::repeat::repeated;
use crate::target::{Shape, Target};

/// The longest payload, in bytes.
const MAX: usize = 1 << 16;

/// A compressed message: `Hello`.
const COMPRESSED: &[u8] = b"\xc1\x87\0\0\0\0\xf2\x48\xcd\xc9\xc9\x07\x00";

/// The target.
pub const TARGET: Target = Target {
    name: "frames",
    run,
    shapes: &[
        Shape { name: "empty messages", input: |n| frames_of(b"\x81\x80\0\0\0\0", n), max: MAX },
        Shape { name: "pings", input: |n| frames_of(b"\x89\x81\0\0\0\0p", n), max: MAX },
        Shape { name: "empty fragments", input: fragments, max: MAX },
        Shape { name: "one message", input: message, max: MAX },
        Shape { name: "one compressed message", input: zeros, max: MAX },
        Shape { name: "blocks of a compressed message", input: blocks, max: MAX },
        Shape { name: "compressed messages", input: |n| frames_of(COMPRESSED, n), max: MAX },
        Shape { name: "the engine's frames", input: |n| frames_of(b"\x81\x02ab", n), max: MAX },
    ],
};

/// Reads frames whole and in pieces.
pub fn run(input: &[u8]) {
    let Some((&cut, bytes)) = input.split_first() else { return };
    let pieces: Vec<&[u8]> = bytes.chunks(usize::from(cut).max(1)).collect();
    assert_eq!(frames(&[bytes]), frames(&pieces));
    for deflate in [false, true] {
        let (whole, is_permitted) = messages(&[bytes], deflate);
        assert!(whole.iter().all(|(_, payload)| payload.len() <= MAX));
        assert_eq!((whole, is_permitted), messages(&pieces, deflate));
    }
}

/// A client's messages, and whether all frames were permitted.
fn messages(reads: &[&[u8]], deflate: bool) -> (Vec<(Opcode, Vec<u8>)>, bool) {
    let mut reader = ClientMessages::new(MAX);
    reader.set_deflate(deflate);
    let (mut messages, mut received, mut handled) = (Vec::new(), Vec::new(), 0);
    for read in reads {
        received.extend_from_slice(read);
        let mut rest = &mut received[handled..];
        loop {
            match reader.next(&mut rest) {
                Ok(Some(message)) => messages.push((message.opcode, message.payload.into_owned())),
                Ok(None) => break,
                Err(_) => return (messages, false),
            }
        }
        let unread = rest.len();
        handled = received.len() - unread;
    }
    (messages, true)
}

fn frames(writes: &[&[u8]]) -> Option<Vec<Frame>> {
    let mut reader = FrameReader::default();
    let mut frames = Vec::new();
    for write in writes {
        reader.push(write, |frame| frames.push(frame)).ok()?;
    }
    Some(frames)
}

fn frames_of(frame: &[u8], size: usize) -> Vec<u8> {
    repeated([255], frame, b"", size)
}

fn fragments(size: usize) -> Vec<u8> {
    repeated(*b"\xff\x01\x80\0\0\0\0", b"\x00\x80\0\0\0\0", b"", size)
}

fn message(size: usize) -> Vec<u8> {
    let size = size.clamp(126, MAX - 1) as u16;
    let head = [&[255, 0x82, 0xfe][..], &size.to_be_bytes(), b"mask"].concat();
    repeated(head, b"x", b"", size.into())
}

/// A compressed message of zeros, which stands for a thousand times its bytes.
fn zeros(size: usize) -> Vec<u8> {
    compressed(&rookery_protocol::frames::compress(&vec![0; size]).unwrap_or_default())
}

/// A compressed message of blocks that stand for nothing, each with codes of its own.
fn blocks(size: usize) -> Vec<u8> {
    compressed(&b"\x02\x08\x20\x80\x00".repeat(size / 5))
}

fn compressed(payload: &[u8]) -> Vec<u8> {
    let size = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    [&[255, 0xc2, 0xfe][..], &size.to_be_bytes(), &[0; 4], &payload[..size.into()]].concat()
}
