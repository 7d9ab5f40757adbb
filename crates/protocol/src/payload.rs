//! Payloads of HTTP long-polling, which hold several Engine.IO packets in one body.
//!
//! Source: the Engine.IO protocol documents, revision 4 ("Packet encoding", "Payload encoding")
//! and revision 3 ("Payload").

use base64::Engine as _;
use bytes::Bytes;

use crate::base64_engine::BASE64;
use crate::encoded::{MESSAGE_V3, Part};
use crate::revision::Revision;

/// Separates the packets of a payload in revision 4.
const SEPARATOR: u8 = 0x1e;

/// The most packets in the body of one request.
pub const MAX_PACKETS: usize = 10_000;

/// The form of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Revision 4; binary as base64.
    V4,
    /// Revision 3 in text; binary as base64.
    V3Text,
    /// Revision 3 with lengths in bytes, for payloads with a binary packet.
    V3Binary,
}

impl Form {
    /// The form of a payload for a session of `revision`. `base64` is set if the query's `b64` asks
    /// for text, `some_binary` if some packet of the payload is binary.
    pub fn of(revision: Revision, base64: bool, some_binary: bool) -> Self {
        match revision {
            Revision::V4 => Form::V4,
            Revision::V3 if some_binary && !base64 => Form::V3Binary,
            Revision::V3 => Form::V3Text,
        }
    }

    /// The media type of a body in this form.
    pub fn content_type(self) -> &'static str {
        match self {
            Form::V4 | Form::V3Text => "text/plain; charset=UTF-8",
            Form::V3Binary => "application/octet-stream",
        }
    }

    /// An upper bound of the bytes that `part` takes in a payload.
    pub fn bound(self, part: Part<'_>) -> usize {
        match (self, part) {
            (Form::V4, Part::Text(text)) => text.len() + 1,
            (_, Part::Text(text)) => text.len() + 12,
            (Form::V3Binary, Part::Binary(bytes)) => bytes.len() + 13,
            (_, Part::Binary(bytes)) => bytes.len().div_ceil(3) * 4 + 14,
        }
    }

    /// Appends a packet to a payload.
    pub fn put(self, out: &mut Vec<u8>, part: Part<'_>) {
        match self {
            Form::V4 => {
                if !out.is_empty() {
                    out.push(SEPARATOR);
                }
                match part {
                    Part::Text(text) => out.extend_from_slice(text),
                    Part::Binary(bytes) => {
                        out.push(b'b');
                        out.extend_from_slice(BASE64.encode(bytes).as_bytes());
                    }
                }
            }
            Form::V3Text => match part {
                Part::Text(text) => {
                    let length = utf16_length(text);
                    out.extend_from_slice(format!("{length}:").as_bytes());
                    out.extend_from_slice(text);
                }
                Part::Binary(bytes) => {
                    let encoded = BASE64.encode(bytes);
                    out.extend_from_slice(format!("{}:b4{encoded}", encoded.len() + 2).as_bytes());
                }
            },
            Form::V3Binary => {
                let (kind, lead, bytes) = match part {
                    Part::Text(text) => (0, None, text),
                    Part::Binary(bytes) => (1, Some(MESSAGE_V3), &bytes[..]),
                };
                out.push(kind);
                let length = bytes.len() + usize::from(lead.is_some());
                out.extend(length.to_string().bytes().map(|digit| digit - b'0'));
                out.push(0xff);
                out.extend(lead);
                out.extend_from_slice(bytes);
            }
        }
    }
}

/// The length of text in UTF-16 code units, which lengths in revision 3 count.
fn utf16_length(text: &[u8]) -> usize {
    String::from_utf8_lossy(text).chars().map(char::len_utf16).sum()
}

/// A packet that a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// `message` in text, without the type.
    Message(String),
    /// `message` in binary.
    Binary(Bytes),
    /// `ping`, the heartbeat of revision 3, with the data after it.
    Ping(String),
    /// `pong`, the heartbeat of revision 4.
    Pong,
    /// `close`, which ends the session.
    Close,
    /// `open`, `upgrade` or `noop`, which say nothing here. Node's server ignores them too.
    Ignored,
}

/// Why a body is not a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// The body holds no packet.
    #[error("the body holds no packet")]
    Empty,
    /// The body, or a text packet in it, is not UTF-8.
    #[error("the body is not UTF-8")]
    Utf8,
    /// A packet's type is unknown, or a client may not send it by polling.
    #[error("a packet has a type that a client may not send")]
    Type,
    /// A binary packet is not base64.
    #[error("a binary packet is not base64")]
    Base64,
    /// A packet's length is not a number, or does not fit the body.
    #[error("a packet's length does not fit the body")]
    Length,
    /// The body holds more than [`MAX_PACKETS`] packets.
    #[error("the body holds more than {MAX_PACKETS} packets")]
    TooMany,
}

