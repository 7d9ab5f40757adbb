//! The [`LinkStatus`]: whether Redis can be reached.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::rooms::interest::RoomInterests;
use crate::telemetry::metrics::Metrics;

/// The two connections to Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkConnection {
    /// The one that publishes and sends commands.
    Commands,
    /// The one that subscribes.
    Subscriber,
}

/// Whether both connections are up, and since when. Tells the log when that changes.
pub(super) struct LinkStatus {
    state: Mutex<State>,
    up: watch::Sender<bool>,
    metrics: Arc<Metrics>,
    interests: Arc<RoomInterests>,
    shutdown: CancellationToken,
}

struct State {
    connections: [bool; 2],
    /// When it last changed whether both are up.
    changed: Instant,
    /// `rookery_redis_unsent_total` at that time.
    unsent: u64,
}

impl LinkStatus {
    /// No connection is up yet.
    pub fn new(
        metrics: Arc<Metrics>,
        interests: Arc<RoomInterests>,
        shutdown: CancellationToken,
    ) -> Self {
        let state = State { connections: [false; 2], changed: Instant::now(), unsent: 0 };
        let (state, up) = (Mutex::new(state), watch::Sender::new(false));
        LinkStatus { state, up, metrics, interests, shutdown }
    }

    /// Whether both connections are up.
    pub fn is_up(&self) -> bool {
        *self.up.borrow()
    }

    /// How long both connections have been up; `None` while they are not.
    pub fn up_for(&self) -> Option<Duration> {
        let state = self.state.lock();
        self.is_up().then(|| state.changed.elapsed())
    }

    /// Follows whether both connections are up.
    pub fn subscribe(&self) -> watch::Receiver<bool> {
        self.up.subscribe()
    }

    /// A connection was made or lost.
    pub fn set(&self, connection: LinkConnection, up: bool) {
        let mut state = self.state.lock();
        state.connections[connection as usize] = up;
        let both = state.connections.iter().all(|up| *up);
        self.metrics.redis_up.set(i64::from(both));
        if self.up.send_replace(both) != both {
            self.log(both, &state);
            (state.changed, state.unsent) = (Instant::now(), self.metrics.redis_unsent.get());
        }
    }

    fn log(&self, up: bool, before: &State) {
        if up {
            tracing::info!(
                seconds = before.changed.elapsed().as_secs_f64(),
                unsent = self.metrics.redis_unsent.get() - before.unsent,
                channels = self.interests.len(),
                "Redis is connected and all rooms are subscribed"
            );
        } else if !self.shutdown.is_cancelled() {
            tracing::warn!("Redis is not connected: other instances are not reached");
        }
    }
}
