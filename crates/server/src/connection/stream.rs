//! The [`SessionStream`]: the byte stream that the protocol engine takes for a WebSocket, whatever
//! the transport is.

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

/// The client's answer to a heartbeat.
const PONG: &[u8] = b"3";

/// The packet that the engine writes when it ends a session of its own accord, for instance after
/// a missed heartbeat. The client does not get it: the outbox announces the end itself.
const ENGINE_CLOSE: &[u8] = b"1";

/// Bytes that are read from a socket at once.
const READ_AHEAD: usize = 4 << 10;

/// What a session does with the engine's packets, and at the end of the stream.
pub trait EngineHooks: Send + Sync {
    /// Decides about a packet that the engine writes for the client: its text and attachments.
    fn on_packet(&self, text: &[u8], attachments: Vec<Bytes>) -> PacketAction;

    /// Called when the client sent bytes that are no frame it may send. The engine ends the
    /// session.
    fn on_violation(&self, error: FrameError);

    /// Called when the engine drops the stream: its session is over. `gave_up` is true where the
    /// engine did so of its own accord, neither because the client closed the session nor because
    /// the outbox ended it.
    fn on_close(&self, gave_up: bool);
}

/// What to do with a packet of the engine.
pub enum PacketAction {
    /// Send this packet to the client.
    Send(Encoded),
    /// Do not send the packet.
    Drop,
    /// Send this packet to the client, and then call the function, unless the session is ending.
    SendThen(Encoded, Box<dyn FnOnce() + Send>),
}

/// A stream whose reads come from the session's transport, and whose writes go to its outbox,
/// packet by packet. A write never waits: the outbox enforces limits and detects stalls.
pub struct SessionStream {
    /// Boxed because the engine's futures reserve space for the stream several times.
    inner: Box<Inner>,
}

struct Inner {
    outbox: Arc<Outbox>,
    hooks: Arc<dyn EngineHooks>,
    /// Bytes that were read from the socket and did not fit into the engine's small buffer.
    read_ahead: BytesMut,
    /// Reads the frames that the engine writes.
    engine_frames: FrameReader,
    /// Checks the frames that the client sends.
    client_frames: ClientFrames,
    /// A text packet of the engine whose attachments are not complete.
    incomplete: Option<Box<IncompletePacket>>,
    /// The engine wrote a Close frame.
    closed: bool,
    /// There is nothing more to read.
    ended: bool,
    /// Reads wait until the engine's first heartbeat is answered on the client's behalf.
    held: bool,
}

/// A text packet that waits for the attachments it announces.
struct IncompletePacket {
    text: Bytes,
    attachments: Vec<Bytes>,
    /// Attachments still to come.
    missing: usize,
}

impl SessionStream {
    /// The stream of a session whose client may send messages of up to `max_message` bytes.
    ///
    /// In revision 4 the first heartbeat is due after `pingInterval` (Engine.IO protocol,
    /// "Heartbeat"), but the engine sends one at once. The stream answers that one itself.
    pub fn new(outbox: Arc<Outbox>, hooks: Arc<dyn EngineHooks>, max_message: usize) -> Self {
        let inner = Inner {
            held: outbox.revision() == Revision::V4,
            outbox,
            hooks,
            read_ahead: BytesMut::new(),
            engine_frames: FrameReader::default(),
            incomplete: None,
            client_frames: ClientFrames::new(max_message),
            closed: false,
            ended: false,
        };
        SessionStream { inner: Box::new(inner) }
    }
}

