//! The [`Peers`]: which other pods are alive.
//!
//! Every pod sends a heartbeat once a second on the pods' channel; one that was silent for five
//! seconds is taken for gone.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::wire::pod_messages::RolloutState;

/// Time between two heartbeats.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// How long a pod may be silent before it is taken for gone.
pub const SILENCE: Duration = Duration::from_secs(5);

/// More pods than this are not kept: then somebody else writes on our channel.
const MAX_PEERS: usize = 10_000;

/// The other pods, by when each was heard last.
#[derive(Debug, Default)]
pub struct Peers {
    heard: Mutex<HashMap<String, Peer>>,
}

#[derive(Debug)]
struct Peer {
    last: Instant,
    rollout: Option<RolloutState>,
    has_admins: bool,
}

impl Peers {
    /// A pod was heard, and said its place in a rollout and whether it has admins. True: it was not
    /// known before.
    pub fn heard(
        &self,
        pod: &str,
        (rollout, has_admins): (Option<RolloutState>, bool),
        now: Instant,
    ) -> bool {
        let mut heard = self.heard.lock();
        if let Some(peer) = heard.get_mut(pod) {
            let silent = !peer.is_alive(now);
            *peer = Peer { last: now, rollout, has_admins };
            return silent;
        }
        let new = heard.len() < MAX_PEERS;
        if new {
            heard.insert(pod.to_owned(), Peer { last: now, rollout, has_admins });
        }
        new
    }

    /// A pod said goodbye.
    pub fn gone(&self, pod: &str) {
        self.heard.lock().remove(pod);
    }

    /// The pods that are alive; forgets the others.
    pub fn alive(&self, now: Instant) -> Vec<String> {
        let mut heard = self.heard.lock();
        heard.retain(|_, peer| peer.is_alive(now));
        heard.keys().cloned().collect()
    }

    /// Whether a pod that is alive has admins.
    pub fn have_admins(&self, now: Instant) -> bool {
        self.heard.lock().values().any(|peer| peer.has_admins && peer.is_alive(now))
    }

    /// The places in a rollout of the pods that are alive and in one, by their names.
    pub fn rollout_states(&self, now: Instant) -> Vec<(String, RolloutState)> {
        let heard = self.heard.lock();
        let alive = heard.iter().filter(|(_, peer)| peer.is_alive(now));
        alive.filter_map(|(name, peer)| Some((name.clone(), peer.rollout.clone()?))).collect()
    }
}

impl Peer {
    fn is_alive(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) <= SILENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_pod_is_gone_and_is_new_when_it_is_heard_again() {
        let peers = Peers::default();
        let now = Instant::now();
        assert!(peers.heard("a", (None, false), now));
        assert!(!peers.heard("a", (None, false), now + INTERVAL));
        assert!(peers.heard("b", (None, false), now + SILENCE));
        assert_eq!(peers.alive(now + INTERVAL + SILENCE).len(), 2);
        assert_eq!(peers.alive(now + INTERVAL * 2 + SILENCE), ["b"]);
        assert!(peers.heard("a", (None, false), now + SILENCE * 2));
        assert!(!peers.have_admins(now + SILENCE * 2));
        peers.heard("b", (None, true), now + SILENCE * 2);
        assert!(peers.have_admins(now + SILENCE * 3));
        assert!(!peers.have_admins(now + SILENCE * 3 + INTERVAL));
        peers.gone("a");
        assert!(peers.heard("a", (None, false), now + SILENCE * 2));
    }
}
