//! The [`Outbox`]: everything that is for one client, in order, bounded in bytes.

mod bundle;
mod carrier;
mod inbound;
mod polling;
mod queue;
mod websocket;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::telemetry::latency::ledger::Ledger;
use crate::telemetry::metrics::{Disconnected, Outcome};
pub use bundle::{Bundle, Item};
use carrier::Carrier;
pub use inbound::ReadFrom;
pub use polling::{NotPolling, Polled};
pub use queue::Backlog;
use queue::{Entry, Queue};
use rookery_protocol::Revision;
use rookery_protocol::encoded::Encoded;

/// Bounds that all outboxes share; they may change while sessions live.
#[derive(Debug)]
pub struct Bounds {
    queue: AtomicUsize,
    write_stall: AtomicU64,
    /// The most bytes of a poll's answer.
    pub max_payload: usize,
}

impl Bounds {
    /// `queue` and `max_payload` in bytes.
    pub fn new(queue: usize, write_stall: Duration, max_payload: usize) -> Self {
        let bounds = Bounds { queue: 0.into(), write_stall: 0.into(), max_payload };
        bounds.set(queue, write_stall);
        bounds
    }

    /// Sets new bounds, for sessions that live too.
    pub fn set(&self, queue: usize, write_stall: Duration) {
        self.queue.store(queue, Ordering::Relaxed);
        let millis = u64::try_from(write_stall.as_millis()).unwrap_or(u64::MAX);
        self.write_stall.store(millis, Ordering::Relaxed);
    }

    fn queue(&self) -> usize {
        self.queue.load(Ordering::Relaxed)
    }

    fn write_stall(&self) -> Duration {
        Duration::from_millis(self.write_stall.load(Ordering::Relaxed))
    }
}

/// Hears of the end of an outbox, once.
pub trait OnEnd: Send + Sync {
    /// Nothing can reach the client any more; its transport is closed or closing. `unsent` are
    /// the bytes that waited for it in vain.
    fn ended(&self, reason: Disconnected, unsent: usize);
}

/// What a shard's sessions share.
pub struct Surroundings {
    /// The bounds.
    pub bounds: Arc<Bounds>,
    /// The account of deliveries.
    pub ledger: Arc<dyn Ledger>,
    /// What waits in their outboxes together.
    pub backlog: Arc<Backlog>,
    /// The shard's runtime, where flushes run.
    pub runtime: Handle,
    /// The tracker of those tasks.
    pub tracker: TaskTracker,
}

/// What became of a bundle at one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// The kernel took all of it; the caller keeps its account.
    Written,
    /// It waits, or was dropped and counted; the outbox keeps its account.
    Kept,
    /// Nothing of it can be written any more; the caller counts all of it as gone.
    Gone,
}

/// How a session is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// What waits is written first, then the transport is closed, at the latest after
    /// `limits.writeStall`.
    Finish,
    /// At once; what waits is dropped and counted.
    Abort,
}

/// Everything that is for one client. Cloned as an `Arc`; every method may be called from any
/// thread. There is one mutex. With it held, the ledger and the traces of what waits are told;
/// neither waits for anything, nor calls back. The last stamp of a publication to go ends its span,
/// which goes into a bounded queue, or is dropped and counted.
pub struct Outbox {
    revision: Revision,
    around: Arc<Surroundings>,
    on_end: OnceLock<Weak<dyn OnEnd>>,
    state: Mutex<State>,
}

struct State {
    carrier: Carrier,
    phase: Phase,
    queue: Queue,
    flushing: bool,
    /// The client closed: a waiting GET ends with `6`, not with `1`.
    client_closed: bool,
    /// What the protocol engine will read before it reads from a socket.
    inbound: BytesMut,
    reader: Option<Waker>,
    feeder: Option<Waker>,
    /// Cancels the deadline of a polling client that is to come for its last packets.
    deadline: Option<CancellationToken>,
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
    /// An outbox of a session that starts with polling.
    pub fn new(revision: Revision, around: Arc<Surroundings>) -> Arc<Self> {
        let queue = Queue::new(around.backlog.clone());
        Arc::new(Outbox {
            revision,
            around,
            on_end: OnceLock::new(),
            state: Mutex::new(State {
                carrier: Carrier::polling(),
                phase: Phase::Open,
                queue,
                flushing: false,
                client_closed: false,
                inbound: BytesMut::new(),
                reader: None,
                feeder: None,
                deadline: None,
            }),
        })
    }

