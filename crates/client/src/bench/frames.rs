//! [`Frames`]: the WebSocket frames that a load generator needs (RFC 6455, section 5.2).

use std::borrow::Cow;

use rookery_protocol::frames::inflate;

/// Set on every frame: fragmented messages are not supported, and no Socket.IO server sends any.
const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
/// Set on the frame of a compressed message (RFC 7692, section 6).
const COMPRESSED: u8 = 0x40;

/// The opcode of a text frame.
pub(super) const TEXT: u8 = 1;
/// The opcode of a close frame.
pub(super) const CLOSE: u8 = 8;
/// The opcode of a ping.
pub(super) const PING: u8 = 9;
/// The opcode of a pong.
pub(super) const PONG: u8 = 10;

/// A frame from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) opcode: u8,
    compressed: bool,
    payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The payload, inflated up to `limit` bytes if it is compressed.
    ///
    /// # Errors
    /// When it is larger, or not valid.
    pub(super) fn payload(&self, limit: usize) -> Result<Cow<'a, [u8]>, FrameError> {
        if !self.compressed {
            return Ok(Cow::Borrowed(self.payload));
        }
        Ok(Cow::Owned(inflate(self.payload, limit)?))
    }
}

/// Why bytes are not a supported frame from a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    #[error("the server sent a masked frame")]
    Masked,
    #[error("the server sent a fragmented message")]
    Fragmented,
    #[error("the server sent a frame of {0} bytes")]
    TooLarge(u64),
    #[error("the server sent a compressed frame: {0}")]
    Compressed(#[from] rookery_protocol::frames::FrameError),
}

/// Iterates over the whole frames at the start of a buffer, without copying.
pub(super) struct Frames<'a> {
    rest: &'a [u8],
    limit: usize,
}

impl<'a> Frames<'a> {
    /// The frames in `bytes`, each with at most `limit` bytes of payload.
    pub(super) fn new(bytes: &'a [u8], limit: usize) -> Self {
        Frames { rest: bytes, limit }
    }

    /// The next whole frame; `None` when the rest is a part of one.
    ///
    /// # Errors
    /// When the server masks or fragments a frame, or it is larger than the limit.
    pub(super) fn next(&mut self) -> Result<Option<Frame<'a>>, FrameError> {
        let [first, second, after @ ..] = self.rest else { return Ok(None) };
        if first & FIN == 0 {
            return Err(FrameError::Fragmented);
        }
        if second & MASKED != 0 {
            return Err(FrameError::Masked);
        }
        let (length, after) = match second {
            126 => match after.split_first_chunk::<2>() {
                Some((length, after)) => (u64::from(u16::from_be_bytes(*length)), after),
                None => return Ok(None),
            },
            127 => match after.split_first_chunk::<8>() {
                Some((length, after)) => (u64::from_be_bytes(*length), after),
                None => return Ok(None),
            },
            short => (u64::from(*short), after),
        };
        let size = usize::try_from(length).ok().filter(|size| *size <= self.limit);
        let size = size.ok_or(FrameError::TooLarge(length))?;
        let Some((payload, rest)) = after.split_at_checked(size) else { return Ok(None) };
        self.rest = rest;
        let compressed = first & COMPRESSED != 0;
        Ok(Some(Frame { opcode: first & 0x0f, compressed, payload }))
    }

    /// The bytes after the last whole frame.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

/// Appends a client's frame, masked with a key of zeros.
pub(super) fn write(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(FIN | opcode);
    match payload.len() {
        length @ 0..=125 => out.push(MASKED | length as u8),
        length @ 126..=0xffff => {
            out.push(MASKED | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(MASKED | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn server_frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
        out.push(FIN | opcode);
        match payload.len() {
            length @ 0..=125 => out.push(length as u8),
            length @ 126..=0xffff => {
                out.push(126);
                out.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                out.push(127);
                out.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        out.extend_from_slice(payload);
    }

    proptest! {
        #[test]
        fn frames_are_found_however_the_stream_is_cut(
            sizes in prop::collection::vec(prop_oneof![0usize..200, 65_500usize..65_600], 0..12),
            cuts in prop::collection::vec(1usize..70_000, 1..40),
        ) {
            let sent: Vec<Vec<u8>> =
                sizes.iter().enumerate().map(|(i, size)| vec![i as u8; *size]).collect();
            let mut stream = Vec::new();
            for payload in &sent {
                server_frame(&mut stream, TEXT, payload);
            }
            let mut found = Vec::new();
            let mut kept = Vec::new();
            let mut cuts = cuts.iter().cycle();
            let mut rest = stream.as_slice();
            while !rest.is_empty() {
                let (now, later) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                rest = later;
                kept.extend_from_slice(now);
                let mut frames = Frames::new(&kept, MAX);
                while let Some(frame) = frames.next().unwrap() {
                    prop_assert_eq!(frame.opcode, TEXT);
                    found.push(frame.payload.to_vec());
                }
                kept = frames.rest().to_vec();
            }
            prop_assert_eq!(found, sent);
            prop_assert!(kept.is_empty());
        }

        #[test]
        fn no_input_makes_the_parser_panic(bytes in any::<Vec<u8>>()) {
            let mut frames = Frames::new(&bytes, MAX);
            while let Ok(Some(_)) = frames.next() {}
        }
    }

    const MAX: usize = 1 << 20;

    #[test]
    fn unsupported_frames_are_errors() {
        fn next(bytes: &[u8]) -> Result<Option<Frame<'_>>, FrameError> {
            Frames::new(bytes, 100).next()
        }
        assert_eq!(next(&[0x01, 0]), Err(FrameError::Fragmented));
        assert_eq!(next(&[0x81, 0x80]), Err(FrameError::Masked));
        assert_eq!(next(&[0x81, 101]), Err(FrameError::TooLarge(101)));
        assert_eq!(
            next(&[0x81, 127, 255, 0, 0, 0, 0, 0, 0, 0]),
            Err(FrameError::TooLarge(255 << 56))
        );
        assert_eq!(next(&[0x81]), Ok(None));
        assert_eq!(next(&[0x81, 126, 0]), Ok(None));
        assert_eq!(next(&[0x81, 2, b'h']), Ok(None));
    }

    #[test]
    fn a_websocket_library_can_read_the_frames() {
        use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket};
        for size in [0, 125, 126, 0xffff, 0x10000] {
            let mut bytes = Vec::new();
            write(&mut bytes, TEXT, &vec![b'x'; size]);
            let stream = std::io::Cursor::new(bytes);
            let mut socket = WebSocket::from_raw_socket(stream, Role::Server, None);
            assert_eq!(socket.read().unwrap().into_text().unwrap().len(), size);
        }
    }
}
