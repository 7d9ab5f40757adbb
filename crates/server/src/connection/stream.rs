//! The [`SessionStream`]: the byte stream that the protocol engine takes for a WebSocket, whatever
//! the transport is.

pub(crate) mod connect_query;
mod hooks;
mod outgoing;
mod pipe;
mod reader;
mod socket;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::outbox::{Ending, Outbox};
use crate::telemetry::metrics::Disconnected;
pub use hooks::{EngineHooks, PacketAction};
use outgoing::Outgoing;
use pipe::Pipe;
use reader::ClientReader;

/// The engine's side of a session. What it reads is what a client sends, but for events and
/// acknowledgements of namespaces that the client is connected to: those are handled by the hooks,
/// in a task that reads the client. What it writes goes to the session's outbox, packet by packet;
/// a write never waits, because the outbox enforces limits and detects stalls.
pub struct SessionStream {
    /// Boxed because the engine's futures reserve space for the stream several times.
    inner: Box<Inner>,
}

struct Inner {
    outbox: Arc<Outbox>,
    hooks: Arc<dyn EngineHooks>,
    pipe: Arc<Pipe>,
    outgoing: Outgoing,
}

impl SessionStream {
    /// The stream of a session whose client may send messages of up to `max_message` bytes. Starts
    /// the task that reads the client, on the session's shard.
    pub fn new(outbox: Arc<Outbox>, hooks: Arc<dyn EngineHooks>, max_message: usize) -> Self {
        let pipe = Pipe::new(outbox.revision());
        let reader = ClientReader::new(outbox.clone(), hooks.clone(), pipe.clone(), max_message);
        outbox.spawn(reader.run());
        let inner = Inner { outbox, hooks, pipe, outgoing: Outgoing::default() };
        SessionStream { inner: Box::new(inner) }
    }
}

impl AsyncRead for SessionStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.inner.pipe.poll_read(cx, buf).map(Ok)
    }
}

impl AsyncWrite for SessionStream {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Inner { outbox, hooks, pipe, outgoing } = &mut *self.get_mut().inner;
        Poll::Ready(outgoing.write(outbox, &**hooks, pipe, bytes))
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
        let Inner { outbox, hooks, pipe, .. } = &mut *self.inner;
        let gave_up = !pipe.drop_stream() && outbox.ending().is_none();
        hooks.on_close(gave_up);
        if gave_up {
            outbox.close_soon(Disconnected::TransportError);
        } else {
            outbox.close(Disconnected::TransportError, Ending::Finish);
        }
    }
}
