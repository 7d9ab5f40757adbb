//! What carries a session at the moment.

use std::io;
use std::sync::Arc;
use std::task::Waker;

use rustix::net::SendFlags;
use tokio::net::TcpStream;

/// What carries a session.
pub(super) enum Carrier {
    Polling(Polling),
    WebSocket(Arc<TcpStream>),
    Closed,
}

/// Long-polling: whether a GET waits, and whether a WebSocket is being tried beside it.
#[derive(Default)]
pub(super) struct Polling {
    /// The GET that waits; at most one.
    pub(super) waiting: Option<Waiting>,
    /// After `2probe`: packets wait in the outbox until the client's `5`.
    pub(super) probing: bool,
}

#[derive(Default)]
pub(super) struct Waiting {
    pub(super) waker: Option<Waker>,
}

impl Carrier {
    pub(super) fn polling() -> Self {
        Carrier::Polling(Polling::default())
    }
}

impl Polling {
    /// Lets the waiting GET look again.
    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waiting.as_mut().and_then(|w| w.waker.take()) {
            waker.wake();
        }
    }
}

/// Hands bytes to the kernel, as many as it takes now. Unlike the runtime's own call this asks the
/// kernel alone, and needs nothing of the runtime's state of the socket.
pub(super) fn send(socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?)
}