impl Inner {
    /// Handles a frame that the engine wrote.
    fn on_frame(&mut self, frame: Frame) {
        match (frame.opcode, self.incomplete.take()) {
            (Opcode::Text, None) => match announced_attachments(&frame.payload) {
                0 => self.on_packet(&frame.payload, Vec::new()),
                missing => {
                    let text = frame.payload;
                    let packet = IncompletePacket { text, attachments: Vec::new(), missing };
                    self.incomplete = Some(Box::new(packet));
                }
            },
            (Opcode::Binary, Some(mut packet)) => {
                // In revision 3 the engine puts a type byte first (Engine.IO protocol, revision 3,
                // "Binary packets"), which is no part of the attachment.
                let type_bytes = usize::from(self.outbox.revision() == Revision::V3);
                let attachment = frame.payload.slice(type_bytes.min(frame.payload.len())..);
                packet.attachments.push(attachment);
                packet.missing -= 1;
                if packet.missing == 0 {
                    self.on_packet(&packet.text, packet.attachments);
                } else {
                    self.incomplete = Some(packet);
                }
            }
            (Opcode::Close, _) => {
                self.closed = true;
                if self.client_frames.has_closed() {
                    self.outbox.close(Disconnected::Client, Ending::Finish);
                }
            }
            // Pings and pongs of WebSocket itself: browsers send none, and a server need not.
            (_, incomplete) => self.incomplete = incomplete,
        }
    }

    fn on_packet(&mut self, text: &[u8], attachments: Vec<Bytes>) {
        if self.held && text == PING {
            self.held = false;
            self.outbox.answer_engine(PONG);
            return;
        }
        if text == ENGINE_CLOSE {
            return;
        }
        match self.hooks.on_packet(text, attachments) {
            PacketAction::Send(packet) => {
                self.outbox.send(Arc::new(packet));
            }
            PacketAction::SendThen(packet, then) => {
                if self.outbox.send(Arc::new(packet)) {
                    then();
                }
            }
            PacketAction::Drop => {}
        }
    }
}

/// The number of attachments that a packet of the engine announces; 0 if it is no Socket.IO packet.
fn announced_attachments(text: &[u8]) -> usize {
    let Some(packet) = text.strip_prefix(b"4") else { return 0 };
    let head = std::str::from_utf8(packet).ok().and_then(|packet| PacketHead::parse(packet).ok());
    head.map_or(0, |head| head.attachments)
}

impl Inner {
    /// Checks bytes of the client that the engine is about to read.
    fn check(&mut self, bytes: &[u8]) {
        if let Err(error) = self.client_frames.feed(bytes) {
            self.hooks.on_violation(error);
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
                    self.check(&read[..n]);
                    buf.put_slice(&read[..fits]);
                    self.read_ahead.extend_from_slice(&read[fits..n]);
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

/// Reads what is available. Where that does not fill the buffer, the socket is marked as empty
/// until the kernel reports otherwise, which saves a system call.
fn read_some(socket: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = None;
    let tried = socket.try_io(Interest::READABLE, || {
        let (n, _) = rustix::net::recv(socket, &mut *buffer, RecvFlags::empty())?;
        read = Some(n);
        if n > 0 && n < buffer.len() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(n) }
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
        if !inner.read_ahead.is_empty() && inner.outbox.ending().is_none() {
            let fits = inner.read_ahead.len().min(buf.remaining());
            buf.put_slice(&inner.read_ahead[..fits]);
            inner.read_ahead.advance(fits);
            if inner.read_ahead.is_empty() {
                inner.read_ahead = BytesMut::new();
            }
            return Poll::Ready(Ok(()));
        }
        match inner.outbox.read_from(cx.waker(), inner.held, buf) {
            ReadFrom::Taken => {
                inner.check(&buf.filled()[before..]);
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
        this.engine_frames
            .push(bytes, |frame| frames.push(frame))
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        for frame in frames {
            this.on_frame(frame);
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
        let Inner { outbox, hooks, ended, .. } = &*self.inner;
        let gave_up = !ended && outbox.ending().is_none();
        hooks.on_close(gave_up);
        if gave_up {
            outbox.close_soon(Disconnected::TransportError);
        } else {
            outbox.close(Disconnected::TransportError, Ending::Finish);
        }
    }
}
