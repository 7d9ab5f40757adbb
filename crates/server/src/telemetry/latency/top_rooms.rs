//! The [`TopRooms`]: which rooms have a latency series of their own.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::hashing::{HashMap, HashSet};
use crate::message::{MemberId, PodId};
use rookery_protocol::Room;

/// A room without a delivery for this long loses its series: as long as Prometheus looks back.
const IDLE: Duration = Duration::from_secs(300);

/// A busier room replaces another one if it has at least this many times its deliveries.
const REPLACE_FACTOR: u64 = 2;

/// At most one in this many rooms is replaced in a rebalance: each replacement is a new series for
/// Prometheus to store.
const REPLACED_ONE_IN: usize = 10;

/// The rooms that have a series at one moment.
#[derive(Default)]
pub struct Selection {
    /// Changes whenever the selection does.
    pub version: u64,
    /// Each room with the version that selected it, 0 for a pinned room. A room that is selected
    /// again starts from zero.
    pub rooms: HashMap<Room, u64>,
}

/// The rooms that have a series: those that are pinned, and the `limit` busiest others.
pub struct TopRooms {
    pinned: HashSet<Room>,
    /// The most rooms besides the pinned ones.
    limit: usize,
    /// The pod whose members' ids are no rooms.
    pod: PodId,
    version: AtomicU64,
    selection: ArcSwap<Selection>,
    /// Whether another room may be admitted before the next rebalance.
    admits: AtomicBool,
    busiest: Mutex<HashMap<Room, Admission>>,
}

/// When a room got its series.
#[derive(Clone, Copy)]
struct Admission {
    /// The version that selected the room.
    version: u64,
    /// The last rebalance that saw deliveries in the room.
    active: Instant,
}

impl TopRooms {
    /// Selects the pinned rooms only. `pod` is the prefix of its members' ids.
    pub fn new(pinned: impl IntoIterator<Item = Room>, limit: usize, pod: &str) -> Self {
        let top_rooms = TopRooms {
            pinned: pinned.into_iter().collect(),
            limit,
            pod: pod.into(),
            version: AtomicU64::new(0),
            selection: ArcSwap::default(),
            admits: AtomicBool::new(limit > 0),
            busiest: Mutex::default(),
        };
        top_rooms.store(&top_rooms.busiest.lock());
        top_rooms
    }

    /// The version of the current selection.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The current selection.
    pub fn selection(&self) -> Arc<Selection> {
        self.selection.load_full()
    }

    /// Selects a room at its first delivery, while the limit is not reached.
    pub fn admit(&self, room: &Room, now: Instant) {
        if !self.admits.load(Ordering::Relaxed) || self.pinned.contains(room) {
            return;
        }
        let mut busiest = self.busiest.lock();
        if busiest.len() < self.limit && !busiest.contains_key(room) {
            busiest.insert(room.clone(), Admission { version: self.version() + 1, active: now });
            self.admits.store(busiest.len() < self.limit, Ordering::Relaxed);
            self.store(&busiest);
        }
    }

    /// Selects rooms by their `deliveries` in the last minute, replacing a selected room only by
    /// one that is clearly busier. Deliveries do not wait for it; no room is admitted meanwhile.
    pub fn rebalance(&self, deliveries: &HashMap<Room, u64>, now: Instant) {
        let (mut next, seen) = {
            let busiest = self.busiest.lock();
            self.admits.store(false, Ordering::Relaxed);
            (busiest.clone(), self.version())
        };
        let changed = self.select(&mut next, deliveries, now);
        let mut busiest = self.busiest.lock();
        // An admission that had begun before the rebalance may have completed since.
        for (room, admission) in busiest.drain() {
            if admission.version > seen && next.len() < self.limit {
                next.entry(room).or_insert(admission);
            }
        }
        *busiest = next;
        self.admits.store(busiest.len() < self.limit, Ordering::Relaxed);
        if changed || self.version() != seen {
            self.store(&busiest);
        }
    }

    /// Updates `rooms`; returns whether other rooms are selected now.
    fn select(
        &self,
        rooms: &mut HashMap<Room, Admission>,
        deliveries: &HashMap<Room, u64>,
        now: Instant,
    ) -> bool {
        let new = Admission { version: self.version() + 1, active: now };
        let mut changed = remove_idle(rooms, deliveries, now);
        let mut challengers: Vec<(&Room, u64)> = deliveries
            .iter()
            .filter(|(room, _)| !rooms.contains_key(*room) && !self.pinned.contains(*room))
            .map(|(room, n)| (room, *n))
            .collect();
        challengers.sort_unstable_by_key(|(_, n)| Reverse(*n));
        let mut challengers = challengers.into_iter();
        let free = self.limit.saturating_sub(rooms.len());
        for (room, _) in challengers.by_ref().take(free) {
            rooms.insert(room.clone(), new);
            changed = true;
        }
        let count = |room: &Room| deliveries.get(room).copied().unwrap_or(0);
        let mut quietest: Vec<(Room, u64)> =
            rooms.keys().map(|room| (room.clone(), count(room))).collect();
        quietest.sort_unstable_by_key(|(_, n)| *n);
        let replaced = self.limit.div_ceil(REPLACED_ONE_IN);
        for ((busy, n), (quiet, m)) in challengers.zip(quietest).take(replaced) {
            if n < REPLACE_FACTOR * m.max(1) {
                break;
            }
            rooms.remove(&quiet);
            rooms.insert(busy.clone(), new);
            changed = true;
        }
        changed
    }

