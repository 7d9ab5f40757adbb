//! WebSocket frames of clients, and of the engine however its writes divide them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rookery_protocol::frames::{ClientMessages, Frame, FrameReader, Opcode, parse_client_frame};

/// The longest payload, in bytes.
const MAX: usize = 1 << 16;

fuzz_target!(|input: &[u8]| {
    let Some((&cut, bytes)) = input.split_first() else { return };
    let mut rest = bytes;
    while let Ok(Some((frame, used))) = parse_client_frame(rest, MAX) {
        assert!(frame.payload.len() <= MAX && used > frame.payload.len() && used <= rest.len());
        rest = &rest[used..];
    }
    let whole = frames(&[bytes]);
    let pieces: Vec<&[u8]> = bytes.chunks(usize::from(cut).max(1)).collect();
    let split = frames(&pieces);
    match (whole, split) {
        (Some(whole), Some(split)) => assert_eq!(whole, split),
        (None, None) => {}
        (whole, split) => panic!("whole {whole:?}, split {split:?}"),
    }
    assert_eq!(messages(&[bytes]), messages(&pieces));
});

/// A client's messages, and whether all frames were permitted.
fn messages(reads: &[&[u8]]) -> (Vec<(Opcode, Vec<u8>)>, bool) {
    let mut reader = ClientMessages::new(MAX);
    let (mut messages, mut unread) = (Vec::new(), Vec::new());
    for read in reads {
        unread.extend_from_slice(read);
        let mut rest = &mut unread[..];
        loop {
            match reader.next(&mut rest) {
                Ok(Some(message)) => messages.push((message.opcode, message.payload.into_owned())),
                Ok(None) => break,
                Err(_) => return (messages, false),
            }
        }
        unread = rest.to_vec();
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
