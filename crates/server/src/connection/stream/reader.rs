//! The reader of a client's packets: events and acknowledgements of connected clients are handled,
//! everything else is passed on to the engine.

mod msgpack;
mod packets;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::future::BoxFuture;
use tokio::net::TcpStream;

use super::hooks::EngineHooks;
use super::pipe::{Permission, Pipe};
use super::socket;
use crate::connection::Wait;
use crate::connection::outbox::{ClientBytes, Outbox};
use crate::telemetry::metrics::Traffic;
use packets::{IncompletePacket, Receiver};
use rookery_protocol::encoded::{Encoded, MESSAGE_V3};
use rookery_protocol::frames::{ClientMessages, CloseCode, FrameError, Message, Opcode};
use rookery_protocol::packet::PacketError;
use rookery_protocol::{Parser, Revision, payload};

/// Messages of one client that are handled before other sessions of the shard are served. A large
/// one counts once more for each [`UNIT`] of its bytes.
const TURN: usize = 128;

/// Bytes of a message that count like a further message.
const UNIT: usize = 4 << 10;

/// Up to this many bytes of a client that are held are not counted.
const UNCOUNTED: usize = 4 << 10;

/// Reads what a client sends, until its session ends.
///
/// A client's packets are handled one after the other, in the order in which they were sent. After
/// a CONNECT, and after an event that must be waited for, nothing more is read from the client until
/// that is done.
pub(super) struct ClientReader {
    outbox: Arc<Outbox>,
    hooks: Arc<dyn EngineHooks>,
    pipe: Arc<Pipe>,
    messages: ClientMessages,
    /// The client's WebSocket, once everything that came before it was handled.
    socket: Option<Arc<TcpStream>>,
    /// Bytes of the client that were read and not handled: an incomplete frame, or what follows
    /// the packet that is waited for.
    unread: Vec<u8>,
    /// An event or acknowledgement whose attachments are not complete.
    incomplete: Option<Box<IncompletePacket>>,
    /// What the last packet asked for, which must be done before the next one is handled.
    wait: Option<BoxFuture<'static, ()>>,
    /// What makes up for a compressed message that stood for much more, before more is read.
    pause: Wait,
    /// The last packet was passed to the engine, which has not handled it.
    passed: bool,
    /// The most bytes that the attachments of one packet may have together.
    max_message: usize,
    /// Bytes that [`EngineHooks::may_hold`] allowed.
    held: usize,
}

/// What became of the client's bytes.
enum Step {
    /// There may be more.
    More,
    /// There will be none.
    End,
}

impl ClientReader {
    /// The reader of a client that may send messages of up to `max_message` bytes.
    pub fn new(
        outbox: Arc<Outbox>,
        hooks: Arc<dyn EngineHooks>,
        pipe: Arc<Pipe>,
        max_message: usize,
    ) -> Self {
        ClientReader {
            outbox,
            hooks,
            pipe,
            messages: ClientMessages::new(max_message),
            socket: None,
            unread: Vec::new(),
            incomplete: None,
            wait: None,
            pause: None,
            passed: true,
            max_message,
            held: 0,
        }
    }

    /// Reads until the session ends. What the client's last packet asked for is carried out even
    /// then.
    pub async fn run(mut self) {
        poll_fn(|cx| self.poll_all(cx)).await;
        self.pipe.end();
        let wait = self.wait.take();
        drop(self);
        if let Some(wait) = wait {
            wait.await;
        }
    }

    /// Handles what the client sent, until the session ends.
    fn poll_all(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let awaits_engine = self.passed && self.pipe.awaits_engine();
        if !self.outbox.is_read(cx.waker(), !self.unread.is_empty(), awaits_engine) {
            return Poll::Ready(());
        }
        let mut turn = TURN;
        loop {
            if !self.may_hold() {
                return Poll::Ready(());
            }
            if !ready!(self.poll_permission(cx)) {
                return Poll::Ready(());
            }
            if turn == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !self.unread.is_empty() && self.handle_unread(&mut turn) {
                continue;
            }
            if let Step::End = ready!(self.poll_more(cx, &mut turn)) {
                return Poll::Ready(());
            }
        }
    }

