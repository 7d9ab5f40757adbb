//! An outbox on a WebSocket: writing what waits, stalls, and closing the socket.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::queue::QueuedPacket;
use super::transport::Transport;
use super::{Outbox, Phase, State};
use crate::connection::linger::linger;
use crate::telemetry::metrics::Disconnected;

/// Packets in one vectored write.
const MAX_SLICES: usize = 64;

/// The kernel reports a socket as writable below this many unsent bytes, so that a stalled client
/// is noticed early. Bytes.
const NOTSENT_LOWAT: u32 = 128 << 10;

/// The send buffer of a client's socket, in bytes. The kernel doubles it for its bookkeeping.
const SEND_BUFFER: usize = 256 << 10;

/// The receive buffer of a client's socket, in bytes. Without a limit, the kernel takes megabytes
/// for a client whose packets must wait. The kernel doubles it for its bookkeeping.
const RECEIVE_BUFFER: usize = 128 << 10;

impl Outbox {
    /// Moves the session to a WebSocket whose handshake is done. `read` holds the bytes that were
    /// read from the socket after the handshake. What waits is written first, also where the session
    /// is ending: a client that completes its upgrade does not poll for the rest. Returns false
    /// where the session has ended.
    pub fn attach(self: &Arc<Self>, socket: TcpStream, read: &[u8]) -> bool {
        // Where the kernel refuses an option, its defaults do, with larger buffers.
        let options = socket2::SockRef::from(&socket);
        let _ = options.set_tcp_nodelay(true);
        let _ = options.set_send_buffer_size(SEND_BUFFER);
        let _ = options.set_recv_buffer_size(RECEIVE_BUFFER);
        let _ = options.set_tcp_notsent_lowat(NOTSENT_LOWAT);
        // The listener set it for HTTP; from here on the outbox detects stalls.
        let _ = options.set_tcp_user_timeout(None);

        let mut state = self.state.lock();
        let Transport::Polling(polling) = &mut state.transport else { return false };
        polling.wake();
        state.transport = Transport::WebSocket(Arc::new(socket));
        match state.phase {
            Phase::Open => {
                state.inbound.extend_from_slice(read);
                state.wake_reader();
                self.flush(&mut state);
                self.after_push(&mut state, 0);
            }
            Phase::Finishing(reason) => {
                if let Some(deadline) = state.deadline.take() {
                    deadline.cancel();
                }
                self.finish_socket(&mut state, reason);
            }
            Phase::Ended(_) => return false,
        }
        true
    }

    /// Writes what waits until the kernel takes no more. An error ends the session.
    pub(super) fn flush(&self, state: &mut State) {
        while !state.queue.is_empty() {
            let Transport::WebSocket(socket) = &state.transport else { return };
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let mut gathered = 0;
            for (slice, packet) in slices.iter_mut().zip(state.queue.iter()) {
                *slice = IoSlice::new(packet.unwritten(state.queue.form()));
                gathered += 1;
            }
            match socket.try_write_vectored(&slices[..gathered]) {
                Ok(n) => self.written(state, n),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => return self.end(state, Disconnected::TransportError),
            }
        }
    }

    /// Removes the first `n` bytes of the queue, which the kernel took.
    fn written(&self, state: &mut State, mut n: usize) {
        let now = Instant::now();
        while n > 0 {
            let Some(first) = state.queue.front() else { return };
            let left = first.unwritten(state.queue.form()).len();
            if n < left {
                return state.queue.advance(n);
            }
            n -= left;
            if let Some(tag) = state.queue.pop().as_ref().and_then(QueuedPacket::tag) {
                self.context.recorder.written(tag, 1, &[now]);
            }
        }
    }

    /// Starts the task that writes what waits, unless it is running. It ends when the queue is empty.
    pub(super) fn spawn_flush(self: &Arc<Self>, state: &mut State) {
        if state.flushing {
            return;
        }
        let Transport::WebSocket(socket) = &state.transport else { return };
        state.flushing = true;
        let flush = self.clone().flush_all(socket.clone());
        self.context.tracker.spawn_on(flush, &self.context.runtime);
    }

    async fn flush_all(self: Arc<Self>, socket: Arc<TcpStream>) {
        loop {
            let stall = self.context.limits.write_stall();
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

    /// Closes the socket: with a reset where the client does not read, otherwise after the client
    /// had time to read what was sent.
    pub(super) fn close_socket(&self, socket: Arc<TcpStream>, reason: Disconnected) {
        let options = socket2::SockRef::from(&*socket);
        if reason == Disconnected::Slow {
            // Without a reset the kernel would retransmit for minutes.
            let _ = options.set_linger(Some(Duration::ZERO));
            let _ = options.shutdown(std::net::Shutdown::Read);
            return;
        }
        let _ = options.shutdown(std::net::Shutdown::Write);
        let ended = async move { linger(&socket).await };
        self.context.tracker.spawn_on(ended, &self.context.runtime);
    }
}
