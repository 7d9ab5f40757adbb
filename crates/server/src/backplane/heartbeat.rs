//! The [`Heartbeat`] by which pods know of each other.

use std::sync::Arc;
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
        Heartbeat { pod, channels, outgoing, peers, rollout: Mutex::new(rollout), metrics }
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

    /// Another pod was heard.
    pub fn received(&self, pod: &str, greet: bool, rollout: Option<RolloutState>, now: Instant) {
        if *pod != *self.pod && (self.peers.heard(pod, rollout, now) | greet) {
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
        let hello = Message::Hello { pod: self.pod.to_string(), greet, state: self.rollout() };
        self.outgoing.push(channel, hello.encode(), MessageKind::Heartbeat);
    }
}