/// Decodes the body of a POST. `bytes` is set if it is an `application/octet-stream`, which only
/// revision 3 sends.
///
/// # Errors
/// Fails if any part of the body is not a payload of `revision`.
pub fn decode(body: &[u8], revision: Revision, bytes: bool) -> Result<Vec<Packet>, PayloadError> {
    let packets = match revision {
        Revision::V4 => decode_v4(body)?,
        Revision::V3 if bytes => decode_v3_binary(body)?,
        Revision::V3 => decode_v3_text(body)?,
    };
    if packets.is_empty() { Err(PayloadError::Empty) } else { Ok(packets) }
}

/// Decodes a binary packet that is text, which clients without binary frames send: `b` and base64 in
/// revision 4, `b4` and base64 in revision 3 (Engine.IO protocol, "Packet encoding"). `None` if the
/// text is no such packet.
pub fn decode_base64(text: &[u8], revision: Revision) -> Option<Result<Bytes, PayloadError>> {
    let prefix: &[u8] = match revision {
        Revision::V4 => b"b",
        Revision::V3 => b"b4",
    };
    let encoded = text.strip_prefix(prefix)?;
    Some(BASE64.decode(encoded).map(Bytes::from).map_err(|_| PayloadError::Base64))
}

fn decode_v4(body: &[u8]) -> Result<Vec<Packet>, PayloadError> {
    let body = std::str::from_utf8(body).map_err(|_| PayloadError::Utf8)?;
    let mut packets = Vec::new();
    for text in body.split(SEPARATOR as char) {
        push(
            &mut packets,
            match text.strip_prefix('b') {
                Some(encoded) => binary(encoded)?,
                None => text_packet(text)?,
            },
        )?;
    }
    Ok(packets)
}

fn decode_v3_text(body: &[u8]) -> Result<Vec<Packet>, PayloadError> {
    let mut rest = std::str::from_utf8(body).map_err(|_| PayloadError::Utf8)?;
    let mut packets = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest.split_once(':').ok_or(PayloadError::Length)?;
        let length = digits(length)?;
        let end = utf16_offset(after, length).ok_or(PayloadError::Length)?;
        let (text, after) = after.split_at(end);
        push(
            &mut packets,
            match text.strip_prefix("b4") {
                Some(encoded) => binary(encoded)?,
                None => text_packet(text)?,
            },
        )?;
        rest = after;
    }
    Ok(packets)
}

fn decode_v3_binary(body: &[u8]) -> Result<Vec<Packet>, PayloadError> {
    let mut rest = body;
    let mut packets = Vec::new();
    while let Some((kind, after)) = rest.split_first() {
        let end = memchr::memchr(0xff, after).filter(|n| (1..=10).contains(n));
        let end = end.ok_or(PayloadError::Length)?;
        let length = after[..end].iter().try_fold(0usize, |n, digit| {
            (*digit < 10).then(|| n * 10 + usize::from(*digit)).ok_or(PayloadError::Length)
        })?;
        let after = &after[end + 1..];
        let packet = after.get(..length).ok_or(PayloadError::Length)?;
        push(
            &mut packets,
            match kind {
                0 => text_packet(std::str::from_utf8(packet).map_err(|_| PayloadError::Utf8)?)?,
                1 => match packet.split_first() {
                    Some((&MESSAGE_V3, bytes)) => Packet::Binary(Bytes::copy_from_slice(bytes)),
                    _ => return Err(PayloadError::Type),
                },
                _ => return Err(PayloadError::Type),
            },
        )?;
        rest = &after[length..];
    }
    Ok(packets)
}

fn push(packets: &mut Vec<Packet>, packet: Packet) -> Result<(), PayloadError> {
    if packets.len() == MAX_PACKETS {
        return Err(PayloadError::TooMany);
    }
    packets.push(packet);
    Ok(())
}

/// Whether a packet of this type says nothing when a client sends it: `open`, `upgrade` and `noop`.
pub fn is_ignored(kind: char) -> bool {
    matches!(kind, '0' | '5' | '6')
}

