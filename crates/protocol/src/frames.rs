//! WebSocket frames (RFC 6455, section 5), as far as Rookery reads and writes them itself.

use bytes::Bytes;

mod client_messages;
mod close_code;
mod deflate;
mod extension;

pub use client_messages::{ClientMessages, Message};
pub use close_code::CloseCode;
pub(crate) use deflate::compress_frames;
pub use deflate::{Deflate, compress, inflate};
pub use extension::Agreement;

/// The opcode of a frame (RFC 6455, section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// A further fragment of a message.
    Continuation,
    /// A text message, or its first fragment.
    Text,
    /// A binary message, or its first fragment.
    Binary,
    /// Closes the connection.
    Close,
    /// Requests a pong.
    Ping,
    /// Answers a ping.
    Pong,
}

impl Opcode {
    fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Opcode::Continuation,
            0x1 => Opcode::Text,
            0x2 => Opcode::Binary,
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            0xA => Opcode::Pong,
            _ => return None,
        })
    }

    fn bits(self) -> u8 {
        match self {
            Opcode::Continuation => 0x0,
            Opcode::Text => 0x1,
            Opcode::Binary => 0x2,
            Opcode::Close => 0x8,
            Opcode::Ping => 0x9,
            Opcode::Pong => 0xA,
        }
    }

    /// Whether it is a control frame, which may come between the frames of a message.
    pub fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }
}

/// A complete frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Whether this is the last frame of its message.
    pub fin: bool,
    /// The frame's opcode.
    pub opcode: Opcode,
    /// The payload, unmasked.
    pub payload: Bytes,
}

/// Why bytes are not a permitted frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A reserved bit or opcode is set.
    #[error("a reserved bit or opcode is set")]
    Reserved,
    /// The frame is masked but must not be, or the other way round.
    #[error("the frame's masking is wrong for its direction")]
    Masking,
    /// A control frame is fragmented or longer than 125 bytes.
    #[error("a control frame is fragmented or too long")]
    Control,
    /// The payload, or the message so far, is longer than the limit.
    #[error("the frame is longer than the limit")]
    TooLong,
    /// A message begins before the last one is complete, or a frame continues no message.
    #[error("the frames of a message are out of order")]
    Fragments,
    /// A text message is not UTF-8.
    #[error("a text message is not UTF-8")]
    Utf8,
    /// A compressed message is not valid.
    #[error("a compressed message is not valid")]
    Deflate,
    /// A compressed message has far more blocks than its length calls for.
    #[error("a compressed message has too many blocks")]
    Blocks,
}

/// The bit of a frame's first byte that says that its message is compressed (RFC 7692, section 6).
const COMPRESSED: u8 = 0x40;

/// The longest head of an unmasked frame, in bytes.
pub const MAX_HEAD: usize = 10;

/// Appends an unmasked, unfragmented frame, as a server sends it.
pub fn put_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    put_head(out, opcode, payload.len(), false);
    out.extend_from_slice(payload);
}

/// Appends the head of a server's frame with `len` bytes of a compressed message.
fn put_compressed_head(out: &mut Vec<u8>, opcode: Opcode, len: usize) {
    let start = out.len();
    put_head(out, opcode, len, false);
    out[start] |= COMPRESSED;
}

/// Appends a client's frame, masked with a key of zeros, which leaves the payload as it is
/// (RFC 6455, section 5.3).
pub fn put_client_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    put_head(out, opcode, payload.len(), true);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

fn put_head(out: &mut Vec<u8>, opcode: Opcode, len: usize, masked: bool) {
    let (head, start) = head(opcode, len, masked);
    out.extend_from_slice(&head[start..]);
}

/// The head of an unfragmented frame with `len` bytes of payload. It takes the end of the array,
/// from the position that is returned with it.
pub(crate) fn head(opcode: Opcode, len: usize, masked: bool) -> ([u8; MAX_HEAD], usize) {
    let mask = if masked { 0x80 } else { 0 };
    let mut head = [0; MAX_HEAD];
    head[2..].copy_from_slice(&(len as u64).to_be_bytes());
    let (start, code) = match len {
        0..126 => (MAX_HEAD - 2, len as u8),
        126..=0xffff => (MAX_HEAD - 4, 126),
        _ => (0, 127),
    };
    head[start] = 0x80 | opcode.bits();
    head[start + 1] = mask | code;
    (head, start)
}

