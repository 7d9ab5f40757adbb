//! Compressed messages. What compresses and inflates beside ours is `miniz_oxide`'s own API for whole
//! streams, and Node's `zlib` in the tests with stock clients.

use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec;

use super::*;

/// The end of a compressed message, which is not sent.
const TAIL: &[u8] = b"\0\0\xff\xff";

/// Text or binary, compressed or not by a client that splits it into fragments.
#[derive(Clone, Debug)]
struct Sent {
    opcode: Opcode,
    payload: Vec<u8>,
    form: SentForm,
    fragment: usize,
}

#[derive(Clone, Copy, Debug)]
enum SentForm {
    Plain,
    /// As a sync flush leaves it.
    Flushed,
    /// As one stream with its last block marked, and the zeros that RFC 7692, section 7.2.3.4 has
    /// behind that, or not.
    Finished {
        padded: bool,
    },
    /// Stored blocks of at most so many bytes.
    Stored(usize),
}

impl SentForm {
    fn of(self, payload: &[u8]) -> Vec<u8> {
        match self {
            SentForm::Plain => payload.to_vec(),
            SentForm::Flushed => flushed(payload),
            SentForm::Finished { padded } => {
                let mut stream = compress_to_vec(payload, 9);
                stream.extend(padded.then_some(0));
                stream
            }
            SentForm::Stored(block) => {
                let mut stream: Vec<u8> = payload.chunks(block).flat_map(stored).collect();
                stream.push(0);
                stream
            }
        }
    }
}

/// A stored block that is not the last one (RFC 1951, section 3.2.4).
fn stored(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap();
    [&[0][..], &length.to_le_bytes(), &(!length).to_le_bytes(), bytes].concat()
}

/// The message compressed, also where that does not make it smaller.
fn flushed(payload: &[u8]) -> Vec<u8> {
    compress(payload).unwrap_or_else(|| {
        let mut blocks: Vec<u8> = payload.chunks(0xffff).flat_map(stored).collect();
        blocks.push(0);
        blocks
    })
}

fn payload(longest: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..longest),
        prop::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), Just(b'"')], 0..longest),
        (prop::collection::vec(any::<u8>(), 1..40), 0..longest).prop_map(|(part, length)| part
            .into_iter()
            .cycle()
            .take(length)
            .collect()),
    ]
}

fn sent() -> impl Strategy<Value = Sent> {
    let form = prop_oneof![
        Just(SentForm::Plain),
        Just(SentForm::Flushed),
        any::<bool>().prop_map(|padded| SentForm::Finished { padded }),
        (64usize..5_000).prop_map(SentForm::Stored),
    ];
    (opcode(), payload(8_000), form, 1usize..3_000)
        .prop_map(|(opcode, payload, form, fragment)| Sent { opcode, payload, form, fragment })
}