fn text_packet(text: &str) -> Result<Packet, PayloadError> {
    let mut chars = text.chars();
    Ok(match chars.next() {
        Some('1') => Packet::Close,
        Some('2') => Packet::Ping(chars.as_str().to_owned()),
        Some('3') => Packet::Pong,
        Some('4') => Packet::Message(chars.as_str().to_owned()),
        Some(kind) if is_ignored(kind) => Packet::Ignored,
        _ => return Err(PayloadError::Type),
    })
}

fn binary(encoded: &str) -> Result<Packet, PayloadError> {
    BASE64.decode(encoded).map(|b| Packet::Binary(b.into())).map_err(|_| PayloadError::Base64)
}

fn digits(text: &str) -> Result<usize, PayloadError> {
    if text.is_empty() || text.len() > 10 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(PayloadError::Length);
    }
    text.parse().map_err(|_| PayloadError::Length)
}

/// The position in bytes after the first `units` UTF-16 code units of `text`.
fn utf16_offset(text: &str, units: usize) -> Option<usize> {
    let mut left = units;
    for (offset, c) in text.char_indices() {
        if left == 0 {
            return Some(offset);
        }
        left = left.checked_sub(c.len_utf16())?;
    }
    (left == 0).then_some(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Sent {
        Text(String),
        Bytes(Vec<u8>),
    }

    fn sent() -> impl Strategy<Value = Vec<Sent>> {
        // JSON escapes control characters, so a packet's text never holds the separator.
        let one = prop_oneof![
            "[^\\x00-\\x1f]{0,40}".prop_map(Sent::Text),
            prop::collection::vec(any::<u8>(), 0..40).prop_map(Sent::Bytes),
        ];
        prop::collection::vec(one, 1..8)
    }

    proptest! {
        #[test]
        fn a_payload_decodes_to_the_same_in_every_form(packets in sent()) {
            for (form, revision, bytes) in [
                (Form::V4, Revision::V4, false),
                (Form::V3Text, Revision::V3, false),
                (Form::V3Binary, Revision::V3, true),
            ] {
                let mut body = Vec::new();
                let mut bound = 0;
                for packet in &packets {
                    let (text, binary);
                    let part = match packet {
                        Sent::Text(t) => { text = format!("4{t}"); Part::Text(text.as_bytes()) }
                        Sent::Bytes(b) => { binary = Bytes::from(b.clone()); Part::Binary(&binary) }
                    };
                    bound += form.bound(part);
                    form.put(&mut body, part);
                }
                prop_assert!(body.len() <= bound);
                let expected: Vec<_> = packets.iter().map(|p| match p {
                    Sent::Text(t) => Packet::Message(t.clone()),
                    Sent::Bytes(b) => Packet::Binary(b.clone().into()),
                }).collect();
                prop_assert_eq!(decode(&body, revision, bytes).unwrap(), expected);
            }
        }

        #[test]
        fn no_body_makes_the_decoder_panic(body in prop::collection::vec(any::<u8>(), 0..200), v3: bool, bytes: bool) {
            let revision = if v3 { Revision::V3 } else { Revision::V4 };
            let _ = decode(&body, revision, bytes);
        }
    }

    #[test]
    fn lengths_of_revision_3_count_utf_16_code_units() {
        let mut body = Vec::new();
        Form::V3Text.put(&mut body, Part::Text("4€𝄞".as_bytes()));
        assert_eq!(body, "4:4€𝄞".as_bytes());
    }

    #[test]
    fn malformed_bodies_are_refused_with_their_reason() {
        let v4 = |body: &str| decode(body.as_bytes(), Revision::V4, false).unwrap_err();
        assert_eq!(v4("abc"), PayloadError::Type);
        assert_eq!(v4(""), PayloadError::Type);
        assert_eq!(v4("4a\u{1e}"), PayloadError::Type);
        assert_eq!(v4("b!"), PayloadError::Base64);
        assert_eq!(decode(&[b'4', 0xff], Revision::V4, false), Err(PayloadError::Utf8));
        let v3 = |body: &str| decode(body.as_bytes(), Revision::V3, false).unwrap_err();
        assert_eq!(v3("9:4a"), PayloadError::Length);
        assert_eq!(v3("x:4a"), PayloadError::Length);
        assert_eq!(v3(""), PayloadError::Empty);
        assert_eq!(decode(&[0, 9, 9, 0xff, b'4'], Revision::V3, true), Err(PayloadError::Length));
        let many = vec!["3"; MAX_PACKETS + 1].join("\u{1e}");
        assert_eq!(v4(&many), PayloadError::TooMany);
    }
}
