//! The [`Pipe`] from a client's reader to the engine.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, BytesMut};
use parking_lot::Mutex;
use tokio::io::ReadBuf;

use crate::connection::Wait;
use rookery_protocol::Revision;
use rookery_protocol::frames::{Opcode, put_client_frame};

/// The client's answer to a heartbeat of revision 4.
pub(super) const PONG: &[u8] = b"3";

/// What passes between the reader of a client's packets and the engine, which run in different tasks
/// of the session's shard.
pub(super) struct Pipe {
    state: Mutex<State>,
}

struct State {
    /// Frames that the engine reads next.
    frames: BytesMut,
    /// Wakes the engine's read.
    engine: Option<Waker>,
    /// Wakes the reader.
    reader: Option<Waker>,
    /// What the reader waits for.
    awaited: Option<Awaited>,
    /// What the last CONNECT leaves to be waited for.
    wait: Wait,
    /// The engine waits for the client's answer to a heartbeat.
    heartbeat_due: bool,
    /// The client closed the session, by a Close frame or by Engine.IO's `1`.
    client_closed: bool,
    /// Nothing more is read from the client.
    ended: bool,
    /// The engine has dropped the stream.
    dropped: bool,
}

/// What the reader waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    /// The engine's first heartbeat, which is answered on the client's behalf.
    FirstHeartbeat,
    /// The engine's answer to a CONNECT.
    Connect,
    /// That the engine has read everything.
    Read,
}

/// Whether a reader goes on.
pub(super) enum Permission {
    /// It may handle the client's next packet.
    Granted,
    /// It may once this is done.
    After(Wait),
    /// The engine has dropped the stream: the session is over.
    Over,
}

impl Pipe {
    /// The pipe of a new session. In revision 3 the engine connects every client to the namespace
    /// `/` by itself.
    pub fn new(revision: Revision) -> Arc<Self> {
        let awaited = match revision {
            Revision::V4 => Awaited::FirstHeartbeat,
            Revision::V3 => Awaited::Connect,
        };
        let state = State {
            frames: BytesMut::new(),
            engine: None,
            reader: None,
            awaited: Some(awaited),
            wait: None,
            heartbeat_due: false,
            client_closed: false,
            ended: false,
            dropped: false,
        };
        Arc::new(Pipe { state: Mutex::new(state) })
    }

    /// The engine reads. Returns no bytes at the end.
    pub fn poll_read(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        let n = state.frames.len().min(buf.remaining());
        buf.put_slice(&state.frames[..n]);
        state.frames.advance(n);
        if n > 0 {
            return Poll::Ready(());
        }
        state.frames = BytesMut::new();
        if state.ended {
            return Poll::Ready(());
        }
        // It reads on only after it handled what it has read.
        if state.awaited == Some(Awaited::Read) {
            state.awaited = None;
            wake(&mut state.reader);
        }
        state.engine = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Passes a packet of the client to the engine. The reader waits until the engine has handled
    /// it, and where it is a CONNECT, until it is `answered`.
    pub fn pass(&self, opcode: Opcode, payload: &[u8], answered: bool) {
        let mut state = self.state.lock();
        state.awaited = Some(if answered { Awaited::Connect } else { Awaited::Read });
        state.client_closed |= opcode == Opcode::Close || payload == b"1";
        state.heartbeat_due &= payload != PONG;
        state.put(opcode, payload);
    }

    /// Whether the reader may go on; if not, it is woken when that changes.
    pub fn poll_permission(&self, cx: &mut Context<'_>) -> Poll<Permission> {
        let mut state = self.state.lock();
        if state.dropped {
            return Poll::Ready(Permission::Over);
        }
        if state.awaited.is_some() {
            if !state.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
                state.reader = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        Poll::Ready(match state.wait.take() {
            Some(wait) => Permission::After(Some(wait)),
            None => Permission::Granted,
        })
    }

    /// Whether the reader waits for something that the engine writes.
    pub fn awaits_engine(&self) -> bool {
        matches!(self.state.lock().awaited, Some(Awaited::FirstHeartbeat | Awaited::Connect))
    }

    /// The engine sends a heartbeat. True: it is answered here, and the client does not get it.
    pub fn answers_heartbeat(&self) -> bool {
        let mut state = self.state.lock();
        if state.awaited != Some(Awaited::FirstHeartbeat) {
            state.heartbeat_due = true;
            wake(&mut state.reader);
            return false;
        }
        state.awaited = None;
        state.put(Opcode::Text, PONG);
        wake(&mut state.reader);
        true
    }

    /// The reader has to wait: a client is alive while its answers to heartbeats are not read.
    pub fn answer_due_heartbeat(&self, cx: &mut Context<'_>) {
        let mut state = self.state.lock();
        if std::mem::take(&mut state.heartbeat_due) {
            state.put(Opcode::Text, PONG);
        }
        state.reader = Some(cx.waker().clone());
    }

    /// The engine answered a CONNECT; `wait` ends before the client's next packet is handled.
    pub fn connect_answered(&self, wait: Wait) {
        let mut state = self.state.lock();
        state.wait = wait;
        if state.awaited == Some(Awaited::Connect) {
            state.awaited = None;
        }
        wake(&mut state.reader);
    }

    /// Whether the client closed the session.
    pub fn client_closed(&self) -> bool {
        self.state.lock().client_closed
    }

    /// Nothing more is read from the client.
    pub fn end(&self) {
        let mut state = self.state.lock();
        state.ended = true;
        wake(&mut state.engine);
    }

    /// The engine drops the stream; returns whether the end of the client's bytes was known.
    pub fn drop_stream(&self) -> bool {
        let mut state = self.state.lock();
        state.dropped = true;
        wake(&mut state.reader);
        state.ended
    }
}

impl State {
    fn put(&mut self, opcode: Opcode, payload: &[u8]) {
        let mut frame = Vec::with_capacity(payload.len() + 14);
        put_client_frame(&mut frame, opcode, payload);
        self.frames.extend_from_slice(&frame);
        wake(&mut self.engine);
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}