/// The frames of a message.
fn frames(sent: &Sent, key: [u8; 4]) -> Vec<u8> {
    let rsv1 = if matches!(sent.form, SentForm::Plain) { 0 } else { COMPRESSED };
    let payload = sent.form.of(&sent.payload);
    let mut parts: Vec<&[u8]> = payload.chunks(sent.fragment).collect();
    if parts.is_empty() {
        parts.push(&[]);
    }
    let last = parts.len() - 1;
    let frames = parts.into_iter().enumerate().flat_map(|(i, part)| {
        let first = if i == 0 { rsv1 | sent.opcode.bits() } else { 0 };
        masked(if i == last { first | 0x80 } else { first }, key, part)
    });
    frames.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_message_is_what_was_compressed_however_frames_and_reads_divide_it(
        all in prop::collection::vec(sent(), 1..5),
        key: [u8; 4],
        cut in 1usize..5_000,
    ) {
        let bytes: Vec<u8> = all.iter().flat_map(|sent| frames(sent, key)).collect();
        let messages: Messages = all.iter().map(|s| (s.opcode, s.payload.clone())).collect();
        prop_assert_eq!(read_with(deflating(40_000), &bytes, cut), (messages, None));
    }

    #[test]
    fn what_is_compressed_is_smaller_and_any_inflater_reads_it(payload in payload(30_000)) {
        if let Some(compressed) = compress(&payload) {
            prop_assert!(compressed.len() < payload.len());
            // The end that is not sent, and an empty last block.
            let whole = [&compressed[..], b"\0\0\xff\xff\x03\0"].concat();
            prop_assert_eq!(decompress_to_vec(&whole).unwrap(), &payload[..]);
            prop_assert_eq!(inflate(&compressed, payload.len()), Ok(payload.clone()));
            // It depends on nothing that was compressed before.
            prop_assert_eq!(compress(&payload), Some(compressed));
        }
    }

    #[test]
    fn the_limit_is_exact_for_every_length(payload in payload(3_000)) {
        let compressed = flushed(&payload);
        prop_assert_eq!(inflate(&compressed, payload.len()), Ok(payload.clone()));
        if !payload.is_empty() {
            prop_assert_eq!(inflate(&compressed, payload.len() - 1), Err(FrameError::TooLong));
        }
    }

    #[test]
    fn garbage_is_refused_or_inflated_within_the_limit(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        payload in payload(2_000),
        at: prop::sample::Index,
        max in 0usize..5_000,
    ) {
        let mut damaged = flushed(&payload);
        let at = at.index(damaged.len());
        damaged.splice(at.., bytes.iter().copied());
        for input in [bytes, damaged] {
            if let Ok(inflated) = inflate(&input, max) {
                prop_assert!(inflated.len() <= max);
            }
        }
    }

    #[test]
    fn frames_for_clients_are_whole_messages_and_hold_what_they_held(
        all in prop::collection::vec((opcode(), payload(4_000)), 1..5),
        threshold in 64usize..3_000,
    ) {
        let mut plain = Vec::new();
        for (opcode, payload) in &all {
            put_frame(&mut plain, *opcode, payload);
        }
        let compressed = compress_frames(&plain.clone().into(), Deflate { threshold });
        prop_assert!(compressed.len() <= plain.len());
        let mut rest = &compressed[..];
        for (opcode, payload) in &all {
            let head = parse_head(rest, Sender::Server, true, 1 << 20).unwrap().unwrap();
            let (frame, behind) = rest.split_at(head.bytes + head.payload);
            let got = match head.compressed {
                true => inflate(&frame[head.bytes..], 1 << 20).unwrap(),
                false => frame[head.bytes..].to_vec(),
            };
            prop_assert!(head.fin && (!head.compressed || payload.len() >= threshold));
            prop_assert_eq!((head.opcode, &got), (*opcode, payload));
            rest = behind;
        }
        prop_assert!(rest.is_empty());
    }
}

