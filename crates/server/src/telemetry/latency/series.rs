//! Which rooms have a series of their own: those that are pinned, and the busiest.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::message::member_id::ID_LENGTH;
use rookery_protocol::Room;

/// A room without a delivery for this long gives up its series: as long as Prometheus looks back.
const IDLE: Duration = Duration::from_secs(300);

/// A busy room takes a place from one with less than this part of its deliveries.
const CLEARLY: u64 = 2;

/// Of how many places, at most, one may be taken in an election: each change is a new series for
/// Prometheus to keep.
const ONE_IN: usize = 10;

/// The chosen rooms at one moment.
#[derive(Default)]
pub struct Choice {
    /// Changes with every choice.
    pub version: u64,
    /// Each room with the version that chose it: one that is chosen again begins anew.
    pub rooms: HashMap<Room, u64>,
}

/// The chosen rooms. At most as many as are pinned, and `top` more.
pub struct Chosen {
    pinned: HashSet<Room>,
    top: usize,
    /// The pod's name, with which its members' ids begin.
    pod: String,
    version: AtomicU64,
    choice: ArcSwap<Choice>,
    /// Whether another room may be chosen before the next election.
    has_place: AtomicBool,
    busiest: Mutex<HashMap<Room, Since>>,
}

#[derive(Clone, Copy)]
struct Since {
    /// The version that chose it.
    version: u64,
    /// When it last had deliveries, as far as elections saw.
    active: Instant,
}

impl Chosen {
    /// Nobody but `pinned` yet.
    pub fn new(pinned: impl IntoIterator<Item = Room>, top: usize, pod: &str) -> Self {
        let chosen = Chosen {
            pinned: pinned.into_iter().collect(),
            top,
            pod: pod.to_owned(),
            version: AtomicU64::new(0),
            choice: ArcSwap::default(),
            has_place: AtomicBool::new(top > 0),
            busiest: Mutex::default(),
        };
        chosen.announce(&chosen.busiest.lock());
        chosen
    }

    /// Changes whenever other rooms are chosen.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The chosen rooms.
    pub fn choice(&self) -> Arc<Choice> {
        self.choice.load_full()
    }

    /// Chooses a room that has its first delivery, while there is place.
    pub fn admit(&self, room: &Room, now: Instant) {
        if !self.has_place.load(Ordering::Relaxed) || self.pinned.contains(room) {
            return;
        }
        let mut busiest = self.busiest.lock();
        if busiest.len() < self.top && !busiest.contains_key(room) {
            busiest.insert(room.clone(), Since { version: self.version() + 1, active: now });
            self.has_place.store(busiest.len() < self.top, Ordering::Relaxed);
            self.announce(&busiest);
        }
    }

    /// Chooses anew by the deliveries of the last minute, where they differ clearly. Nobody waits
    /// for it: meanwhile no room is admitted.
    pub fn elect(&self, deliveries: &HashMap<Room, u64>, now: Instant) {
        let (mut next, seen) = {
            let busiest = self.busiest.lock();
            self.has_place.store(false, Ordering::Relaxed);
            (busiest.clone(), self.version())
        };
        let changed = self.choose(&mut next, deliveries, now);
        let mut busiest = self.busiest.lock();
        // Whoever was about to be admitted when the election began has come in between.
        for (room, since) in busiest.drain() {
            if since.version > seen && next.len() < self.top {
                next.entry(room).or_insert(since);
            }
        }
        *busiest = next;
        self.has_place.store(busiest.len() < self.top, Ordering::Relaxed);
        if changed || self.version() != seen {
            self.announce(&busiest);
        }
    }

    /// Whether others are chosen now.
    fn choose(
        &self,
        next: &mut HashMap<Room, Since>,
        deliveries: &HashMap<Room, u64>,
        now: Instant,
    ) -> bool {
        let new = Since { version: self.version() + 1, active: now };
        for (room, since) in &mut *next {
            if deliveries.contains_key(room) {
                since.active = now;
            }
        }
        let before = next.len();
        next.retain(|_, since| now.saturating_duration_since(since.active) < IDLE);
        let mut changed = next.len() != before;
        let of = |room: &Room| deliveries.get(room).copied().unwrap_or(0);
        let mut challengers: Vec<(&Room, u64)> = deliveries
            .iter()
            .filter(|(room, _)| !next.contains_key(*room) && !self.pinned.contains(*room))
            .map(|(room, n)| (room, *n))
            .collect();
        challengers.sort_unstable_by_key(|(_, n)| std::cmp::Reverse(*n));
        let mut challengers = challengers.into_iter();
        let free = self.top.saturating_sub(next.len());
        for (room, _) in challengers.by_ref().take(free) {
            next.insert(room.clone(), new);
            changed = true;
        }
        let mut weakest: Vec<(Room, u64)> =
            next.keys().map(|room| (room.clone(), of(room))).collect();
        weakest.sort_unstable_by_key(|(_, n)| *n);
        let places = self.top.div_ceil(ONE_IN);
        for ((strong, n), (weak, m)) in challengers.zip(weakest).take(places) {
            if n < CLEARLY * m.max(1) {
                break;
            }
            next.remove(&weak);
            next.insert(strong.clone(), new);
            changed = true;
        }
        changed
    }

