//! The [`Heartbeat`] by which pods know of each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::link_status::LinkStatus;
use super::outgoing::MessageKind;
use super::outgoing::queues::OutgoingQueues;
use super::peers::{INTERVAL, Peers};
use super::wire::channels::Channels;
use super::wire::pod_messages::{Message, RolloutState};
use crate::message::PodId;
use crate::telemetry::metrics::Metrics;

/// Tells the other pods every second that this one is alive, and keeps what they tell.
pub(super) struct Heartbeat {
    pod: PodId,
    channels: Channels,
    outgoing: Arc<OutgoingQueues>,
    peers: Arc<Peers>,
    rollout: Mutex<Option<RolloutState>>,
    has_admins: AtomicBool,
    metrics: Arc<Metrics>,
}

impl Heartbeat {
    /// The heartbeat of this pod, whose place in a rollout is `rollout`.
    pub fn new(
        pod: PodId,
        channels: Channels,
        outgoing: Arc<OutgoingQueues>,
        peers: Arc<Peers>,
        rollout: Option<RolloutState>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (rollout, has_admins) = (Mutex::new(rollout), AtomicBool::new(false));
        Heartbeat { pod, channels, outgoing, peers, rollout, has_admins, metrics }
    }

    /// The other pods.
    pub fn peers(&self) -> &Peers {
        &self.peers
    }

    /// This pod's place in a rollout, with its sessions.
    pub fn rollout(&self) -> Option<RolloutState> {
        let rollout = self.rollout.lock().clone()?;
        Some(RolloutState { sessions: Some(self.metrics.sessions()), ..rollout })
    }

    /// Says at once that this pod was told to stop, at `when` (milliseconds since 1970).
    pub fn announce_shutdown(&self, when: u64) {
        if let Some(rollout) = &mut *self.rollout.lock() {
            rollout.told_to_stop = Some(when);
        }
        self.send(self.channels.pods(), false);
    }

    /// Sets whether admins are connected to this pod, and says at once that they are.
    pub fn set_has_admins(&self, has_admins: bool) {
        if !self.has_admins.swap(has_admins, Ordering::Relaxed) && has_admins {
            self.send(self.channels.pods(), false);
        }
    }

    /// Another pod was heard, with its place in a rollout and whether it has admins.
    pub fn received(
        &self,
        pod: &str,
        greet: bool,
        said: (Option<RolloutState>, bool),
        now: Instant,
    ) {
        if *pod != *self.pod && (self.peers.heard(pod, said, now) | greet) {
            self.send(self.channels.answers(pod), false);
        }
    }

    /// Sends heartbeats until `shutdown`, and one that asks for the others' whenever Redis is
    /// connected again.
    pub async fn run(self: Arc<Self>, status: Arc<LinkStatus>, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut connected = status.subscribe();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = ticks.tick() => self.send(self.channels.pods(), false),
                Ok(()) = connected.changed() => {
                    if *connected.borrow_and_update() {
                        self.send(self.channels.pods(), true);
                    }
                }
            }
        }
    }

    /// `greet` asks whoever hears it to send a heartbeat at once.
    fn send(&self, channel: String, greet: bool) {
        let admins = self.has_admins.load(Ordering::Relaxed);
        let (pod, state) = (self.pod.to_string(), self.rollout());
        let hello = Message::Hello { pod, greet, state, admins };
        self.outgoing.push(channel, hello.encode(), MessageKind::Heartbeat);
    }
}
