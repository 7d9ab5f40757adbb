//! The [`LinkStatus`]: whether Redis can be reached.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::rooms::interest::RoomInterests;
use crate::telemetry::metrics::Metrics;

/// How long a heartbeat of this pod may take to come back. Every second one is sent.
const OWN_SILENCE: Duration = Duration::from_secs(10);

/// Why a link ends whose own heartbeats do not come back.
pub(super) const NOT_HEARD: &str =
    "this instance does not hear itself: its two connections lead to different servers";

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
    /// Counts the heartbeats of this pod that came back.
    own_heartbeats: watch::Sender<u64>,
    is_replica: AtomicBool,
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
        let (own_heartbeats, is_replica) = (watch::Sender::new(0), AtomicBool::new(false));
        LinkStatus { state, up, own_heartbeats, is_replica, metrics, interests, shutdown }
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

    /// Whether the server that was found last is a replica: it can be reached, and is not used.
    pub fn is_replica(&self) -> bool {
        self.is_replica.load(Ordering::Relaxed)
    }

    /// A server was found, or none was.
    pub fn set_replica(&self, is_replica: bool) {
        self.is_replica.store(is_replica, Ordering::Relaxed);
    }

    /// A heartbeat of this pod came back.
    pub fn heard_itself(&self) {
        self.own_heartbeats.send_modify(|heard| *heard += 1);
    }

    /// Whether a heartbeat of this pod came back since it started.
    pub fn has_heard_itself(&self) -> bool {
        *self.own_heartbeats.borrow() > 0
    }

    /// Resolves when this pod does not hear its own heartbeats any more for [`OWN_SILENCE`] while
    /// both connections are up. Never on a link where none came back: Redis may forbid them.
    pub async fn own_heartbeats_stop(&self) {
        let (mut up, mut heard) = (self.up.subscribe(), self.own_heartbeats.subscribe());
        loop {
            // Neither sender is dropped while `self` lives.
            let _ = up.wait_for(|up| *up).await;
            if *heard.borrow_and_update() == 0 {
                let _ = heard.changed().await;
                continue;
            }
            tokio::select! {
                _ = up.wait_for(|up| !*up) => {}
                _ = heard.changed() => {}
                () = tokio::time::sleep(OWN_SILENCE) => return,
            }
        }
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