/// Who sends a frame, which decides whether it is masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    Client,
    Server,
}

struct Head {
    fin: bool,
    /// The message is compressed, of which this is the first frame.
    compressed: bool,
    opcode: Opcode,
    mask: Option<[u8; 4]>,
    bytes: usize,
    payload: usize,
}

/// Parses a frame's head; `None` while it is incomplete. With `deflate`, messages may be compressed.
fn parse_head(
    bytes: &[u8],
    sender: Sender,
    deflate: bool,
    max: usize,
) -> Result<Option<Head>, FrameError> {
    let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
    let opcode = Opcode::from_bits(first & 0x0F).ok_or(FrameError::Reserved)?;
    let begins = matches!(opcode, Opcode::Text | Opcode::Binary);
    let permitted = if deflate && begins { COMPRESSED } else { 0 };
    if first & 0x70 & !permitted != 0 {
        return Err(FrameError::Reserved);
    }
    let masked = sender == Sender::Client;
    if (second & 0x80 != 0) != masked {
        return Err(FrameError::Masking);
    }
    let (extra, payload) = match second & 0x7F {
        126 => match rest.first_chunk::<2>() {
            Some(len) => (2, u64::from(u16::from_be_bytes(*len))),
            None => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(len) => (8, u64::from_be_bytes(*len)),
            None => return Ok(None),
        },
        len => (0, u64::from(len)),
    };
    let fin = first & 0x80 != 0;
    if opcode.is_control() && (!fin || payload > 125) {
        return Err(FrameError::Control);
    }
    let payload = usize::try_from(payload).ok().filter(|n| *n <= max).ok_or(FrameError::TooLong)?;
    let mask = match (masked, rest[extra..].first_chunk::<4>()) {
        (false, _) => None,
        (true, Some(key)) => Some(*key),
        (true, None) => return Ok(None),
    };
    let bytes = 2 + extra + if masked { 4 } else { 0 };
    let compressed = first & COMPRESSED != 0;
    Ok(Some(Head { fin, compressed, opcode, mask, bytes, payload }))
}

/// Unmasks a payload in place (RFC 6455, section 5.3), eight bytes at a time.
fn unmask(payload: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = payload.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// Splits the protocol engine's byte stream into frames, however its writes divide it.
///
/// It buffers bytes only while a frame is incomplete, so an idle session holds no memory.
#[derive(Default)]
pub struct FrameReader {
    partial: Vec<u8>,
}

impl FrameReader {
    /// Consumes the bytes of a write and calls `whole` with every frame that they complete, in order.
    ///
    /// # Errors
    /// Fails if the bytes are not unmasked frames; the stream is unusable then.
    pub fn push(&mut self, written: &[u8], mut whole: impl FnMut(Frame)) -> Result<(), FrameError> {
        if self.partial.is_empty() {
            let used = Self::take(written, &mut whole)?;
            self.partial.extend_from_slice(&written[used..]);
            return Ok(());
        }
        self.partial.extend_from_slice(written);
        let used = Self::take(&self.partial, &mut whole)?;
        self.partial.drain(..used);
        if self.partial.is_empty() {
            self.partial = Vec::new();
        }
        Ok(())
    }

    fn take(bytes: &[u8], whole: &mut impl FnMut(Frame)) -> Result<usize, FrameError> {
        let mut used = 0;
        while let Some(head) = parse_head(&bytes[used..], Sender::Server, false, usize::MAX / 2)? {
            let start = used + head.bytes;
            let Some(payload) = bytes.get(start..start + head.payload) else { break };
            let payload = Bytes::copy_from_slice(payload);
            whole(Frame { fin: head.fin, opcode: head.opcode, payload });
            used = start + head.payload;
        }
        Ok(used)
    }
}

#[cfg(test)]
mod tests;
