//! The [`PresenceRegistry`]: who is in which room with presence or hooks on this instance.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::occupant::{Occupant, OccupantKey, TrackedOccupant};
use crate::hashing::{HashMap, HashSet};
use crate::message::{MemberId, RoomKey};
use crate::rooms::index::ShardSet;

/// How long a join waits until the room's roster is known; then it is answered with what is known.
const CONFIRMATION: Duration = Duration::from_secs(1);

/// The occupants of rooms on this instance. Whoever follows the changes is woken by
/// [`PresenceRegistry::changed`] and takes them with [`PresenceRegistry::changes`].
#[derive(Debug)]
pub struct PresenceRegistry {
    table: Mutex<Table>,
    changed: Notify,
    leave_delay: Duration,
}

#[derive(Debug, Default)]
struct Table {
    rooms: HashMap<RoomKey, LocalRoom>,
    /// Rooms with changes that were not taken, each once.
    dirty: VecDeque<RoomKey>,
    /// Occupants whose last connection ended, by when they leave (and a serial, to tell them apart).
    leaving: BTreeMap<(Instant, u64), (RoomKey, OccupantKey)>,
    serial: u64,
}

#[derive(Debug, Default)]
struct LocalRoom {
    occupants: HashMap<OccupantKey, LocalOccupant>,
    /// The leases of each shard whose members are told who is there.
    shards: HashMap<usize, usize>,
    changed: HashSet<OccupantKey>,
    waiting: Vec<oneshot::Sender<()>>,
    is_dirty: bool,
}

#[derive(Debug)]
struct LocalOccupant {
    occupant: Arc<Occupant>,
    leases: usize,
    /// Its key in `leaving`, while it has no lease.
    due: Option<(Instant, u64)>,
    /// Members of it that are in the room already when the others are told.
    early: Vec<MemberId>,
}

/// What changed in one room since it was last taken.
#[derive(Debug)]
pub struct LocalChange {
    /// The room.
    pub key: RoomKey,
    /// Occupants that changed, as they are now; `None`: not on this instance any more.
    pub occupants: Vec<(OccupantKey, Option<Arc<Occupant>>)>,
    /// The shards with members of the room that are told who is there.
    pub shards: ShardSet,
    /// Members that need not be told that their own occupant joined.
    pub early: Vec<MemberId>,
    /// Joins that wait until these shards have the room's roster.
    pub waiting: Vec<oneshot::Sender<()>>,
}

/// A member is in a room with presence or hooks, until this is dropped or [ended](Lease::end). Dropped, its
/// occupant stays for `presence.leaveDelay`, as its connection ended.
#[derive(Debug)]
pub struct Lease {
    registry: Arc<PresenceRegistry>,
    key: RoomKey,
    occupant: OccupantKey,
    /// Its shard, where the member is told who is there.
    shard: Option<usize>,
    has_left: bool,
}

impl PresenceRegistry {
    /// Nobody is in any room. An occupant whose last connection ended stays for `leave_delay`.
    pub fn new(leave_delay: Duration) -> Arc<Self> {
        let (table, changed) = (Mutex::default(), Notify::new());
        Arc::new(PresenceRegistry { table, changed, leave_delay })
    }

    /// How long an occupant stays whose connection ended.
    pub fn leave_delay(&self) -> Duration {
        self.leave_delay
    }

    /// A member of this shard is about to join a room. The future resolves when the shard has the
    /// room's roster, at most a second later; there is none where the member is told nothing.
    pub fn acquire(
        self: &Arc<Self>,
        key: &RoomKey,
        shard: usize,
        tracked: TrackedOccupant,
    ) -> (Lease, Option<BoxFuture<'static, ()>>) {
        if !tracked.is_shown {
            return (self.add(key, None, tracked.occupant, |_, _| {}), None);
        }
        let (confirm, confirmed) = oneshot::channel();
        let waits = |room: &mut LocalRoom, _: &OccupantKey| room.waiting.push(confirm);
        let lease = self.add(key, Some(shard), tracked.occupant, waits);
        // Given up or dropped: the join is answered with what is known.
        let wait = async move { drop(tokio::time::timeout(CONFIRMATION, confirmed).await) };
        (lease, Some(wait.boxed()))
    }

    /// A member of this shard has joined a room: nobody waits, and it is not told of itself.
    pub fn acquire_joined(
        self: &Arc<Self>,
        key: &RoomKey,
        shard: usize,
        tracked: TrackedOccupant,
        member: &MemberId,
    ) -> Lease {
        let shard = tracked.is_shown.then_some(shard);
        self.add(key, shard, tracked.occupant, |room, occupant| {
            if room.changed.contains(occupant)
                && let Some(local) = room.occupants.get_mut(occupant)
            {
                local.early.push(member.clone());
            }
        })
    }

