//! The [`RoomIndex`]: which shards have members of a room, for whoever publishes.

use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use parking_lot::Mutex;

use super::interest::Interest;
use crate::hashing::RandomState;
use crate::message::{MemberId, PodId, Publication, RoomKey, RoomKeyRef};
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
    /// A room's hash chooses its stripe and its place in it, so it is computed once.
    stripes: Vec<Mutex<HashTable<Occupancy>>>,
    metrics: Arc<Metrics>,
}

/// A room with members on this instance.
struct Occupancy {
    key: RoomKey,
    /// The shards with members of the room; at least one.
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

    /// Its shards that are not in `others`.
    pub fn without(self, others: ShardSet) -> Self {
        ShardSet(self.0 & !others.0)
    }

    /// The numbers of its shards, from the lowest to the highest.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let lowest = (left != 0).then(|| left.trailing_zeros() as usize);
            left &= left.wrapping_sub(1);
            lowest
        })
    }
}

impl FromIterator<usize> for ShardSet {
    fn from_iter<I: IntoIterator<Item = usize>>(shards: I) -> Self {
        ShardSet(shards.into_iter().fold(0, |set, shard| set | 1 << shard))
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
        let (hash, stripe) = self.stripe(key.as_ref());
        let mut stripe = stripe.lock();
        let of_room = |occupancy: &Occupancy| occupancy.key == key;
        match stripe.entry(hash, of_room, |occupancy| self.hasher.hash_one(&occupancy.key)) {
            Entry::Occupied(mut occupied) => occupied.get_mut().shards.0 |= 1 << shard,
            Entry::Vacant(vacant) => {
                self.metrics.rooms.inc();
                vacant.insert(Occupancy { key, shards: ShardSet(1 << shard), _interest: interest });
            }
        }
    }

    /// A shard's last member of the room left.
    pub(super) fn remove(&self, key: &RoomKey, shard: usize) {
        let (hash, stripe) = self.stripe(key.as_ref());
        let mut stripe = stripe.lock();
        let Ok(mut occupied) = stripe.find_entry(hash, |occupancy| occupancy.key == *key) else {
            return;
        };
        let shards = &mut occupied.get_mut().shards;
        shards.0 &= !(1 << shard);
        if shards.is_empty() {
            occupied.remove();
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

    fn shards_of(&self, namespace: &str, room: &Room) -> ShardSet {
        if MemberId::is_of(room, &self.pod) {
            return self.all_shards;
        }
        let key = RoomKeyRef { namespace, room };
        let (hash, stripe) = self.stripe(key);
        let stripe = stripe.lock();
        let occupancy = stripe.find(hash, |occupancy| occupancy.key.as_ref() == key);
        occupancy.map_or_else(ShardSet::default, |occupancy| occupancy.shards)
    }

    /// The pod, whose name begins its members' ids.
    pub fn pod(&self) -> &PodId {
        &self.pod
    }

    /// A room's hash, and the stripe that it belongs to. The table of a stripe uses the lowest and
    /// the highest bits of the hash; those in between choose the stripe.
    fn stripe(&self, key: RoomKeyRef<'_>) -> (u64, &Mutex<HashTable<Occupancy>>) {
        let hash = self.hasher.hash_one(key);
        (hash, &self.stripes[(hash >> 32) as usize % STRIPES])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rooms::interest::{LINGER, RoomInterests};

    #[test]
    fn a_set_of_shards_gives_each_of_its_shards_once_in_order() {
        let shards = |set: u64| ShardSet(set).iter().collect::<Vec<_>>();
        assert!(shards(0).is_empty());
        assert_eq!(shards(0b1010_0001), [0, 5, 7]);
        assert_eq!(shards(1 << 63), [63]);
        assert_eq!(ShardSet::first(64).iter().collect::<Vec<_>>(), (0..64).collect::<Vec<_>>());
    }

    #[test]
    fn a_room_is_found_in_its_own_namespace_only() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let index = RoomIndex::new(2, "pod-test".into(), metrics);
        for n in 0..1000 {
            index.add(RoomKey::new("/", format!("room-{n}")), n % 2, None);
        }
        for n in 0..1000 {
            let room = Room::from(format!("room-{n}"));
            assert_eq!(index.shards_of("/", &room), ShardSet(1 << (n % 2)));
            assert_eq!(index.shards_of("/admin", &room), ShardSet::default());
        }
    }

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