    /// Whether it is no room but a member's id: those come and go with the clients.
    pub fn is_a_member(&self, room: &str) -> bool {
        room.len() == ID_LENGTH && !self.pod.is_empty() && room.starts_with(&self.pod)
    }

    /// Tells everybody of a new choice. The lock is held, so there is one at a time.
    fn announce(&self, busiest: &HashMap<Room, Since>) {
        let version = self.version() + 1;
        let pinned = self.pinned.iter().map(|room| (room.clone(), 0));
        let busiest = busiest.iter().map(|(room, since)| (room.clone(), since.version));
        self.choice.store(Arc::new(Choice { version, rooms: busiest.chain(pinned).collect() }));
        self.version.store(version, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(top: usize) -> Chosen {
        Chosen::new(["pinned".into()], top, "podnamed")
    }

    fn counts<const N: usize>(rooms: [(&str, u64); N]) -> HashMap<Room, u64> {
        rooms.into_iter().map(|(room, n)| (room.into(), n)).collect()
    }

    fn names(chosen: &Chosen) -> Vec<String> {
        let mut names: Vec<_> = chosen.choice().rooms.keys().map(|r| r.to_string()).collect();
        names.sort();
        names
    }

    fn has(chosen: &Chosen, room: &str) -> bool {
        chosen.choice().rooms.contains_key(room)
    }

    #[test]
    fn whoever_comes_first_is_chosen_while_there_is_place() {
        let (chosen, now) = (chosen(2), Instant::now());
        let before = chosen.version();
        for room in ["pinned", "a", "a", "b", "c"] {
            chosen.admit(&room.into(), now);
        }
        assert_eq!(names(&chosen), ["a", "b", "pinned"]);
        assert_eq!(chosen.version(), before + 2);
    }

    #[test]
    fn a_member_is_no_room() {
        let chosen = chosen(2);
        assert!(chosen.is_a_member("podnamedabcdefghijkl"));
        assert!(!chosen.is_a_member("podnamed") && !chosen.is_a_member("another-room-of-20-ch"));
    }

    #[test]
    fn a_room_that_is_chosen_again_is_known_to_begin_anew() {
        let (chosen, start) = (chosen(1), Instant::now());
        chosen.admit(&"a".into(), start);
        let first = chosen.choice().rooms["a"];
        chosen.elect(&counts([]), start + IDLE);
        chosen.admit(&"a".into(), start + IDLE);
        assert_ne!(chosen.choice().rooms["a"], first);
        assert_eq!(chosen.choice().rooms["pinned"], 0, "that of a pinned one goes on");
    }

    #[test]
    fn a_clearly_busier_room_takes_the_place_of_the_weakest() {
        let (chosen, now) = (chosen(2), Instant::now());
        chosen.elect(&counts([("a", 10), ("b", 20)]), now);
        chosen.elect(&counts([("a", 10), ("b", 20), ("c", 15)]), now);
        assert!(!has(&chosen, "c"), "it is not twice as busy");
        chosen.elect(&counts([("a", 10), ("b", 20), ("c", 50), ("d", 60)]), now);
        assert_eq!(names(&chosen), ["b", "d", "pinned"], "one at a time");
    }

    #[test]
    fn a_silent_room_keeps_its_series_for_a_while_unless_its_place_is_wanted() {
        let (one, start) = (chosen(1), Instant::now());
        one.admit(&"a".into(), start);
        one.elect(&counts([]), start + IDLE / 2);
        assert!(has(&one, "a"));
        one.elect(&counts([]), start + IDLE);
        assert!(!has(&one, "a"));
        one.admit(&"b".into(), start);
        one.elect(&counts([("c", 2)]), start);
        assert!(has(&one, "c") && !has(&one, "b"));
    }
}