/// RFC 7692, section 7.2.3: its examples of "Hello".
#[test]
fn the_examples_of_the_rfc_are_read() {
    let hello = |payload: &[u8]| inflate(payload, 100).unwrap();
    assert_eq!(hello(b"\xf2\x48\xcd\xc9\xc9\x07\x00"), b"Hello");
    assert_eq!(hello(b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"), b"Hello", "stored");
    assert_eq!(hello(b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), b"Hello", "with a last block");
    let two_blocks = b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00";
    assert_eq!(hello(two_blocks), b"Hello");
    assert_eq!(hello(b"\x00"), b"", "an empty message");
    let frames = b"\x41\x83\0\0\0\0\xf2\x48\xcd\x80\x84\0\0\0\0\xc9\xc9\x07\x00";
    let message = (Opcode::Text, b"Hello".to_vec());
    assert_eq!(read_with(deflating(100), frames, 1), (vec![message], None));
}

#[test]
fn compressed_messages_are_permitted_only_where_they_are_agreed_on_and_only_at_their_start() {
    let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
    let whole = masked(0xC1, [1; 4], hello);
    assert_eq!(read(&whole, 1, 100), (vec![], Some(FrameError::Reserved)), "not agreed on");
    let reserved = |bytes: &[u8]| {
        let (messages, error) = read_with(deflating(100), bytes, 1);
        assert_eq!((messages, error), (vec![], Some(FrameError::Reserved)), "{bytes:x?}");
    };
    for first in [0xC8, 0xC9, 0xCA, 0xC0, 0x40, 0xA1, 0x91, 0xE1, 0xF2] {
        reserved(&masked(first, [1; 4], b"x"));
    }
    let begun = masked(0x41, [1; 4], &hello[..3]);
    reserved(&[begun.clone(), masked(0xC0, [1; 4], &hello[3..])].concat());
    // A message in between is as wrong as without compression.
    let within = [begun, masked(0xC1, [1; 4], hello)].concat();
    assert_eq!(read_with(deflating(100), &within, 1), (vec![], Some(FrameError::Fragments)));
}

#[test]
fn a_message_that_is_not_valid_or_not_whole_is_refused() {
    let compressed = compress(&[b'x'; 1_000]).unwrap();
    for (what, bytes) in [
        ("nothing", &b""[..]),
        ("a reserved type of block", b"\x07"),
        ("a stored block whose lengths differ", b"\x00\x05\x00\xfa\xfe"),
        ("half a stored block", b"\x00\x05\x00\xfa\xffHel"),
        ("a distance before the start", b"\x02\x02\x00\x00"),
        ("the first half", &compressed[..compressed.len() / 2]),
        ("a last block, and half of another", b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff\xca"),
    ] {
        assert_eq!(inflate(bytes, 10_000), Err(FrameError::Deflate), "{what}");
    }
}

/// A megabyte that stands for a gigabyte.
#[test]
fn a_bomb_is_inflated_up_to_the_limit_only() {
    let bomb = compress_to_vec(&vec![0; 1 << 20], 9).repeat(1_024);
    assert!(bomb.len() < 2 << 20, "{}", bomb.len());
    let allocated = allocation_counter::measure(|| {
        assert_eq!(inflate(&bomb, 64 << 10), Err(FrameError::TooLong));
    });
    assert!(allocated.bytes_max < 128 << 10, "{allocated:?}");
}

/// Each block has a table to be built, and stands for nothing.
#[test]
fn a_message_of_empty_blocks_is_refused_before_it_costs_much() {
    // Blocks of fixed codes, of ten bits each: 001 is the type, then seven zeros.
    let blocks: Vec<u8> = [0x02, 0x08, 0x20, 0x80, 0x00].repeat(20_000);
    assert_eq!(inflate(&blocks, 1 << 20), Err(FrameError::Blocks));
    let last: Vec<u8> = [0x03, 0x00].repeat(50_000);
    assert_eq!(inflate(&last, 1 << 20), Err(FrameError::Blocks));
    // A client may flush after every word of a short message.
    let flushes = b"\xf2\x48\xcd\xc9\xc9\x07\0\0\0\xff\xff".repeat(100);
    let (message, _) = flushes.split_at(flushes.len() - TAIL.len());
    assert_eq!(inflate(message, 1 << 20).map(|message| message.len()), Ok(500));
}

#[test]
fn a_message_that_does_not_become_smaller_is_sent_as_it_is() {
    let mut seed = 1u32;
    let noise: Vec<u8> = (0..100_000)
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        })
        .collect();
    for length in [0, 1, 64, 1_000, 70_000] {
        assert_eq!(compress(&noise[..length]), None, "{length}");
        let mut plain = Vec::new();
        put_frame(&mut plain, Opcode::Binary, &noise[..length]);
        let plain = Bytes::from(plain);
        let frames = compress_frames(&plain, Deflate { threshold: 64 });
        assert_eq!((frames.as_ptr(), frames.len()), (plain.as_ptr(), plain.len()), "shared");
    }
}
