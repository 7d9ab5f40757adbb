//! The [`SessionStream`]: the byte stream that the protocol engine takes for a WebSocket.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use rustix::net::RecvFlags;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::outbox::{Ending, Outbox, ReadFrom};
use crate::telemetry::metrics::Disconnected;
use rookery_protocol::Revision;
use rookery_protocol::encoded::Encoded;
use rookery_protocol::frames::{ClientFrames, Frame, FrameError, FrameReader, Opcode};
use rookery_protocol::packet::PacketHead;

/// The engine's heartbeat in revision 4.
const PING: &[u8] = b"2";

/// A client's answer to it.
const PONG: &[u8] = b"3";

/// What the engine writes before it ends a session by its own will, for instance without a
/// heartbeat. The outbox has its own words for the end.
const RESIGNED: &[u8] = b"1";

/// Bytes that are read of a socket at once.
const READ_AHEAD: usize = 4 << 10;

/// The session above a stream: sees the engine's packets pass, and the stream's end.
pub trait Above: Send + Sync {
    /// A packet in text that the engine writes for the client, with its attachments.
    fn passes(&self, text: &[u8], attachments: Vec<Bytes>) -> Passage;

    /// The client sent what is no frame that it may send. The engine will end the session.
    fn violated(&self, error: FrameError);

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
    /// Boxed, because the engine's futures hold several places for the stream.
    inner: Box<Inner>,
}

struct Inner {
    outbox: Arc<Outbox>,
    above: Arc<dyn Above>,
    /// What was read of the socket and did not fit into the engine's buffer, which is small.
    ahead: BytesMut,
    written: FrameReader,
    client: ClientFrames,
    group: Option<Box<Group>>,
    /// The engine wrote a Close frame.
    closed: bool,
    /// There is nothing more to read.
    ended: bool,
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
    /// The stream of a session, whose client may send messages of `max_message` bytes.
    ///
    /// In revision 4 the first heartbeat is due after `pingInterval` (Engine.IO protocol,
    /// "Heartbeat"), but the engine sends one at once: that one is answered here.
    pub fn new(outbox: Arc<Outbox>, above: Arc<dyn Above>, max_message: usize) -> Self {
        let inner = Inner {
            held: outbox.revision() == Revision::V4,
            outbox,
            above,
            ahead: BytesMut::new(),
            written: FrameReader::default(),
            group: None,
            client: ClientFrames::new(max_message),
            closed: false,
            ended: false,
        };
        SessionStream { inner: Box::new(inner) }
    }
}

impl Inner {
    fn frame(&mut self, frame: Frame) {
        match (frame.opcode, self.group.take()) {
            (Opcode::Text, None) => match announced(&frame.payload) {
                0 => self.packet(&frame.payload, Vec::new()),
                missing => {
                    let text = frame.payload;
                    let group = Group { text, attachments: Vec::new(), missing };
                    self.group = Some(Box::new(group));
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
                if self.client.has_closed() {
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

/// The number of attachments that a packet of the engine announces; 0 if it is no Socket.IO packet.
fn announced(text: &[u8]) -> usize {
    let Some(packet) = text.strip_prefix(b"4") else { return 0 };
    let head = std::str::from_utf8(packet).ok().and_then(|packet| PacketHead::parse(packet).ok());
    head.map_or(0, |head| head.attachments)
}

impl Inner {
    /// Looks at what the engine is about to read.
    fn watch(&mut self, bytes: &[u8]) {
        if let Err(error) = self.client.feed(bytes) {
            self.above.violated(error);
        }
    }

    fn read_socket(
        &mut self,
        socket: &TcpStream,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut read = [0; READ_AHEAD];
        loop {
            std::task::ready!(socket.poll_read_ready(cx))?;
            match read_some(socket, &mut read) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Ok(n) if n > 0 => {
                    let fits = n.min(buf.remaining());
                    self.watch(&read[..n]);
                    buf.put_slice(&read[..fits]);
                    self.ahead.extend_from_slice(&read[fits..n]);
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

/// Reads what is there. Where that is less than there was room for, the socket is known to be
/// empty until the kernel says otherwise, which saves a call that would only say so.
fn read_some(socket: &TcpStream, room: &mut [u8]) -> io::Result<usize> {
    let mut read = None;
    let tried = socket.try_io(Interest::READABLE, || {
        let (n, _) = rustix::net::recv(socket, &mut *room, RecvFlags::empty())?;
        read = Some(n);
        if n > 0 && n < room.len() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(n) }
    });
    read.map_or(tried, Ok)
}

impl AsyncRead for SessionStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let inner = &mut *self.get_mut().inner;
        let before = buf.filled().len();
        if !inner.ahead.is_empty() && inner.outbox.ending().is_none() {
            let fits = inner.ahead.len().min(buf.remaining());
            buf.put_slice(&inner.ahead[..fits]);
            inner.ahead.advance(fits);
            if inner.ahead.is_empty() {
                inner.ahead = BytesMut::new();
            }
            return Poll::Ready(Ok(()));
        }
        match inner.outbox.read_from(cx.waker(), inner.held, buf) {
            ReadFrom::Taken => {
                inner.watch(&buf.filled()[before..]);
                Poll::Ready(Ok(()))
            }
            ReadFrom::Wait => Poll::Pending,
            ReadFrom::Socket(socket) => inner.read_socket(&socket, cx, buf),
            ReadFrom::End => {
                inner.ended = true;
                Poll::Ready(Ok(()))
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
        let this = &mut *self.get_mut().inner;
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
        let Inner { outbox, above, ended, .. } = &*self.inner;
        let gave_up = !ended && outbox.ending().is_none();
        above.departed(gave_up);
        if gave_up {
            outbox.close_soon(Disconnected::TransportError);
        } else {
            outbox.close(Disconnected::TransportError, Ending::Finish);
        }
    }
}
