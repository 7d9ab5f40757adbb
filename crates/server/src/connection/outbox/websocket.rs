//! An outbox whose session a WebSocket carries: writing, stalls, the end of the socket.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::net::TcpStream;

use super::carrier::Carrier;
use super::{Entry, Outbox, Phase, State};
use crate::telemetry::metrics::Disconnected;
use rookery_protocol::Revision;
use rookery_protocol::frames::{Opcode, put_frame};

/// Entries gathered in one vectored write.
const GATHER: usize = 64;

/// How long the client may take to close its side after a Close frame, so that the kernel does
/// not throw away what it had not read yet.
const LINGER: Duration = Duration::from_secs(2);

/// The kernel reports a socket as writable below this many unsent bytes, so that a stalled
/// client shows soon.
const NOTSENT_LOWAT: u32 = 128 << 10;

/// The send buffer of a client's socket. The kernel doubles it for its bookkeeping.
const SEND_BUFFER: usize = 256 << 10;

/// A Close frame with status 1000 (RFC 6455, section 7.4.1).
pub(super) fn close_frame() -> Bytes {
    let mut frame = Vec::with_capacity(4);
    put_frame(&mut frame, Opcode::Close, &1000u16.to_be_bytes());
    frame.into()
}

impl Outbox {
    /// Puts the session on a WebSocket, whose handshake is done. `read` is what was read of the
    /// socket beyond it. What waited is written first. False: the session had ended.
    pub fn attach(self: &Arc<Self>, socket: TcpStream, read: &[u8]) -> bool {
        // Refusals of these options leave the kernel's defaults, which are only less tight.
        let options = socket2::SockRef::from(&socket);
        let _ = options.set_tcp_nodelay(true);
        let _ = options.set_send_buffer_size(SEND_BUFFER);
        let _ = options.set_tcp_notsent_lowat(NOTSENT_LOWAT);
        // The listener's, for HTTP; from here the outbox sees to stalls.
        let _ = options.set_tcp_user_timeout(None);

        let mut state = self.state.lock();
        if state.phase != Phase::Open {
            return false;
        }
        if let Carrier::Polling(mut polling) =
            std::mem::replace(&mut state.carrier, Carrier::WebSocket(Arc::new(socket)))
        {
            polling.wake();
        }
        state.inbound.extend_from_slice(read);
        state.wake_reader();
        self.flush(&mut state);
        self.after_push(&mut state, 0);
        true
    }

    /// Writes what waits until the kernel takes no more. An error ends the session.
    pub(super) fn flush(&self, state: &mut State) {
        while !state.queue.is_empty() {
            let Carrier::WebSocket(socket) = &state.carrier else { return };
            let mut slices = [IoSlice::new(&[]); GATHER];
            let mut gathered = 0;
            for (slice, entry) in slices.iter_mut().zip(state.queue.iter()) {
                *slice = IoSlice::new(entry.websocket(self.revision));
                gathered += 1;
            }
            match socket.try_write_vectored(&slices[..gathered]) {
                Ok(n) => self.written(state, n),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => return self.end(state, Disconnected::TransportError),
            }
        }
    }

    fn written(&self, state: &mut State, mut n: usize) {
        let now = Instant::now();
        while n > 0 {
            let Some(first) = state.queue.front() else { return };
            let bytes = first.websocket(self.revision);
            if n < bytes.len() {
                let rest = bytes.slice(n..);
                return state.queue.cut(rest);
            }
            n -= bytes.len();
            if let Some(stamp) = state.queue.pop().as_ref().and_then(Entry::stamp) {
                self.around.ledger.written(stamp, 1, &[now]);
            }
        }
    }

    /// Starts the task that writes what waits; it exists only while something waits.
    pub(super) fn spawn_flush(self: &Arc<Self>, state: &mut State) {
        if state.flushing {
            return;
        }
        let Carrier::WebSocket(socket) = &state.carrier else { return };
        state.flushing = true;
        let flush = self.clone().flush_all(socket.clone());
        self.around.tracker.spawn_on(flush, &self.around.runtime);
    }

    async fn flush_all(self: Arc<Self>, socket: Arc<TcpStream>) {
        loop {
            let stall = self.around.bounds.write_stall();
            let writable = tokio::time::timeout(stall, socket.writable()).await;
            let mut state = self.state.lock();
            match writable {
                Ok(Ok(())) => self.flush(&mut state),
                Ok(Err(_)) => self.end(&mut state, Disconnected::TransportError),
                Err(_) => self.end(&mut state, Disconnected::Slow),
            }
            if state.queue.is_empty() {
                state.flushing = false;
                if let Phase::Finishing(reason) = state.phase {
                    self.end(&mut state, reason);
                }
                return;
            }
        }
    }

    /// Closes the socket: by a reset where the client does not read, else after it has had the
    /// time to read what was sent.
    pub(super) fn hang_up(&self, socket: Arc<TcpStream>, reason: Disconnected) {
        let options = socket2::SockRef::from(&*socket);
        if reason == Disconnected::Slow {
            // Without it the kernel would go on for minutes to offer what is not read.
            let _ = options.set_linger(Some(Duration::ZERO));
            let _ = options.shutdown(std::net::Shutdown::Read);
            return;
        }
        let _ = options.shutdown(std::net::Shutdown::Write);
        let linger = async move {
            let mut sink = [0; 512];
            let drain = async {
                while let Ok(()) = socket.readable().await {
                    match socket.try_read(&mut sink) {
                        Ok(0) => return,
                        Err(e) if e.kind() != io::ErrorKind::WouldBlock => return,
                        _ => {}
                    }
                }
            };
            let _ = tokio::time::timeout(LINGER, drain).await;
        };
        self.around.tracker.spawn_on(linger, &self.around.runtime);
    }
}

impl Entry {
    fn websocket(&self, revision: Revision) -> &Bytes {
        match self {
            Entry::Whole(encoded, _) => encoded.websocket(revision),
            Entry::Rest(bytes, _) => bytes,
        }
    }
}
