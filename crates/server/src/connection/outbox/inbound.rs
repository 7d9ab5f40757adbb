//! What the protocol engine reads of a session, whatever carries it.

use std::sync::Arc;
use std::task::Waker;

use bytes::{Buf, BytesMut};
use tokio::io::ReadBuf;
use tokio::net::TcpStream;

use super::carrier::Carrier;
use super::{Outbox, Phase};
use rookery_protocol::frames::{Opcode, put_client_frame};

/// Where the engine's next bytes are.
pub enum ReadFrom {
    /// They were put into the buffer.
    Taken,
    /// There will be none: the session ends.
    End,
    /// Nowhere yet; the waker is kept.
    Wait,
    /// In this socket.
    Socket(Arc<TcpStream>),
}

impl Outbox {
    /// Gives the engine what waits for it. `held`: bytes of the client have to wait.
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
        match &state.carrier {
            Carrier::WebSocket(socket) => ReadFrom::Socket(socket.clone()),
            Carrier::Polling(_) => ReadFrom::Wait,
            Carrier::Closed => ReadFrom::End,
        }
    }

    /// Lets the engine read this packet before anything of the client's.
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
