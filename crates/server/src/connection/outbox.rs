//! The [`Outbox`]: everything that is for one client, in order, bounded in bytes.

mod closing;
mod inbound;
mod limits;
mod packet;
mod polling;
mod queue;
mod transport;
mod websocket;

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::telemetry::latency::DeliveryRecorder;
use crate::telemetry::metrics::{Disconnected, Outcome, Traffic};
pub use inbound::ClientBytes;
pub use limits::OutboxLimits;
pub use packet::{Packet, PacketBatch};
pub use polling::{NotPolling, Polled};
pub use queue::Backlog;
use queue::Queue;
use rookery_protocol::encoded::Encoded;
use rookery_protocol::frames::{CloseCode, Deflate};
use rookery_protocol::{Parser, Revision};
use transport::Transport;

/// What the outboxes of one shard share.
pub struct OutboxContext {
    /// Limits of a client's queue.
    pub limits: Arc<OutboxLimits>,
    /// The form of Socket.IO packets, both ways.
    pub parser: Parser,
    /// Which messages are compressed for clients that take compressed ones; `None` where none are.
    pub deflate: Option<Deflate>,
    /// Records what becomes of the shard's deliveries.
    pub recorder: Arc<DeliveryRecorder>,
    /// Bytes that wait in all outboxes of the shard.
    pub backlog: Arc<Backlog>,
    /// The shard's runtime, which runs the outboxes' tasks.
    pub runtime: Handle,
    /// Tracks those tasks.
    pub tracker: TaskTracker,
}

/// What a client takes on its WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Binary frames. Otherwise attachments are text, in base64.
    pub binary: bool,
    /// Compressed messages, which it may then send too.
    pub compressed: bool,
}

/// What became of a batch at one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// The kernel took all of it; the caller records the deliveries.
    Written,
    /// It waits, or was dropped; the outbox records the deliveries.
    Kept,
    /// The session has ended and nothing of it will be written; the caller records the loss.
    Gone,
}

/// How a session is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// What waits is written first. Then the transport is closed, at the latest after
    /// `limits.writeStall` without progress.
    Finish,
    /// The transport is closed at once; what waits is dropped and counted.
    Abort,
}

/// Called when an outbox ends, with the reason and the bytes that were never written.
type OnClose = Box<dyn FnOnce(Disconnected, usize) + Send>;

/// Everything that is for one client. Shared as an `Arc`; every method may be called from any
/// thread.
///
/// There is one mutex. With it held, deliveries are recorded in the shard's statistics and in
/// traces; neither waits or calls back. The last tag of a publication ends its span, which goes
/// into a bounded queue or is dropped and counted.
pub struct Outbox {
    revision: Revision,
    context: Arc<OutboxContext>,
    state: Mutex<State>,
}

struct State {
    transport: Transport,
    phase: Phase,
    queue: Queue,
    /// A task that writes the queue to the socket is running.
    flushing: bool,
    /// The client closed the session: a waiting GET is answered with `6` instead of `1`.
    client_closed: bool,
    /// The status code of the Close frame that ends a WebSocket; `None` for a frame without one.
    close_code: Option<CloseCode>,
    /// Bytes of the client that are read before those of a socket.
    inbound: Vec<u8>,
    /// Wakes the reader of the client's packets.
    reader: Option<Waker>,
    /// Wakes the POST that waits for earlier ones to be read.
    feeder: Option<Waker>,
    /// Cancels the deadline of a polling client that still has packets to fetch.
    deadline: Option<CancellationToken>,
    /// `None` once it was called.
    on_close: Option<OnClose>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    Finishing(Disconnected),
    Ended(Disconnected),
}

impl Phase {
    fn reason(self) -> Option<Disconnected> {
        match self {
            Phase::Open => None,
            Phase::Finishing(reason) | Phase::Ended(reason) => Some(reason),
        }
    }
}

impl Outbox {
    /// Bytes that wait for the client.
    pub fn queued_bytes(&self) -> usize {
        self.state.lock().queue.bytes()
    }

    /// The outbox of a session that starts on long-polling.
    pub fn new(revision: Revision, context: Arc<OutboxContext>) -> Arc<Self> {
        let queue = Queue::new(revision, context.parser, context.backlog.clone());
        Arc::new(Outbox {
            revision,
            context,
            state: Mutex::new(State {
                transport: Transport::polling(),
                phase: Phase::Open,
                queue,
                flushing: false,
                client_closed: false,
                close_code: Some(CloseCode::NORMAL),
                inbound: Vec::new(),
                reader: None,
                feeder: None,
                deadline: None,
                on_close: None,
            }),
        })
    }

    /// Sets the callback for the end of the outbox. It is called once, in a task on the shard's
    /// runtime, when nothing can reach the client any more: with the reason, and the bytes that
    /// were never written. Set it before anything is sent.
    pub fn on_close(&self, callback: impl FnOnce(Disconnected, usize) + Send + 'static) {
        self.state.lock().on_close = Some(Box::new(callback));
    }

    /// The form of Socket.IO packets, both ways.
    pub fn parser(&self) -> Parser {
        self.context.parser
    }

    /// The protocol revision that the client speaks.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Sets what the client takes on its WebSocket, before it has one.
    pub fn set_accepted(&self, accepted: Accepted) {
        let deflate = self.context.deflate.filter(|_| accepted.compressed);
        self.state.lock().queue.set_form(!accepted.binary, deflate);
    }

