//! Which rooms have a series of their own: those that are pinned, and the busiest.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::fanout::member::ID_LENGTH;
use crate::publication::Room;

/// A room without a delivery for this long gives up its series: as long as Prometheus looks back.
const IDLE: Duration = Duration::from_secs(300);

/// A busy room takes a place from one with less than this part of its deliveries.
const CLEARLY: u64 = 2;

/// Of how many places, at most, one may be taken in an election: each change is a new series for
/// Prometheus to keep.
const ONE_IN: usize = 10;

/// The chosen rooms. At most as many as are pinned, and `top` more.
pub struct Chosen {
    pinned: HashSet<Room>,
    top: usize,
    /// The pod's name, with which its members' ids begin.
    pod: String,
    version: AtomicU64,
    busiest: Mutex<HashMap<Room, Since>>,
}

struct Since {
    /// When it last had deliveries, as far as elections saw.
    active: Instant,
}

impl Chosen {
    /// Nobody but `pinned` yet.
    pub fn new(pinned: impl IntoIterator<Item = Room>, top: usize, pod: &str) -> Self {
        Chosen {
            pinned: pinned.into_iter().collect(),
            top,
            pod: pod.to_owned(),
            version: AtomicU64::new(1),
            busiest: Mutex::default(),
        }
    }

    /// Changes whenever other rooms are chosen.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The chosen rooms.
    pub fn rooms(&self) -> HashSet<Room> {
        self.pinned.iter().chain(self.busiest.lock().keys()).cloned().collect()
    }

    /// Chooses a room that has its first delivery, while there is place.
    pub fn admit(&self, room: &Room, now: Instant) {
        if self.pinned.contains(room) || self.is_a_member(room) {
            return;
        }
        let mut busiest = self.busiest.lock();
        if busiest.len() < self.top && !busiest.contains_key(room) {
            busiest.insert(room.clone(), Since { active: now });
            self.version.fetch_add(1, Ordering::Release);
        }
    }

    /// Chooses anew by the deliveries of the last minute, where they differ clearly.
    pub fn elect(&self, deliveries: &HashMap<Room, u64>, now: Instant) {
        let mut busiest = self.busiest.lock();
        for (room, since) in &mut *busiest {
            if deliveries.contains_key(room) {
                since.active = now;
            }
        }
        let before = busiest.len();
        busiest.retain(|_, since| now.saturating_duration_since(since.active) < IDLE);
        let mut changed = busiest.len() != before;
        let of = |room: &Room| deliveries.get(room).copied().unwrap_or(0);
        let mut challengers: Vec<(&Room, u64)> = deliveries
            .iter()
            .filter(|(room, _)| !busiest.contains_key(*room) && !self.pinned.contains(*room))
            .filter(|(room, _)| !self.is_a_member(room))
            .map(|(room, n)| (room, *n))
            .collect();
        challengers.sort_unstable_by_key(|(_, n)| std::cmp::Reverse(*n));
        let mut challengers = challengers.into_iter();
        let free = self.top.saturating_sub(busiest.len());
        for (room, _) in challengers.by_ref().take(free) {
            busiest.insert(room.clone(), Since { active: now });
            changed = true;
        }
        let mut weakest: Vec<(Room, u64)> =
            busiest.keys().map(|room| (room.clone(), of(room))).collect();
        weakest.sort_unstable_by_key(|(_, n)| *n);
        let places = self.top.div_ceil(ONE_IN);
        for ((strong, n), (weak, m)) in challengers.zip(weakest).take(places) {
            if n < CLEARLY * m.max(1) {
                break;
            }
            busiest.remove(&weak);
            busiest.insert(strong.clone(), Since { active: now });
            changed = true;
        }
        if changed {
            self.version.fetch_add(1, Ordering::Release);
        }
    }

    /// Whether it is no room but a member's id: those come and go with the clients.
    fn is_a_member(&self, room: &str) -> bool {
        room.len() == ID_LENGTH && room.starts_with(&self.pod)
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

    fn has(chosen: &Chosen, room: &str) -> bool {
        chosen.rooms().contains(room)
    }

    #[test]
    fn whoever_comes_first_is_chosen_while_there_is_place() {
        let (chosen, now) = (chosen(2), Instant::now());
        let before = chosen.version();
        for room in ["pinned", "a", "a", "b", "c"] {
            chosen.admit(&room.into(), now);
        }
        assert_eq!(chosen.rooms(), ["pinned", "a", "b"].map(Room::from).into());
        assert_eq!(chosen.version(), before + 2);
    }

    #[test]
    fn a_member_is_no_room() {
        let (chosen, now) = (chosen(2), Instant::now());
        let id: Room = "podnamedabcdefghijkl".into();
        chosen.admit(&id, now);
        chosen.elect(&[(id.clone(), 9)].into(), now);
        assert!(!has(&chosen, &id));
    }

    #[test]
    fn a_clearly_busier_room_takes_the_place_of_the_weakest() {
        let (chosen, now) = (chosen(2), Instant::now());
        chosen.elect(&counts([("a", 10), ("b", 20)]), now);
        chosen.elect(&counts([("a", 10), ("b", 20), ("c", 15)]), now);
        assert!(!has(&chosen, "c"), "it is not twice as busy");
        chosen.elect(&counts([("a", 10), ("b", 20), ("c", 50), ("d", 60)]), now);
        assert_eq!(chosen.rooms(), ["pinned", "b", "d"].map(Room::from).into(), "one at a time");
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
