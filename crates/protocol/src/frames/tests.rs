use super::*;
use proptest::prelude::*;

fn follow(bytes: &[u8], cut: usize, max: usize) -> (Result<(), FrameError>, bool) {
    let mut frames = ClientFrames::new(max);
    let mut result = Ok(());
    for part in bytes.chunks(cut.max(1)) {
        result = result.and(frames.feed(part));
    }
    (result, frames.has_closed())
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
        prop_assert_eq!(parse_client_frame(part, 1 << 20), Ok(None));
        let (frame, used) = parse_client_frame(&bytes, 1 << 20).unwrap().unwrap();
        prop_assert_eq!(frame.payload, payload);
        prop_assert_eq!(used, bytes.len());
    }

    #[test]
    fn a_client_is_followed_however_reads_divide_its_bytes(
        messages in prop::collection::vec((opcode(), prop::collection::vec(any::<u8>(), 0..300)), 0..6),
        close: bool,
        cut in 1usize..400,
    ) {
        let mut bytes = Vec::new();
        for (opcode, payload) in &messages {
            put_client_frame(&mut bytes, *opcode, payload);
        }
        if close {
            put_client_frame(&mut bytes, Opcode::Close, b"");
        }
        let left = messages.iter().any(|(o, p)| *o == Opcode::Text && p == b"1");
        prop_assert_eq!(follow(&bytes, cut, 300), (Ok(()), close || left));
        let longest = messages.iter().map(|(_, p)| p.len()).max().unwrap_or(0);
        if longest > 0 {
            prop_assert_eq!(follow(&bytes, cut, longest - 1).0, Err(FrameError::TooLong));
        }
    }

    #[test]
    fn no_bytes_make_a_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = follow(&bytes, 3, 100);
        let _ = parse_client_frame(&bytes, 1 << 16);
        let _ = FrameReader::default().push(&bytes, |_| ());
    }
}

#[test]
fn the_limit_applies_to_all_frames_of_a_message_together() {
    let (part, end) = ([0x01, 0x82, 0, 0, 0, 0, 7, 7], [0x80, 0x82, 0, 0, 0, 0, 7, 7]);
    let bytes = [&part[..], &end, &part, &end].concat();
    assert_eq!(follow(&bytes, 5, 4), (Ok(()), false));
    assert_eq!(follow(&bytes, 5, 3).0, Err(FrameError::TooLong));
    assert_eq!(follow(b"\x81\x01x", 1, 9).0, Err(FrameError::Masking));
    // The example of RFC 6455, section 5.7, with Engine.IO's `1` for a payload.
    assert!(follow(&[0x81, 0x81, 0x37, 0xfa, 0x21, 0x3d, 0x37 ^ b'1'], 1, 9).1);
}

#[test]
fn a_masked_payload_is_unmasked() {
    // The example of RFC 6455, section 5.7: a masked "Hello".
    let bytes = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    let (frame, used) = parse_client_frame(&bytes, 125).unwrap().unwrap();
    assert_eq!((&frame.payload[..], used), (&b"Hello"[..], bytes.len()));
}
