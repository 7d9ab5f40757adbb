//! The [`Index`]: which shards have members of a room, for whoever publishes.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::message::Publication;
use crate::message::member_id::{ID_LENGTH, POD_LENGTH};
use crate::telemetry::metrics::Metrics;
use rookery_protocol::Room;

/// The most shards that an index can tell apart.
pub const MAX_SHARDS: usize = 64;

const STRIPES: usize = 64;

type Key = (Arc<str>, Room);

/// Which shards have members of which rooms. Changed by the shards, in the step that makes a
/// client the first member of a room or removes the last.
pub struct Index {
    pod: Arc<str>,
    everywhere: u64,
    hasher: RandomState,
    stripes: Vec<Mutex<HashMap<Key, u64>>>,
    metrics: Arc<Metrics>,
}

impl Index {
    /// An empty index of `shards` shards on the pod `pod`.
    pub fn new(shards: usize, pod: Arc<str>, metrics: Arc<Metrics>) -> Self {
        Index {
            pod,
            everywhere: u64::MAX >> (MAX_SHARDS - shards),
            hasher: RandomState::new(),
            stripes: std::iter::repeat_with(Mutex::default).take(STRIPES).collect(),
            metrics,
        }
    }

    /// A shard has its first member of the room. True: it is the pod's first.
    pub fn occupied(&self, namespace: &Arc<str>, room: &Room, shard: usize) -> bool {
        let mut stripe = self.stripe(namespace, room).lock();
        let shards = stripe.entry((namespace.clone(), room.clone())).or_default();
        let first = *shards == 0;
        *shards |= 1 << shard;
        if first {
            self.metrics.rooms.inc();
        }
        first
    }

    /// A shard's last member of the room left. True: it was the pod's last.
    pub fn vacated(&self, namespace: &Arc<str>, room: &Room, shard: usize) -> bool {
        let mut stripe = self.stripe(namespace, room).lock();
        let key = (namespace.clone(), room.clone());
        let Some(shards) = stripe.get_mut(&key) else { return false };
        *shards &= !(1 << shard);
        let last = *shards == 0;
        if last {
            stripe.remove(&key);
            self.metrics.rooms.dec();
        }
        last
    }

    /// The shards that may have recipients, as bits.
    pub fn shards(&self, publication: &Publication) -> u64 {
        if publication.rooms.is_empty() {
            return self.everywhere;
        }
        publication.rooms.iter().fold(0, |shards, room| {
            if self.names_a_member(room) {
                return self.everywhere;
            }
            let stripe = self.stripe(&publication.namespace, room).lock();
            // A borrowed key would need an unstable lookup; two reference counts are cheap.
            let key = (publication.namespace.clone(), room.clone());
            shards | stripe.get(&key).copied().unwrap_or_default()
        })
    }

    /// Whether a room's name may be the public id of a member of this pod.
    pub fn names_a_member(&self, room: &str) -> bool {
        room.len() == ID_LENGTH && room.as_bytes()[..POD_LENGTH] == *self.pod.as_bytes()
    }

    fn stripe(&self, namespace: &str, room: &str) -> &Mutex<HashMap<Key, u64>> {
        let hash = self.hasher.hash_one((namespace, room));
        &self.stripes[hash as usize % STRIPES]
    }
}
