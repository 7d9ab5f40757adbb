mod compressed;

use super::*;
use proptest::prelude::*;

type Messages = Vec<(Opcode, Vec<u8>)>;

/// Reads a client's messages from reads of `cut` bytes, until the first frame that is an error.
fn read(bytes: &[u8], cut: usize, max: usize) -> (Messages, Option<FrameError>) {
    read_with(ClientMessages::new(max), bytes, cut)
}

fn read_with(
    mut reader: ClientMessages,
    bytes: &[u8],
    cut: usize,
) -> (Messages, Option<FrameError>) {
    let (mut messages, mut unread) = (Vec::new(), Vec::new());
    for part in bytes.chunks(cut.max(1)) {
        unread.extend_from_slice(part);
        let mut rest = &mut unread[..];
        loop {
            match reader.next(&mut rest) {
                Ok(Some(message)) => messages.push((message.opcode, message.payload.into_owned())),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
        unread = rest.to_vec();
    }
    (messages, None)
}

/// The messages of a client, which may be compressed.
fn deflating(max: usize) -> ClientMessages {
    let mut messages = ClientMessages::new(max);
    messages.set_deflate(true);
    messages
}

/// A client's frame, masked with this key.
fn masked(first: u8, key: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    put_head(&mut frame, Opcode::Text, payload.len(), true);
    frame[0] = first;
    frame.extend(key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

fn opcode() -> impl Strategy<Value = Opcode> {
    prop_oneof![Just(Opcode::Text), Just(Opcode::Binary)]
}

proptest! {
    #[test]
    fn frames_are_complete_however_writes_divide_them(
        frames in prop::collection::vec((opcode(), prop::collection::vec(any::<u8>(), 0..70_000)), 1..5),
        cuts in prop::collection::vec(1usize..5_000, 1..60),
    ) {
        let mut bytes = Vec::new();
        for (opcode, payload) in &frames {
            put_frame(&mut bytes, *opcode, payload);
        }
        let mut reader = FrameReader::default();
        let mut got = Vec::new();
        let mut rest = &bytes[..];
        let mut cuts = cuts.iter().cycle();
        while !rest.is_empty() {
            let n = (*cuts.next().unwrap()).min(rest.len());
            reader.push(&rest[..n], |frame| got.push((frame.opcode, frame.payload.to_vec()))).unwrap();
            rest = &rest[n..];
        }
        prop_assert_eq!(got, frames);
        prop_assert!(reader.partial.is_empty());
    }

    #[test]
    fn a_client_frame_that_is_written_reads_back_the_same(payload in prop::collection::vec(any::<u8>(), 0..70_000), cut in any::<prop::sample::Index>()) {
        let mut bytes = Vec::new();
        put_client_frame(&mut bytes, Opcode::Text, &payload);
        let part = &bytes[..cut.index(bytes.len())];
        prop_assert_eq!(read(part, part.len(), 1 << 20), (vec![], None));
        prop_assert_eq!(read(&bytes, bytes.len(), 1 << 20), (vec![(Opcode::Text, payload)], None));
    }

    #[test]
    fn messages_are_complete_however_frames_and_reads_divide_them(
        messages in prop::collection::vec((opcode(), prop::collection::vec(any::<u8>(), 0..100)), 0..6),
        fragment in 1usize..120,
        key: [u8; 4],
        cut in 1usize..400,
    ) {
        let mut bytes = Vec::new();
        for (opcode, payload) in &messages {
            let mut parts: Vec<&[u8]> = payload.chunks(fragment).collect();
            if parts.is_empty() {
                parts.push(&[]);
            }
            for (i, part) in parts.iter().enumerate() {
                let opcode = if i == 0 { *opcode } else { Opcode::Continuation };
                let fin = if i + 1 == parts.len() { 0x80 } else { 0 };
                bytes.extend(masked(fin | opcode.bits(), key, part));
            }
        }
        prop_assert_eq!(read(&bytes, cut, 100), (messages.clone(), None));
        let longest = messages.iter().map(|(_, payload)| payload.len()).max().unwrap_or(0);
        if longest > 0 {
            prop_assert_eq!(read(&bytes, cut, longest - 1).1, Some(FrameError::TooLong));
        }
    }

    #[test]
    fn no_bytes_make_a_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = read(&bytes, 3, 100);
        let _ = read_with(deflating(100), &bytes, 3);
        let _ = FrameReader::default().push(&bytes, |_| ());
    }
}

#[test]
fn the_limit_applies_to_all_frames_of_a_message_together() {
    let (part, end) = ([0x01, 0x82, 0, 0, 0, 0, 7, 7], [0x80, 0x82, 0, 0, 0, 0, 7, 7]);
    let bytes = [&part[..], &end, &part, &end].concat();
    let message = (Opcode::Text, vec![7; 4]);
    assert_eq!(read(&bytes, 5, 4), (vec![message.clone(), message], None));
    assert_eq!(read(&bytes, 5, 3), (vec![], Some(FrameError::TooLong)));
    assert_eq!(read(&bytes[..14], 5, 3).1, Some(FrameError::TooLong), "at the head already");
}

#[test]
fn control_frames_come_between_the_frames_of_a_message() {
    let bytes =
        [masked(0x01, [1; 4], b"a"), masked(0x89, [2; 4], b"p"), masked(0x80, [3; 4], b"b")];
    let messages = vec![(Opcode::Ping, b"p".to_vec()), (Opcode::Text, b"ab".to_vec())];
    assert_eq!(read(&bytes.concat(), 1, 9), (messages, None));
}

#[test]
fn frames_that_a_client_may_not_send_are_errors() {
    let begun = masked(0x01, [0; 4], b"a");
    for (bytes, error) in [
        (b"\x81\x01x".to_vec(), FrameError::Masking),
        (masked(0x80, [0; 4], b"a"), FrameError::Fragments),
        ([begun.clone(), masked(0x81, [0; 4], b"b")].concat(), FrameError::Fragments),
        ([begun, masked(0x02, [0; 4], b"b")].concat(), FrameError::Fragments),
        (masked(0xC1, [0; 4], b"a"), FrameError::Reserved),
        (masked(0x09, [0; 4], b"a"), FrameError::Control),
    ] {
        assert_eq!(read(&bytes, 1, 9), (vec![], Some(error)));
    }
}

#[test]
fn a_masked_payload_is_unmasked() {
    // The example of RFC 6455, section 5.7: a masked "Hello".
    let bytes = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(read(&bytes, 11, 125), (vec![(Opcode::Text, b"Hello".to_vec())], None));
}
