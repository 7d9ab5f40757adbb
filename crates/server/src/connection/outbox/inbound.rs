//! What a client sent and was not yet read, on either transport.

use std::sync::Arc;
use std::task::Waker;

use tokio::net::TcpStream;

use super::transport::Transport;
use super::{Outbox, Phase};
use crate::telemetry::metrics::Traffic;

/// Where the client's next bytes are.
pub enum ClientBytes {
    /// The frames of POSTs, or what came with the request for a WebSocket.
    Taken(Vec<u8>),
    /// The socket has them.
    Socket(Arc<TcpStream>),
    /// There are none yet; the waker of [`Outbox::is_read`] is called when there are.
    None,
    /// There will be none: the session is ending.
    End,
}

impl Outbox {
    /// Whether the client's packets are still read: until the session ends, or, where the client
    /// closed it by a POST, up to the packets before that. `unread` says whether some were taken
    /// and not handled, `awaits_engine` whether they wait for the engine, which writes nothing any
    /// more. The waker is called when the client sends more, and when the session ends.
    pub fn is_read(&self, waker: &Waker, unread: bool, awaits_engine: bool) -> bool {
        let mut state = self.state.lock();
        if state.phase != Phase::Open {
            let rest = unread || !state.inbound.is_empty();
            return state.client_closed && rest && !awaits_engine;
        }
        if !state.reader.as_ref().is_some_and(|w| w.will_wake(waker)) {
            state.reader = Some(waker.clone());
        }
        true
    }

    /// Whether the session is ending, and the client did not close it: what it sent is not
    /// handled any more.
    pub fn is_failing(&self) -> bool {
        let state = self.state.lock();
        state.phase != Phase::Open && !state.client_closed
    }

    /// The client's next bytes. A POST that waits for these to be taken goes on.
    pub fn client_bytes(&self) -> ClientBytes {
        let mut state = self.state.lock();
        if !state.inbound.is_empty() {
            if let Some(feeder) = state.feeder.take() {
                feeder.wake();
            }
            return ClientBytes::Taken(std::mem::take(&mut state.inbound));
        }
        match &state.transport {
            _ if state.phase != Phase::Open => ClientBytes::End,
            Transport::WebSocket(socket) => ClientBytes::Socket(socket.clone()),
            Transport::Polling(_) => ClientBytes::None,
            Transport::Closed => ClientBytes::End,
        }
    }

    /// Counts what the client sent.
    pub fn count_received(&self, traffic: Traffic) {
        self.context.recorder.received(traffic);
    }

    /// Runs a task of the session on the shard's runtime.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.context.tracker.spawn_on(task, &self.context.runtime);
    }
}
