//! What the protocol engine reads from a session, on either transport.

use std::sync::Arc;
use std::task::Waker;

use bytes::{Buf, BytesMut};
use tokio::io::ReadBuf;
use tokio::net::TcpStream;

use super::transport::Transport;
use super::{Outbox, Phase};
use rookery_protocol::frames::{Opcode, put_client_frame};

/// Where the engine's next bytes are.
pub enum ReadFrom {
    /// They were put into the buffer.
    Taken,
    /// There will be none: the session is ending.
    End,
    /// There are none yet; the waker is called when there are.
    Wait,
    /// The socket has them.
    Socket(Arc<TcpStream>),
}

impl Outbox {
    /// Gives the engine the bytes that wait for it. While `held` is true, the client's bytes are
    /// kept back.
    pub fn read_from(&self, waker: &Waker, held: bool, buf: &mut ReadBuf<'_>) -> ReadFrom {
        let mut state = self.state.lock();
        let ending = state.phase != Phase::Open;
        if ending && (held || !state.client_closed || state.inbound.is_empty()) {
            return ReadFrom::End;
        }
        if !state.reader.as_ref().is_some_and(|w| w.will_wake(waker)) {
            state.reader = Some(waker.clone());
        }
        if held {
            return ReadFrom::Wait;
        }
        if !state.inbound.is_empty() {
            let n = state.inbound.len().min(buf.remaining());
            buf.put_slice(&state.inbound[..n]);
            state.inbound.advance(n);
            if state.inbound.is_empty() {
                state.inbound = BytesMut::new();
                if let Some(feeder) = state.feeder.take() {
                    feeder.wake();
                }
            }
            return ReadFrom::Taken;
        }
        match &state.transport {
            Transport::WebSocket(socket) => ReadFrom::Socket(socket.clone()),
            Transport::Polling(_) => ReadFrom::Wait,
            Transport::Closed => ReadFrom::End,
        }
    }

    /// Lets the engine read this packet before any further bytes of the client.
    pub fn answer_engine(&self, text: &[u8]) {
        let mut frame = Vec::with_capacity(text.len() + 6);
        put_client_frame(&mut frame, Opcode::Text, text);
        let mut state = self.state.lock();
        frame.extend_from_slice(&state.inbound);
        state.inbound = BytesMut::from(&frame[..]);
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
    }
}
