//! How an outbox ends its session: gracefully, or at once.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::packet::Packet;
use super::transport::Transport;
use super::{Ending, Outbox, Phase, State};
use crate::telemetry::metrics::{Disconnected, Outcome};
use rookery_protocol::encoded::Encoded;
use rookery_protocol::frames::CloseCode;

impl Outbox {
    /// Sets the status code of the Close frame that ends a WebSocket, which is 1000 otherwise;
    /// `None` is a frame without one.
    pub fn set_close_code(&self, code: Option<CloseCode>) {
        self.state.lock().close_code = code;
    }

    /// Ends the session. The reason of the first call stays.
    pub fn close(self: &Arc<Self>, reason: Disconnected, ending: Ending) {
        let mut state = self.state.lock();
        match (state.phase, ending) {
            (Phase::Open, Ending::Finish) => self.finish(&mut state, reason),
            (Phase::Open, Ending::Abort) => self.end(&mut state, reason),
            (Phase::Finishing(first), Ending::Abort) => self.end(&mut state, first),
            _ => {}
        }
    }

    /// Ends the session after what waits is written, unless a task that is ready to run on the
    /// shard's runtime ends it first, with a more specific reason.
    pub fn close_soon(self: &Arc<Self>, reason: Disconnected) {
        let outbox = self.clone();
        let close = async move {
            tokio::task::yield_now().await;
            outbox.close(reason, Ending::Finish);
        };
        self.context.tracker.spawn_on(close, &self.context.runtime);
    }

    fn finish(self: &Arc<Self>, state: &mut State, reason: Disconnected) {
        state.phase = Phase::Finishing(reason);
        state.wake_reader();
        if let Transport::WebSocket(_) = state.transport {
            self.finish_socket(state, reason);
        } else if matches!(reason, Disconnected::TransportError | Disconnected::PingTimeout) {
            // The client broke the protocol or went silent: it will not poll again.
            self.end(state, reason);
        } else {
            if let Transport::Polling(polling) = &mut state.transport {
                polling.wake();
            }
            self.end_later(state, reason);
        }
    }

    /// Ends a session on a WebSocket once what waits and a Close frame are written.
    pub(super) fn finish_socket(self: &Arc<Self>, state: &mut State, reason: Disconnected) {
        state.queue.push(Packet::untagged(Arc::new(Encoded::close_frame(state.close_code))));
        if !state.flushing {
            self.flush(state);
        }
        if state.queue.is_empty() {
            self.end(state, reason);
        } else {
            self.spawn_flush(state);
        }
    }

    /// Ends the session after the write stall, unless the client polls for what waits first, or
    /// moves to a WebSocket.
    fn end_later(self: &Arc<Self>, state: &mut State, reason: Disconnected) {
        let outbox = Arc::downgrade(self);
        let stall = self.context.limits.write_stall();
        let cancelled = CancellationToken::new();
        state.deadline = Some(cancelled.clone());
        let deadline = async move {
            if cancelled.run_until_cancelled(tokio::time::sleep(stall)).await.is_some()
                && let Some(outbox) = outbox.upgrade()
            {
                outbox.end(&mut outbox.state.lock(), reason);
            }
        };
        self.context.tracker.spawn_on(deadline, &self.context.runtime);
    }

    /// Closes the transport and counts what was never written. Idempotent.
    pub(super) fn end(&self, state: &mut State, reason: Disconnected) {
        if let Phase::Ended(_) = state.phase {
            return;
        }
        // The first reason is the one that is counted; this one decides how the socket is closed.
        let counted = state.phase.reason().unwrap_or(reason);
        state.phase = Phase::Ended(counted);
        let unsent_bytes = state.queue.bytes();
        let unsent = state.queue.clear();
        if unsent > 0 {
            let outcome = match counted {
                Disconnected::Slow => Outcome::DroppedSlow,
                _ => Outcome::Gone,
            };
            self.context.recorder.dropped(outcome, unsent as u64);
        }
        match std::mem::replace(&mut state.transport, Transport::Closed) {
            Transport::WebSocket(socket) => self.close_socket(socket, reason),
            Transport::Polling(mut polling) => polling.wake(),
            Transport::Closed => {}
        }
        state.wake_reader();
        if let Some(deadline) = state.deadline.take() {
            deadline.cancel();
        }
        if let Some(on_close) = state.on_close.take() {
            let closed = async move { on_close(counted, unsent_bytes) };
            self.context.tracker.spawn_on(closed, &self.context.runtime);
        }
    }
}
