//! The [`Transport`] of a session: long-polling or a WebSocket.

use std::io;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use rustix::net::SendFlags;
use tokio::net::TcpStream;

/// The current transport of a session.
pub(super) enum Transport {
    Polling(Polling),
    WebSocket(Arc<TcpStream>),
    Closed,
}

/// The state of a session on long-polling.
#[derive(Default)]
pub(super) struct Polling {
    /// The GET that waits for packets; at most one.
    pub(super) waiting: Option<WaitingGet>,
    /// The client tries to move to a WebSocket.
    pub(super) upgrading: bool,
    /// A GET was cancelled during that try. The session ends unless the try succeeds.
    pub(super) cancelled: bool,
    /// Bytes of the last answer to a GET.
    pub(super) answered: usize,
    /// Since when packets are known to wait without a GET.
    pub(super) stalled: Option<Instant>,
}

/// A GET that waits for packets.
#[derive(Default)]
pub(super) struct WaitingGet {
    /// Wakes the GET's task; `None` until it is first polled.
    pub(super) waker: Option<Waker>,
    /// It is answered with `6` where no packet waits.
    pub(super) noop: bool,
}

impl Transport {
    /// Long-polling without a waiting GET: what every session starts with.
    pub(super) fn polling() -> Self {
        Transport::Polling(Polling::default())
    }
}

impl Polling {
    /// Wakes the waiting GET, if any.
    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waiting.as_mut().and_then(|waiting| waiting.waker.take()) {
            waker.wake();
        }
    }
}

/// Hands bytes to the kernel, as many as it takes now. Unlike the runtime's own call this needs
/// neither the runtime's readiness state nor its locks.
pub(super) fn send(socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?)
}