    /// Whether the server may hold what it holds of the client: an incomplete message, the
    /// attachments of an incomplete packet, and what follows a packet that is waited for.
    fn may_hold(&mut self) -> bool {
        let packet = self.incomplete.as_ref().map_or(0, |packet| packet.text.len() + packet.size);
        let bytes = self.unread.capacity() + self.messages.held() + packet;
        let bytes = if bytes <= UNCOUNTED { 0 } else { bytes };
        if bytes > self.held || (bytes == 0 && self.held > 0) {
            self.held = bytes;
            return self.hooks.may_hold(bytes);
        }
        true
    }

    /// Waits until the next packet may be handled; false where the session is over.
    fn poll_permission(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        loop {
            for wait in [&mut self.wait, &mut self.pause] {
                if wait.as_mut().is_some_and(|wait| wait.as_mut().poll(cx).is_pending()) {
                    self.pipe.answer_due_heartbeat(cx);
                    return Poll::Pending;
                }
                *wait = None;
            }
            if self.outbox.is_failing() {
                return Poll::Ready(false);
            }
            if !self.passed {
                return Poll::Ready(true);
            }
            match ready!(self.pipe.poll_permission(cx)) {
                Permission::Granted => self.passed = false,
                Permission::After(wait) => self.wait = wait,
                Permission::Over => return Poll::Ready(false),
            }
        }
    }

    /// Takes more bytes of the client, and handles those that come from a socket.
    fn poll_more(&mut self, cx: &mut Context<'_>, turn: &mut usize) -> Poll<Step> {
        if let Some(socket) = self.socket.clone() {
            return self.poll_socket(&socket, cx, turn);
        }
        let bytes = self.outbox.client_bytes();
        // It is agreed on before a socket's first bytes are there.
        self.messages.set_deflate(self.outbox.is_compressed());
        Poll::Ready(match bytes {
            ClientBytes::Taken(bytes) if self.unread.is_empty() => {
                self.unread = bytes;
                Step::More
            }
            ClientBytes::Taken(bytes) => {
                self.unread.extend_from_slice(&bytes);
                Step::More
            }
            ClientBytes::Socket(socket) => {
                self.socket = Some(socket);
                Step::More
            }
            ClientBytes::None => return Poll::Pending,
            ClientBytes::End => Step::End,
        })
    }

    fn poll_socket(
        &mut self,
        socket: &TcpStream,
        cx: &mut Context<'_>,
        turn: &mut usize,
    ) -> Poll<Step> {
        let read = socket::poll_read(socket, cx, |bytes| {
            let used = match self.unread.is_empty() {
                true => self.handle(bytes, turn),
                false => 0,
            };
            self.unread.extend_from_slice(&bytes[used..]);
        });
        Poll::Ready(match ready!(read) {
            Ok(n) if n > 0 => Step::More,
            Ok(_) | Err(_) => Step::End,
        })
    }

    /// Handles what was read before; false where that is not a whole message.
    fn handle_unread(&mut self, turn: &mut usize) -> bool {
        let mut unread = std::mem::take(&mut self.unread);
        let used = self.handle(&mut unread, turn);
        if used < unread.len() {
            unread.drain(..used);
            self.unread = unread;
        }
        used > 0
    }