    fn add(
        self: &Arc<Self>,
        key: &RoomKey,
        shard: Option<usize>,
        occupant: Occupant,
        then: impl FnOnce(&mut LocalRoom, &OccupantKey),
    ) -> Lease {
        let of = occupant.key.clone();
        {
            let mut table = self.table.lock();
            table.add(key, shard, occupant);
            if let Some(room) = table.rooms.get_mut(key) {
                then(room, &of);
            }
        }
        self.changed.notify_one();
        Lease { registry: self.clone(), key: key.clone(), occupant: of, shard, has_left: false }
    }

    /// Resolves when [`PresenceRegistry::changes`] may have something new to say.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// When the next occupant leaves whose connection ended.
    pub fn next_due(&self) -> Option<Instant> {
        self.table.lock().leaving.first_key_value().map(|((due, _), _)| *due)
    }

    /// The changes of at most `limit` rooms; each is told once.
    pub fn changes(&self, now: Instant, limit: usize) -> Vec<LocalChange> {
        let mut table = self.table.lock();
        table.expire(now);
        let taken = table.dirty.len().min(limit);
        let keys: Vec<RoomKey> = table.dirty.drain(..taken).collect();
        keys.into_iter().filter_map(|key| table.take(key)).collect()
    }

    /// Who is in a room on this instance.
    pub fn occupants(&self, key: &RoomKey) -> Vec<Arc<Occupant>> {
        let table = self.table.lock();
        let occupants = table.rooms.get(key).into_iter().flat_map(|room| room.occupants.values());
        occupants.map(|local| local.occupant.clone()).collect()
    }
}

impl Lease {
    /// Whether the member is told who is there.
    pub fn is_shown(&self) -> bool {
        self.shard.is_some()
    }

    /// The member left the room: its occupant leaves at once where this was the last lease.
    pub fn end(mut self) {
        self.has_left = true;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let delay = if self.has_left { Duration::ZERO } else { self.registry.leave_delay };
        let mut table = self.registry.table.lock();
        table.remove(&self.key, &self.occupant, self.shard, Instant::now(), delay);
        drop(table);
        self.registry.changed.notify_one();
    }
}

impl Table {
    fn add(&mut self, key: &RoomKey, shard: Option<usize>, occupant: Occupant) {
        let room = self.rooms.entry(key.clone()).or_default();
        if let Some(shard) = shard {
            *room.shards.entry(shard).or_default() += 1;
        }
        let occupant = Arc::new(occupant);
        match room.occupants.get_mut(&occupant.key) {
            Some(local) => {
                local.leases += 1;
                if let Some(due) = local.due.take() {
                    self.leaving.remove(&due);
                }
                if local.occupant != occupant {
                    room.changed.insert(occupant.key.clone());
                    local.occupant = occupant;
                }
            }
            None => {
                room.changed.insert(occupant.key.clone());
                let local = LocalOccupant { occupant, leases: 1, due: None, early: Vec::new() };
                room.occupants.insert(local.occupant.key.clone(), local);
            }
        }
        self.mark(key);
    }

    fn remove(
        &mut self,
        key: &RoomKey,
        occupant: &OccupantKey,
        shard: Option<usize>,
        now: Instant,
        delay: Duration,
    ) {
        let Some(room) = self.rooms.get_mut(key) else { return };
        if let Some(shard) = shard
            && let Some(leases) = room.shards.get_mut(&shard)
        {
            *leases -= 1;
            if *leases == 0 {
                room.shards.remove(&shard);
            }
        }
        if let Some(local) = room.occupants.get_mut(occupant) {
            local.leases -= 1;
            if local.leases == 0 && delay.is_zero() {
                room.occupants.remove(occupant);
                room.changed.insert(occupant.clone());
            } else if local.leases == 0 {
                self.serial += 1;
                let due = (now + delay, self.serial);
                local.due = Some(due);
                self.leaving.insert(due, (key.clone(), occupant.clone()));
            }
        }
        self.mark(key);
    }

    /// Ends the stay of those whose delay is over.
    fn expire(&mut self, now: Instant) {
        while let Some(entry) = self.leaving.first_entry()
            && entry.key().0 <= now
        {
            let (key, occupant) = entry.remove();
            if let Some(room) = self.rooms.get_mut(&key) {
                room.occupants.remove(&occupant);
                room.changed.insert(occupant);
                self.mark(&key);
            }
        }
    }

    fn mark(&mut self, key: &RoomKey) {
        if let Some(room) = self.rooms.get_mut(key)
            && !room.is_dirty
        {
            room.is_dirty = true;
            self.dirty.push_back(key.clone());
        }
    }

