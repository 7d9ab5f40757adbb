//! The [`SessionStream`]: the byte stream that the protocol engine takes for a WebSocket.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::Revision;
use super::encode::Encoded;
use super::frames::{Frame, FrameReader, Opcode};
use super::outbox::{Ending, Outbox, ReadFrom};
use crate::ops::metrics::Disconnected;

/// The engine's heartbeat in revision 4.
const PING: &[u8] = b"2";

/// A client's answer to it.
const PONG: &[u8] = b"3";

/// What the engine writes before it ends a session by its own will, for instance without a
/// heartbeat. The outbox has its own words for the end.
const RESIGNED: &[u8] = b"1";

/// The session above a stream: sees the engine's packets pass, and the stream's end.
pub trait Above: Send + Sync {
    /// A packet in text that the engine writes for the client, with its attachments.
    fn passes(&self, text: &[u8], attachments: Vec<Bytes>) -> Passage;

    /// The engine has let go of the stream: its session is over. `gave_up`: by its own will,
    /// neither because the client closed nor because the outbox ended.
    fn departed(&self, gave_up: bool);
}

/// What becomes of a packet of the engine.
pub enum Passage {
    /// It goes to the client as it is given here.
    Send(Encoded),
    /// It is kept from the client.
    Drop,
    /// It goes to the client, and then [`Above`] has done what follows from it.
    SendThen(Encoded, Box<dyn FnOnce() + Send>),
}

/// A stream whose reads come from whatever carries the session, and whose writes go to its
/// outbox, packet by packet. Writes are taken whole and at once: bounds and stalls are the
/// outbox's matter.
pub struct SessionStream {
    outbox: Arc<Outbox>,
    above: Arc<dyn Above>,
    socket: Option<Arc<TcpStream>>,
    written: FrameReader,
    group: Option<Group>,
    /// The engine wrote a Close frame.
    closed: bool,
    /// There is nothing more to read.
    ended: bool,
    /// What was read last ended with the client's goodbye.
    goodbye: bool,
    /// Reads wait until the engine's first heartbeat was answered in the client's stead.
    held: bool,
}

/// A text packet that waits for the attachments that it announced.
struct Group {
    text: Bytes,
    attachments: Vec<Bytes>,
    missing: usize,
}

impl SessionStream {
    /// The stream of a session.
    ///
    /// In revision 4 the first heartbeat is due after `pingInterval` (Engine.IO protocol,
    /// "Heartbeat"), but the engine sends one at once: that one is answered here.
    pub fn new(outbox: Arc<Outbox>, above: Arc<dyn Above>) -> Self {
        SessionStream {
            held: outbox.revision() == Revision::V4,
            outbox,
            above,
            socket: None,
            written: FrameReader::default(),
            group: None,
            closed: false,
            ended: false,
            goodbye: false,
        }
    }

    fn frame(&mut self, frame: Frame) {
        match (frame.opcode, self.group.take()) {
            (Opcode::Text, None) => match announced(&frame.payload) {
                0 => self.packet(&frame.payload, Vec::new()),
                missing => {
                    let text = frame.payload;
                    self.group = Some(Group { text, attachments: Vec::new(), missing });
                }
            },
            (Opcode::Binary, Some(mut group)) => {
                // In revision 3 the engine has put the type before it (Engine.IO protocol,
                // revision 3, "Binary packets"); an attachment is kept without.
                let typed = usize::from(self.outbox.revision() == Revision::V3);
                group.attachments.push(frame.payload.slice(typed.min(frame.payload.len())..));
                group.missing -= 1;
                if group.missing == 0 {
                    self.packet(&group.text, group.attachments);
                } else {
                    self.group = Some(group);
                }
            }
            (Opcode::Close, _) => {
                self.closed = true;
                if self.goodbye {
                    self.outbox.close(Disconnected::Client, Ending::Finish);
                }
            }
            // Pings and pongs of WebSocket itself: browsers send none, and a server need not.
            (_, group) => self.group = group,
        }
    }