    /// Handles messages until one must be waited for; returns the number of bytes that they had.
    fn handle(&mut self, bytes: &mut [u8], turn: &mut usize) -> usize {
        let (all, before) = (bytes.len(), *turn);
        let mut counted = Traffic::default();
        let mut rest = bytes;
        while *turn > 0 && !self.passed && self.wait.is_none() && self.pause.is_none() {
            match self.messages.next(&mut rest) {
                Ok(Some(message)) => {
                    let (bytes, received) = (message.payload.len(), message.received);
                    *turn = turn.saturating_sub(1 + bytes.max(received) / UNIT);
                    counted.add(bytes);
                    self.on_message(message);
                    if bytes > received {
                        self.pause = self.hooks.on_inflated(bytes - received);
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    self.hooks.on_violation(error);
                    return all;
                }
            }
            if self.outbox.is_failing() {
                break;
            }
        }
        if *turn < before {
            self.outbox.count_received(counted);
            self.hooks.on_turn_end();
        }
        all - rest.len()
    }

    fn on_message(&mut self, message: Message<'_>) {
        let payload = &*message.payload;
        match message.opcode {
            Opcode::Text if payload.first() == Some(&b'b') => return self.on_base64(payload),
            Opcode::Text => return self.on_text(payload),
            Opcode::Binary if self.outbox.parser() == Parser::Msgpack => {
                return self.on_msgpack(self.without_type(payload));
            }
            Opcode::Binary if self.incomplete.is_some() => {
                return self.on_attachment(self.without_type(payload));
            }
            // RFC 6455, section 5.5.2.
            Opcode::Ping => {
                self.outbox.send(Arc::new(Encoded::pong_frame(payload)));
                return;
            }
            Opcode::Pong => return,
            Opcode::Close => self.outbox.set_close_code(CloseCode::answer(payload)),
            Opcode::Binary | Opcode::Continuation => {}
        }
        self.pass(message.opcode, payload, false);
    }

    /// A binary message without the type byte that comes first in revision 3 (Engine.IO protocol,
    /// revision 3, "Binary packets").
    fn without_type<'a>(&self, message: &'a [u8]) -> &'a [u8] {
        let type_bytes = usize::from(self.outbox.revision() == Revision::V3);
        &message[type_bytes.min(message.len())..]
    }

    /// A binary message as text, of a client that does not send binary frames.
    fn on_base64(&mut self, text: &[u8]) {
        let revision = self.outbox.revision();
        match payload::decode_base64(text, revision) {
            Some(Ok(bytes)) if self.outbox.parser() == Parser::Msgpack => self.on_msgpack(&bytes),
            Some(Ok(bytes)) if self.incomplete.is_some() => self.on_attachment(&bytes),
            Some(Ok(bytes)) => {
                let typed = [&[MESSAGE_V3][..], &bytes].concat();
                let start = usize::from(revision == Revision::V4);
                self.pass(Opcode::Binary, &typed[start..], false);
            }
            Some(Err(_)) => self.hooks.on_malformed(&PacketError::Base64),
            None => self.pass(Opcode::Text, text, false),
        }
    }

    fn on_text(&mut self, text: &[u8]) {
        match text.strip_prefix(b"4") {
            None => self.on_control(text),
            Some(_) if self.outbox.parser() == Parser::Msgpack => {
                self.hooks.on_malformed(&PacketError::Text);
            }
            Some(_) if self.incomplete.is_some() => {
                self.hooks.on_malformed(&PacketError::AttachmentExpected);
            }
            Some(packet) => match self.on_packet(packet) {
                Receiver::Client => {}
                Receiver::Engine { answers } => self.pass(Opcode::Text, text, answers),
            },
        }
    }

    /// A packet of Engine.IO that is no message.
    fn on_control(&mut self, text: &[u8]) {
        match text {
            [kind, ..] if payload::is_ignored(char::from(*kind)) => {}
            // Node's server answers a ping of revision 3 whatever follows its type.
            [b'2', ..] if self.outbox.revision() == Revision::V3 => {
                self.pass(Opcode::Text, b"2", false);
            }
            _ => self.pass(Opcode::Text, text, false),
        }
    }

    /// The engine handles a packet; where it `answers`, the client's next one is for after that.
    fn pass(&mut self, opcode: Opcode, payload: &[u8], answers: bool) {
        // What is not passed was parsed, so it is UTF-8 (RFC 6455, section 8.1).
        if opcode == Opcode::Text && std::str::from_utf8(payload).is_err() {
            return self.hooks.on_violation(FrameError::Utf8);
        }
        self.pipe.pass(opcode, payload, answers);
        self.passed = true;
    }
}