    /// Whether `room` is the id of one of the pod's members. Ids come and go with the clients, so
    /// none gets a series.
    pub fn is_member_id(&self, room: &str) -> bool {
        MemberId::is_of(room, &self.pod)
    }

    /// Makes `busiest` and the pinned rooms the current selection. The caller holds the lock, so
    /// there is one store at a time.
    fn store(&self, busiest: &HashMap<Room, Admission>) {
        let version = self.version() + 1;
        let pinned = self.pinned.iter().map(|room| (room.clone(), 0));
        let busiest = busiest.iter().map(|(room, admission)| (room.clone(), admission.version));
        let rooms = busiest.chain(pinned).collect();
        self.selection.store(Arc::new(Selection { version, rooms }));
        self.version.store(version, Ordering::Release);
    }
}

/// Removes the rooms without a delivery for [`IDLE`]; returns whether there were any.
fn remove_idle(
    rooms: &mut HashMap<Room, Admission>,
    deliveries: &HashMap<Room, u64>,
    now: Instant,
) -> bool {
    for (room, admission) in &mut *rooms {
        if deliveries.contains_key(room) {
            admission.active = now;
        }
    }
    let before = rooms.len();
    rooms.retain(|_, admission| now.saturating_duration_since(admission.active) < IDLE);
    rooms.len() != before
}

#[cfg(test)]
mod tests {
    use super::*;

    fn top_rooms(limit: usize) -> TopRooms {
        TopRooms::new(["pinned".into()], limit, "podnamed")
    }

    fn counts<const N: usize>(rooms: [(&str, u64); N]) -> HashMap<Room, u64> {
        rooms.into_iter().map(|(room, n)| (room.into(), n)).collect()
    }

    fn names(top: &TopRooms) -> Vec<String> {
        let mut names: Vec<_> = top.selection().rooms.keys().map(|r| r.to_string()).collect();
        names.sort();
        names
    }

    fn has(top: &TopRooms, room: &str) -> bool {
        top.selection().rooms.contains_key(room)
    }

    #[test]
    fn the_first_rooms_are_selected_up_to_the_limit() {
        let (top, now) = (top_rooms(2), Instant::now());
        let before = top.version();
        for room in ["pinned", "a", "a", "b", "c"] {
            top.admit(&room.into(), now);
        }
        assert_eq!(names(&top), ["a", "b", "pinned"]);
        assert_eq!(top.version(), before + 2);
    }

    #[test]
    fn a_member_id_is_told_from_a_room() {
        let top = top_rooms(2);
        assert!(top.is_member_id("podnamedabcdefghijkl"));
        assert!(!top.is_member_id("podnamed") && !top.is_member_id("another-room-of-20-ch"));
    }

    #[test]
    fn a_room_that_is_selected_again_starts_a_new_series() {
        let (top, start) = (top_rooms(1), Instant::now());
        top.admit(&"a".into(), start);
        let first = top.selection().rooms["a"];
        top.rebalance(&counts([]), start + IDLE);
        top.admit(&"a".into(), start + IDLE);
        assert_ne!(top.selection().rooms["a"], first);
        assert_eq!(top.selection().rooms["pinned"], 0, "a pinned room keeps its series");
    }

    #[test]
    fn a_clearly_busier_room_replaces_the_quietest() {
        let (top, now) = (top_rooms(2), Instant::now());
        top.rebalance(&counts([("a", 10), ("b", 20)]), now);
        top.rebalance(&counts([("a", 10), ("b", 20), ("c", 15)]), now);
        assert!(!has(&top, "c"), "it is not twice as busy");
        top.rebalance(&counts([("a", 10), ("b", 20), ("c", 50), ("d", 60)]), now);
        assert_eq!(names(&top), ["b", "d", "pinned"], "one replacement per rebalance");
    }

    #[test]
    fn an_idle_room_keeps_its_series_until_it_expires_or_is_replaced() {
        let (top, start) = (top_rooms(1), Instant::now());
        top.admit(&"a".into(), start);
        top.rebalance(&counts([]), start + IDLE / 2);
        assert!(has(&top, "a"));
        top.rebalance(&counts([]), start + IDLE);
        assert!(!has(&top, "a"));
        top.admit(&"b".into(), start);
        top.rebalance(&counts([("c", 2)]), start);
        assert!(has(&top, "c") && !has(&top, "b"));
    }
}
