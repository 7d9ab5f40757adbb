//! The [`RoomIndex`]: which shards have members of a room, for whoever publishes.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use parking_lot::Mutex;

use super::interest::Interest;
use crate::message::{MemberId, PodId, Publication, RoomKey};
use crate::telemetry::metrics::Metrics;
use rookery_protocol::Room;

/// The most shards that an index can tell apart.
pub const MAX_SHARDS: usize = 64;

/// Parts of the index, each with a lock of its own.
const STRIPES: usize = 64;

/// Which shards have members of which rooms. Changed by the shards, in the step that makes a
/// client the first member of a room or removes the last.
pub struct RoomIndex {
    pod: PodId,
    all_shards: ShardSet,
    hasher: RandomState,
    stripes: Vec<Mutex<HashMap<RoomKey, Occupancy>>>,
    metrics: Arc<Metrics>,
}

/// A room with members on this instance.
#[derive(Default)]
struct Occupancy {
    shards: ShardSet,
    /// Keeps the room subscribed, where there are other instances.
    _interest: Option<Interest>,
}

/// A set of shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardSet(u64);

impl ShardSet {
    /// The first `count` shards.
    fn first(count: usize) -> Self {
        ShardSet(u64::MAX >> (MAX_SHARDS - count))
    }

    /// Whether it has no shard.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The numbers of its shards, from the lowest to the highest.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..MAX_SHARDS).filter(move |shard| self.0 & (1 << shard) != 0)
    }
}

impl RoomIndex {
    /// An empty index of `shards` shards of this pod.
    pub fn new(shards: usize, pod: PodId, metrics: Arc<Metrics>) -> Self {
        RoomIndex {
            pod,
            all_shards: ShardSet::first(shards),
            hasher: RandomState::new(),
            stripes: std::iter::repeat_with(Mutex::default).take(STRIPES).collect(),
            metrics,
        }
    }

    /// A shard has its first member of the room. Where it is the instance's first, `interest` is
    /// kept until the last one leaves.
    pub(super) fn add(&self, key: RoomKey, shard: usize, interest: Option<Interest>) {
        let mut stripe = self.stripe(&key).lock();
        let occupancy = stripe.entry(key).or_insert_with(|| {
            self.metrics.rooms.inc();
            Occupancy { shards: ShardSet::default(), _interest: interest }
        });
        occupancy.shards.0 |= 1 << shard;
    }

    /// A shard's last member of the room left.
    pub(super) fn remove(&self, key: &RoomKey, shard: usize) {
        let mut stripe = self.stripe(key).lock();
        let Some(occupancy) = stripe.get_mut(key) else { return };
        occupancy.shards.0 &= !(1 << shard);
        if occupancy.shards.is_empty() {
            stripe.remove(key);
            self.metrics.rooms.dec();
        }
    }

    /// The shards that may have recipients of a publication.
    pub fn shards(&self, publication: &Publication) -> ShardSet {
        if publication.rooms.is_empty() {
            return self.all_shards;
        }
        let namespace = &publication.namespace;
        let shards = publication.rooms.iter().map(|room| self.shards_of(namespace, room));
        shards.fold(ShardSet::default(), |all, shards| ShardSet(all.0 | shards.0))
    }

    fn shards_of(&self, namespace: &Arc<str>, room: &Room) -> ShardSet {
        if MemberId::is_of(room, &self.pod) {
            return self.all_shards;
        }
        // A borrowed key would need an unstable lookup; two reference counts are cheap.
        let key = RoomKey { namespace: namespace.clone(), room: room.clone() };
        let stripe = self.stripe(&key).lock();
        stripe.get(&key).map_or_else(ShardSet::default, |occupancy| occupancy.shards)
    }

    /// The pod, whose name begins its members' ids.
    pub fn pod(&self) -> &PodId {
        &self.pod
    }

    fn stripe(&self, key: &RoomKey) -> &Mutex<HashMap<RoomKey, Occupancy>> {
        let hash = self.hasher.hash_one(key);
        &self.stripes[hash as usize % STRIPES]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rooms::interest::{LINGER, RoomInterests};

    #[test]
    fn a_room_stays_subscribed_from_its_first_join_to_its_last_leave() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let index = RoomIndex::new(2, "pod-test".into(), metrics.clone());
        let interests = RoomInterests::new(LINGER);
        let key = RoomKey::new("/", "a");
        for shard in [0, 1] {
            index.add(key.clone(), shard, Some(interests.acquire(&key).0));
        }
        assert_eq!((metrics.rooms.get(), interests.len()), (1, 1));
        index.remove(&key, 0);
        assert!(interests.next_due().is_none(), "the other shard has a member");
        index.remove(&key, 1);
        assert!(interests.next_due().is_some());
        assert_eq!(metrics.rooms.get(), 0);
        index.remove(&key, 1);
        assert_eq!(metrics.rooms.get(), 0);
    }
}