    fn take(&mut self, key: RoomKey) -> Option<LocalChange> {
        let room = self.rooms.get_mut(&key)?;
        room.is_dirty = false;
        let mut early = Vec::new();
        let mut now = |of: OccupantKey| {
            let local = room.occupants.get_mut(&of);
            let occupant = local.map(|local| {
                early.append(&mut local.early);
                local.occupant.clone()
            });
            (of, occupant)
        };
        let occupants = room.changed.drain().map(&mut now).collect();
        let waiting = std::mem::take(&mut room.waiting);
        let shards = room.shards.keys().copied().collect();
        if room.occupants.is_empty() && room.shards.is_empty() {
            self.rooms.remove(&key);
        }
        Some(LocalChange { key, occupants, shards, early, waiting })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_secs(3);

    fn room() -> RoomKey {
        RoomKey::new("/", "r")
    }

    fn shown(user: &str) -> TrackedOccupant {
        TrackedOccupant { occupant: Occupant::user(user.into(), None), is_shown: true }
    }

    fn acquire(registry: &Arc<PresenceRegistry>, user: &str) -> Lease {
        registry.acquire(&room(), 0, shown(user)).0
    }

    /// The users that came (`true`) or went, of the next changes.
    fn changes(registry: &PresenceRegistry, now: Instant) -> Vec<(String, bool)> {
        let changes = registry.changes(now, 10).into_iter().flat_map(|change| change.occupants);
        let mut users: Vec<_> = changes
            .map(|(key, occupant)| match key {
                OccupantKey::User(key) | OccupantKey::Member(key) => {
                    (key.to_string(), occupant.is_some())
                }
            })
            .collect();
        users.sort();
        users
    }

    #[test]
    fn only_the_first_member_of_a_user_comes_and_only_the_last_one_goes() {
        let registry = PresenceRegistry::new(DELAY);
        let now = Instant::now();
        let (first, second) = (acquire(&registry, "ada"), acquire(&registry, "ada"));
        assert_eq!(changes(&registry, now), [("ada".to_owned(), true)]);
        first.end();
        assert_eq!(changes(&registry, now), []);
        second.end();
        assert_eq!(changes(&registry, now), [("ada".to_owned(), false)]);
        assert!(registry.table.lock().rooms.is_empty());
    }

    #[test]
    fn a_user_whose_connection_ended_leaves_after_the_delay_unless_it_is_back() {
        let registry = PresenceRegistry::new(DELAY);
        drop(acquire(&registry, "ada"));
        let now = Instant::now();
        assert_eq!(changes(&registry, now), [("ada".to_owned(), true)]);
        let back = acquire(&registry, "ada");
        assert_eq!(changes(&registry, now + DELAY * 2), []);
        drop(back);
        let due = registry.next_due().unwrap();
        assert_eq!(changes(&registry, due - Duration::from_millis(1)), []);
        assert_eq!(changes(&registry, due), [("ada".to_owned(), false)]);
        assert!(registry.table.lock().rooms.is_empty() && registry.next_due().is_none());
    }

    #[test]
    fn who_comes_and_goes_between_two_looks_is_gone() {
        let registry = PresenceRegistry::new(DELAY);
        acquire(&registry, "ada").end();
        assert_eq!(changes(&registry, Instant::now()), [("ada".to_owned(), false)]);
        assert_eq!(changes(&registry, Instant::now()), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_join_waits_until_the_roster_is_known_and_a_second_at_most() {
        let registry = PresenceRegistry::new(DELAY);
        let (_lease, wait) = registry.acquire(&room(), 3, shown("ada"));
        let mut changes = registry.changes(Instant::now(), 10);
        assert_eq!(changes[0].shards.iter().collect::<Vec<_>>(), [3]);
        changes[0].waiting.remove(0).send(()).unwrap();
        wait.unwrap().await;
        let (_lease, wait) = registry.acquire(&room(), 3, shown("bob"));
        wait.unwrap().await;
    }

    #[test]
    fn an_occupant_that_is_shown_to_nobody_is_followed_without_a_roster() {
        let registry = PresenceRegistry::new(DELAY);
        let hidden = TrackedOccupant { is_shown: false, ..shown("ada") };
        let (lease, wait) = registry.acquire(&room(), 3, hidden);
        assert!(wait.is_none() && !lease.is_shown());
        let taken = registry.changes(Instant::now(), 10);
        assert!(taken[0].shards.is_empty() && taken[0].occupants.len() == 1);
        lease.end();
        assert_eq!(changes(&registry, Instant::now()), [("ada".to_owned(), false)]);
        assert!(registry.table.lock().rooms.is_empty());
    }
}