    fn packet(&mut self, text: &[u8], attachments: Vec<Bytes>) {
        if self.held && text == PING {
            self.held = false;
            self.outbox.answer_engine(PONG);
            return;
        }
        if text == RESIGNED {
            return;
        }
        match self.above.passes(text, attachments) {
            Passage::Send(packet) => {
                self.outbox.send(Arc::new(packet));
            }
            Passage::SendThen(packet, then) => {
                if self.outbox.send(Arc::new(packet)) {
                    then();
                }
            }
            Passage::Drop => {}
        }
    }
}

/// How many attachments a Socket.IO packet announces (Socket.IO protocol, revision 5, "Packet
/// encoding"): `45<n>-…` an event, `46<n>-…` an ack.
fn announced(text: &[u8]) -> usize {
    let [b'4', b'5' | b'6', rest @ ..] = text else { return 0 };
    let Some(dash) = memchr::memchr(b'-', &rest[..rest.len().min(11)]) else { return 0 };
    std::str::from_utf8(&rest[..dash]).ok().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// Whether bytes of a client end with its goodbye: a Close frame, or Engine.IO's `1` in a frame.
/// It decides only what the end is counted as.
fn is_goodbye(bytes: &[u8]) -> bool {
    let close = |n: usize| {
        let head = bytes.len().checked_sub(6 + n).map(|at| &bytes[at..at + 2]);
        head == Some(&[0x88, 0x80 | n as u8])
    };
    let packet = match bytes.last_chunk::<7>() {
        Some([0x81, 0x81, key, _, _, _, masked]) => key ^ masked == b'1',
        _ => false,
    };
    packet || (0..=125).any(close)
}

impl AsyncRead for SessionStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        loop {
            match self.outbox.read_from(cx.waker(), self.held, buf) {
                ReadFrom::Taken => {
                    self.goodbye = is_goodbye(&buf.filled()[before..]);
                    return Poll::Ready(Ok(()));
                }
                ReadFrom::End => {
                    self.ended = true;
                    return Poll::Ready(Ok(()));
                }
                ReadFrom::Wait => return Poll::Pending,
                ReadFrom::Socket(socket) => self.socket = Some(socket),
            }
            let Some(socket) = &self.socket else { return Poll::Pending };
            std::task::ready!(socket.poll_read_ready(cx))?;
            // `ReadBuf` is a `BufMut` only by reference, and its spare room is uninitialised.
            match socket.try_read(buf.initialize_unfilled()) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Ok(n) if n > 0 => {
                    buf.advance(n);
                    self.goodbye = is_goodbye(&buf.filled()[before..]);
                    return Poll::Ready(Ok(()));
                }
                end => {
                    self.ended = true;
                    return Poll::Ready(end.map(drop));
                }
            }
        }
    }
}

impl AsyncWrite for SessionStream {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.closed || this.outbox.ending().is_some() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let mut frames = Vec::new();
        this.written
            .push(bytes, |frame| frames.push(frame))
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        for frame in frames {
            this.frame(frame);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for SessionStream {
    fn drop(&mut self) {
        let gave_up = !self.ended && self.outbox.ending().is_none();
        self.above.departed(gave_up);
        if gave_up {
            self.outbox.close_soon(Disconnected::TransportError);
        } else {
            self.outbox.close(Disconnected::TransportError, Ending::Finish);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::frames::put_client_frame;

    #[test]
    fn a_goodbye_is_known_by_its_end() {
        let ends = |opcode, payload: &[u8]| {
            let mut bytes = Vec::new();
            put_client_frame(&mut bytes, Opcode::Text, b"42[\"e\"]");
            put_client_frame(&mut bytes, opcode, payload);
            is_goodbye(&bytes)
        };
        assert!(ends(Opcode::Close, b"") && ends(Opcode::Close, &[3, 232]));
        assert!(ends(Opcode::Text, b"1"));
        assert!(!ends(Opcode::Text, b"3") && !ends(Opcode::Text, b"41") && !is_goodbye(b""));
        // The example of RFC 6455, section 5.7, with Engine.IO's `1` for a payload.
        assert!(is_goodbye(&[0x81, 0x81, 0x37, 0xfa, 0x21, 0x3d, 0x37 ^ b'1']));
    }
}