    /// Names who hears of the end; once, before anything is sent.
    pub fn on_end(&self, hears: Weak<dyn OnEnd>) {
        let _ = self.on_end.set(hears);
    }

    /// The revision that the client speaks.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Why the session ends or ended, where it does.
    pub fn ending(&self) -> Option<Disconnected> {
        self.state.lock().phase.reason()
    }

    /// Delivers publications. On a WebSocket with nothing waiting the kernel gets the shared
    /// bytes at once; else they wait by reference, or are dropped and counted where the queue is
    /// full, which ends the session: there is never a silent gap.
    pub fn deliver(self: &Arc<Self>, bundle: &Bundle) -> Delivered {
        let mut state = self.state.lock();
        if state.phase != Phase::Open {
            return Delivered::Gone;
        }
        let (empty, before) = (state.queue.is_empty(), state.queue.bytes());
        if empty && let Carrier::WebSocket(socket) = &state.carrier {
            let bytes = bundle.websocket(self.revision);
            match carrier::send(socket, bytes) {
                Ok(n) if n == bytes.len() => return Delivered::Written,
                Ok(n) => self.keep_rest(&mut state, bundle, n),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                    self.keep(&mut state, bundle, true);
                }
                Err(_) => {
                    self.end(&mut state, Disconnected::TransportError);
                    return Delivered::Gone;
                }
            }
        } else {
            self.keep(&mut state, bundle, empty);
        }
        self.after_push(&mut state, before);
        Delivered::Kept
    }

    /// Sends a packet that is no delivery: the engine's own, a reply, an ack, a refusal.
    /// False: the session ends, nothing was sent.
    pub fn send(self: &Arc<Self>, packet: Arc<Encoded>) -> bool {
        let mut state = self.state.lock();
        if state.phase != Phase::Open {
            return false;
        }
        let before = state.queue.bytes();
        if let Carrier::WebSocket(socket) = &state.carrier
            && state.queue.is_empty()
        {
            let bytes = packet.websocket(self.revision);
            match carrier::send(socket, bytes) {
                Ok(n) if n == bytes.len() => return true,
                Ok(n) => state.queue.push(Entry::Rest(bytes.slice(n..), None)),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                    state.queue.push(Entry::Whole(packet, None));
                }
                Err(_) => self.end(&mut state, Disconnected::TransportError),
            }
        } else {
            state.queue.push(Entry::Whole(packet, None));
        }
        self.after_push(&mut state, before);
        matches!(state.phase, Phase::Open)
    }

    /// Ends the session. The first reason stays.
    pub fn close(self: &Arc<Self>, reason: Disconnected, ending: Ending) {
        let mut state = self.state.lock();
        match (state.phase, ending) {
            (Phase::Open, Ending::Finish) => self.finish(&mut state, reason),
            (Phase::Open, Ending::Abort) => self.end(&mut state, reason),
            (Phase::Finishing(first), Ending::Abort) => self.end(&mut state, first),
            _ => {}
        }
    }

    /// Ends the session, what waits first, unless a task that is ready to run on the shard's
    /// runtime names a better reason.
    pub fn close_soon(self: &Arc<Self>, reason: Disconnected) {
        let outbox = self.clone();
        let close = async move {
            tokio::task::yield_now().await;
            outbox.close(reason, Ending::Finish);
        };
        self.around.tracker.spawn_on(close, &self.around.runtime);
    }

    fn keep(&self, state: &mut State, bundle: &Bundle, empty: bool) {
        if bundle.volatile && !empty {
            let dropped = bundle.items.iter().filter(|i| i.volatile);
            let dropped = dropped.inspect(|i| i.stamp.lost(1)).count();
            self.around.ledger.dropped(Outcome::DroppedVolatile, dropped as u64);
        }
        for item in bundle.items.iter().filter(|i| empty || !i.volatile) {
            state.queue.push(Entry::Whole(item.encoded.clone(), Some(item.stamp.clone())));
        }
    }

    /// The kernel took the first `written` bytes of the bundle.
    fn keep_rest(&self, state: &mut State, bundle: &Bundle, written: usize) {
        let now = Instant::now();
        let mut left = written;
        for item in &bundle.items {
            let bytes = item.encoded.websocket(self.revision);
            if left >= bytes.len() {
                left -= bytes.len();
                self.around.ledger.written(&item.stamp, 1, &[now]);
            } else if left > 0 {
                state.queue.push(Entry::Rest(bytes.slice(left..), Some(item.stamp.clone())));
                left = 0;
            } else {
                state.queue.push(Entry::Whole(item.encoded.clone(), Some(item.stamp.clone())));
            }
        }
    }

    /// Sheds a client whose queue was over its bound with `before` bytes already: a push that goes
    /// beyond it is kept, so that no size of a publication sheds a client that had read all.
    /// Else sees to it that somebody writes.
    fn after_push(self: &Arc<Self>, state: &mut State, before: usize) {
        if state.queue.is_empty() || matches!(state.phase, Phase::Ended(_)) {
            return;
        }
        if before > self.around.bounds.queue() {
            self.end(state, Disconnected::Slow);
            return;
        }
        match &mut state.carrier {
            Carrier::WebSocket(_) => self.spawn_flush(state),
            Carrier::Polling(polling) => polling.wake(),
            Carrier::Closed => {}
        }
    }

    fn finish(self: &Arc<Self>, state: &mut State, reason: Disconnected) {
        state.phase = Phase::Finishing(reason);
        state.wake_reader();
        if let Carrier::WebSocket(_) = state.carrier {
            state.queue.push(Entry::Rest(websocket::close_frame(), None));
            if !state.flushing {
                self.flush(state);
            }
            if state.queue.is_empty() {
                self.end(state, reason);
            } else {
                self.spawn_flush(state);
            }
        } else if matches!(reason, Disconnected::TransportError | Disconnected::PingTimeout) {
            // It sent what is no packet, or nothing at all: it is not to be waited for.
            self.end(state, reason);
        } else {
            if let Carrier::Polling(polling) = &mut state.carrier {
                polling.wake();
            }
            self.end_later(state, reason);
        }
    }

    /// Ends a session whose client does not come for what waits.
    fn end_later(self: &Arc<Self>, state: &mut State, reason: Disconnected) {
        let outbox = Arc::downgrade(self);
        let stall = self.around.bounds.write_stall();
        let over = CancellationToken::new();
        state.deadline = Some(over.clone());
        self.around.tracker.spawn_on(
            async move {
                if over.run_until_cancelled(tokio::time::sleep(stall)).await.is_some()
                    && let Some(outbox) = outbox.upgrade()
                {
                    outbox.end(&mut outbox.state.lock(), reason);
                }
            },
            &self.around.runtime,
        );
    }

    /// Closes the transport and counts what was never written. Idempotent.
    fn end(&self, state: &mut State, reason: Disconnected) {
        if let Phase::Ended(_) = state.phase {
            return;
        }
        // The first reason is what the end is counted as; how the socket is closed is this one's.
        let counted = state.phase.reason().unwrap_or(reason);
        state.phase = Phase::Ended(counted);
        let bytes = state.queue.bytes();
        let unsent = state.queue.clear();
        if unsent > 0 {
            let outcome = match counted {
                Disconnected::Slow => Outcome::DroppedSlow,
                _ => Outcome::Gone,
            };
            self.around.ledger.dropped(outcome, unsent as u64);
        }
        match std::mem::replace(&mut state.carrier, Carrier::Closed) {
            Carrier::WebSocket(socket) => self.hang_up(socket, reason),
            Carrier::Polling(mut polling) => polling.wake(),
            Carrier::Closed => {}
        }
        state.wake_reader();
        if let Some(deadline) = state.deadline.take() {
            deadline.cancel();
        }
        if let Some(hears) = self.on_end.get().and_then(Weak::upgrade) {
            self.around
                .tracker
                .spawn_on(async move { hears.ended(counted, bytes) }, &self.around.runtime);
        }
    }
}

impl State {
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
