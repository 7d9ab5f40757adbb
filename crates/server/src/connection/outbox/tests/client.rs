//! The client's side of the random tests: parses what arrives and compares it with what was sent.

use std::collections::BTreeMap;

use tokio::net::TcpStream;

use super::*;
use rookery_protocol::Parser;
use rookery_protocol::encoded::FrameForm;
use rookery_protocol::frames::inflate;
use rookery_protocol::payload::{self, Packet};

/// A packet of the test, identified by a number in its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Numbered {
    text: String,
    attachments: Vec<Bytes>,
}

impl Numbered {
    /// The packet with a number: its text, and `binary` attachments, of about `size` bytes.
    pub(super) fn new(number: u64, size: usize, binary: usize) -> Self {
        let pad = match number % 2 {
            0 => "€".repeat(size / 3),
            _ => letters(number, size),
        };
        let text = match binary {
            0 => format!("2[\"n\",{number},\"{pad}\"]"),
            n => format!("5{n}-[\"n\",{number},\"{pad}\"]"),
        };
        let attachment = |i: usize| Bytes::from(vec![number as u8 ^ i as u8; size + i]);
        Numbered { text, attachments: (0..binary).map(attachment).collect() }
    }

    pub(super) fn encoded(&self) -> Encoded {
        Encoded::message(&self.text, self.attachments.clone())
    }

    /// The frames by which the engine writes it.
    pub(super) fn frames(&self, revision: Revision) -> Vec<u8> {
        self.encoded()
            .websocket(FrameForm { revision, base64: false, parser: Parser::Json, deflate: None })
            .to_vec()
    }
}

/// So many letters that hardly become smaller.
fn letters(seed: u64, size: usize) -> String {
    let mut state = seed;
    let letter = |_| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'#' + ((state >> 33) % 57) as u8)
    };
    (0..size).map(letter).collect()
}

/// What a client has received.
pub(super) struct Received {
    revision: Revision,
    /// Bytes of a WebSocket that are not a complete frame yet.
    partial: Vec<u8>,
    /// A text whose attachments are still to come.
    open: Option<Numbered>,
    /// The numbers of the packets, in order of arrival.
    pub(super) numbers: Vec<u64>,
    /// Whether a Close frame or the last poll has arrived.
    pub(super) closed: bool,
}

impl Received {
    pub(super) fn new(revision: Revision) -> Self {
        Received { revision, partial: Vec::new(), open: None, numbers: Vec::new(), closed: false }
    }

    /// Takes the answer to a GET. A poll holds complete Socket.IO packets.
    pub(super) fn polled(&mut self, polled: &Polled, sent: &BTreeMap<u64, Numbered>) {
        self.closed |= polled.last.is_some();
        let octets = polled.form == rookery_protocol::payload::Form::V3Binary;
        let noop = match self.revision {
            Revision::V4 => &b"6"[..],
            Revision::V3 => b"1:6",
        };
        if polled.body == noop {
            return;
        }
        for packet in payload::decode(&polled.body, self.revision, octets).expect("a payload") {
            match packet {
                Packet::Message(text) => self.text(text, sent),
                Packet::Binary(bytes) => self.binary(bytes, sent),
                Packet::Close => assert!(self.closed),
                other => panic!("unexpected {other:?}"),
            }
        }
        assert_eq!(self.open, None, "a poll ends within a packet");
    }

    /// Reads at most `bound` bytes of those that have arrived. Returns false where the connection
    /// has ended.
    pub(super) fn read(
        &mut self,
        socket: &TcpStream,
        bound: usize,
        sent: &BTreeMap<u64, Numbered>,
    ) -> bool {
        let mut chunk = vec![0; bound];
        match socket.try_read(&mut chunk) {
            Ok(0) => return false,
            Ok(n) => self.partial.extend_from_slice(&chunk[..n]),
            Err(e) => return e.kind() == std::io::ErrorKind::WouldBlock,
        }
        while let Some((opcode, payload)) = self.frame() {
            assert!(!self.closed, "something comes after the Close frame");
            match opcode {
                0x1 => {
                    let text = String::from_utf8(payload).expect("UTF-8");
                    self.text(text.strip_prefix('4').expect("a message").to_owned(), sent);
                }
                0x2 => {
                    let typed = usize::from(self.revision == Revision::V3);
                    assert!(payload[..typed].iter().all(|b| *b == 4), "the type of revision 3");
                    self.binary(Bytes::from(payload).slice(typed..), sent);
                }
                0x8 => self.closed = true,
                other => panic!("unexpected opcode {other}"),
            }
        }
        true
    }

    fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let (&[first, second], rest) = self.partial.split_first_chunk::<2>()?;
        assert_eq!(first & 0xb0, 0x80, "torn: no head of a frame");
        let (extra, length) = match second {
            126 => (2, usize::from(u16::from_be_bytes(*rest.first_chunk()?))),
            127 => (8, usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).unwrap()),
            n => (0, usize::from(n)),
        };
        let payload = rest.get(extra..extra + length)?;
        let payload = match first & 0x40 {
            0 => payload.to_vec(),
            _ => inflate(payload, 1 << 20).expect("a compressed message"),
        };
        self.partial.drain(..2 + extra + length);
        Some((first & 0x0f, payload))
    }

    fn text(&mut self, text: String, sent: &BTreeMap<u64, Numbered>) {
        assert_eq!(self.open, None, "a text among another's attachments");
        self.open = Some(Numbered { text, attachments: Vec::new() });
        self.whole(sent);
    }

    fn binary(&mut self, bytes: Bytes, sent: &BTreeMap<u64, Numbered>) {
        let open = self.open.as_mut().expect("an attachment follows its text");
        open.attachments.push(bytes);
        self.whole(sent);
    }

    /// Takes the open packet once it is complete; it must equal the one that was sent.
    fn whole(&mut self, sent: &BTreeMap<u64, Numbered>) {
        let open = self.open.as_ref().expect("just set");
        let announced = match open.text.strip_prefix('5') {
            Some(rest) => rest.split('-').next().unwrap().parse().unwrap(),
            None => 0,
        };
        if open.attachments.len() < announced {
            return;
        }
        let number = open.text.split(',').nth(1).unwrap().parse().unwrap();
        assert_eq!(open, &sent[&number]);
        self.numbers.push(number);
        self.open = None;
    }
}