    /// Whether messages on the client's WebSocket may be compressed, both ways.
    pub fn is_compressed(&self) -> bool {
        self.state.lock().queue.form().deflate.is_some()
    }

    /// Why the session is ending or has ended; `None` while it is open.
    pub fn ending(&self) -> Option<Disconnected> {
        self.state.lock().phase.reason()
    }

    /// Delivers publications. On a WebSocket with an empty queue, the kernel gets the shared bytes
    /// at once. Otherwise the packets wait by reference, or, where the queue is full, they are
    /// dropped and counted and the session ends: a client never misses a packet silently.
    pub fn deliver(self: &Arc<Self>, batch: &PacketBatch) -> Delivered {
        let mut state = self.state.lock();
        if state.phase != Phase::Open {
            return Delivered::Gone;
        }
        let (empty, before) = (state.queue.is_empty(), state.queue.bytes());
        if empty && let Transport::WebSocket(socket) = &state.transport {
            let form = state.queue.form();
            let bytes = batch.websocket(form);
            if form.deflate.is_some() {
                self.context.recorder.deflated(batch.size(), bytes.len());
            }
            match transport::send(socket, bytes) {
                Ok(n) if n == bytes.len() => return Delivered::Written,
                Ok(n) => self.queue_rest(&mut state, batch, n),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                    self.queue_batch(&mut state, batch, true);
                }
                Err(_) => {
                    self.end(&mut state, Disconnected::TransportError);
                    return Delivered::Gone;
                }
            }
        } else {
            batch.packets().iter().for_each(|packet| self.count_deflated(&state, &packet.encoded));
            self.queue_batch(&mut state, batch, empty);
        }
        self.after_push(&mut state, before);
        Delivered::Kept
    }

    /// Sends a packet that is no publication: the engine's own, a reply, an ack, a refusal.
    /// Returns false where the session is ending; then nothing was sent.
    pub fn send(self: &Arc<Self>, encoded: Arc<Encoded>) -> bool {
        let mut state = self.state.lock();
        if state.phase != Phase::Open {
            return false;
        }
        let before = state.queue.bytes();
        self.count_sent(encoded.size());
        self.count_deflated(&state, &encoded);
        if let Transport::WebSocket(socket) = &state.transport
            && state.queue.is_empty()
        {
            let bytes = encoded.websocket(state.queue.form());
            match transport::send(socket, bytes) {
                Ok(n) if n == bytes.len() => return true,
                Ok(n) => state.queue.push_rest(Packet::untagged(encoded), n),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                    state.queue.push(Packet::untagged(encoded));
                }
                Err(_) => self.end(&mut state, Disconnected::TransportError),
            }
        } else {
            state.queue.push(Packet::untagged(encoded));
        }
        self.after_push(&mut state, before);
        matches!(state.phase, Phase::Open)
    }

    fn count_sent(&self, bytes: usize) {
        let mut traffic = Traffic::default();
        traffic.add(bytes);
        self.context.recorder.sent(traffic);
    }

    /// Counts a packet for a client that takes compressed messages.
    fn count_deflated(&self, state: &State, encoded: &Encoded) {
        let form = state.queue.form();
        if form.deflate.is_some() && matches!(state.transport, Transport::WebSocket(_)) {
            self.context.recorder.deflated(encoded.size(), encoded.websocket(form).len());
        }
    }

    /// Queues a batch; its volatile packets are dropped unless the queue is `empty`.
    fn queue_batch(&self, state: &mut State, batch: &PacketBatch, empty: bool) {
        if batch.has_volatile() && !empty {
            let mut dropped = 0;
            for packet in batch.packets().iter().filter(|packet| packet.volatile) {
                if let Some(tag) = &packet.tag {
                    tag.lost(1);
                }
                dropped += 1;
            }
            self.context.recorder.dropped(Outcome::DroppedVolatile, dropped);
        }
        for packet in batch.packets().iter().filter(|packet| empty || !packet.volatile) {
            state.queue.push(packet.clone());
        }
    }

    /// Queues what is left of a batch of which the kernel took the first `written` bytes.
    fn queue_rest(&self, state: &mut State, batch: &PacketBatch, written: usize) {
        let now = Instant::now();
        let mut left = written;
        for packet in batch.packets() {
            let size = packet.encoded.websocket(state.queue.form()).len();
            if left >= size {
                left -= size;
                if let Some(tag) = &packet.tag {
                    self.context.recorder.written(tag, 1, &[now]);
                }
            } else {
                state.queue.push_rest(packet.clone(), std::mem::take(&mut left));
            }
        }
    }

    /// Sees to it that what was queued is written, or disconnects a client whose queue was over
    /// its limit of bytes with the `before` bytes that waited already. One push may go beyond the
    /// limit, so no size of a publication disconnects a client that had read everything.
    fn after_push(self: &Arc<Self>, state: &mut State, before: usize) {
        if state.queue.is_empty() || matches!(state.phase, Phase::Ended(_)) {
            return;
        }
        if before > self.context.limits.queue() {
            self.end(state, Disconnected::Slow);
            return;
        }
        match &mut state.transport {
            Transport::WebSocket(_) => self.spawn_flush(state),
            Transport::Polling(polling) => polling.wake(),
            Transport::Closed => {}
        }
    }
}

impl State {
    /// Wakes the reader of the client's packets and a waiting POST.
    fn wake_reader(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
        if let Some(waker) = self.feeder.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests;
