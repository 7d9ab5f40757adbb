//! The last minute of each busy room, bounded in rooms.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::histogram::Histogram;
use crate::publication::Room;

/// A window is this many slots of [`SLOT`].
const SLOTS: usize = 6;

/// The length of a slot.
const SLOT: Duration = Duration::from_secs(10);

/// Rooms that one shard keeps a window of. Beyond it the idle are forgotten, and where none is
/// idle a further room has none until one is.
const ROOMS: usize = 2048;

/// The windows of a shard's rooms.
#[derive(Default)]
pub struct Windows {
    rooms: HashMap<Room, Vec<(Arc<str>, Window)>>,
    kept: usize,
    swept: Option<Instant>,
}

struct Window {
    slots: [Histogram; SLOTS],
    current: usize,
    since: Instant,
}

/// How long the members of a room waited in the last minute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Half of the deliveries waited at most this long.
    pub p50: Duration,
    /// 99 of 100 deliveries waited at most this long.
    pub p99: Duration,
    /// The longest wait.
    pub max: Duration,
    /// How many deliveries were measured.
    pub count: u64,
}

/// The last minute of one room on this instance.
#[derive(Clone, Debug)]
pub struct RoomWaits {
    /// The room's namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub room: Room,
    /// How many deliveries there were, measured or not.
    pub deliveries: u64,
    /// How long those waited that were measured.
    pub waits: Histogram,
}

/// The figures of a histogram.
pub fn summary(histogram: &Histogram) -> Summary {
    Summary {
        p50: histogram.quantile(0.5),
        p99: histogram.quantile(0.99),
        max: histogram.max(),
        count: histogram.count(),
    }
}

impl Windows {
    /// The histogram that counts for the room now, where one is kept.
    pub fn of(
        &mut self,
        namespace: &Arc<str>,
        room: Option<&Room>,
        now: Instant,
    ) -> Option<&mut Histogram> {
        let room = room?;
        if !self.rooms.contains_key(room) {
            if self.kept >= ROOMS {
                self.sweep(now);
            }
            if self.kept >= ROOMS {
                return None;
            }
            self.rooms.insert(room.clone(), Vec::new());
        }
        let windows = self.rooms.get_mut(room)?;
        let at = match windows.iter().position(|(n, _)| n == namespace) {
            Some(at) => at,
            None => {
                self.kept += 1;
                windows.push((namespace.clone(), Window::new(now)));
                windows.len() - 1
            }
        };
        let window = &mut windows[at].1;
        window.turn(now);
        Some(&mut window.slots[window.current])
    }

    /// Adds the room's last minute to `merged`.
    pub fn merge(
        &mut self,
        namespace: &str,
        room: &str,
        now: Instant,
        merged: &mut Option<Histogram>,
    ) {
        let Some(windows) = self.rooms.get_mut(room) else { return };
        for (_, window) in windows.iter_mut().filter(|(n, _)| **n == *namespace) {
            window.turn(now);
            for slot in window.slots.iter().filter(|slot| slot.count() > 0) {
                merged.get_or_insert_default().merge(slot);
            }
        }
    }

    /// Adds every room's last minute to `all`.
    pub fn merge_all(&mut self, now: Instant, all: &mut HashMap<(Arc<str>, Room), RoomWaits>) {
        for (room, windows) in &mut self.rooms {
            for (namespace, window) in windows {
                window.turn(now);
                let entry = all.entry((namespace.clone(), room.clone()));
                let waits = entry.or_insert_with(|| RoomWaits {
                    namespace: namespace.clone(),
                    room: room.clone(),
                    deliveries: 0,
                    waits: Histogram::default(),
                });
                for slot in &window.slots {
                    waits.deliveries += slot.count();
                    waits.waits.merge(slot);
                }
            }
        }
    }

    /// Forgets rooms that were idle for a whole window; at most once a slot.
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|at| now.duration_since(at) < SLOT) {
            return;
        }
        self.swept = Some(now);
        self.rooms.retain(|_, windows| {
            windows.retain_mut(|(_, window)| {
                window.turn(now);
                window.slots.iter().any(|slot| slot.count() > 0)
            });
            !windows.is_empty()
        });
        self.kept = self.rooms.values().map(Vec::len).sum();
    }
}

impl Window {
    fn new(now: Instant) -> Self {
        Window { slots: Default::default(), current: 0, since: now }
    }

    fn turn(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.since).as_secs() / SLOT.as_secs();
        if passed == 0 {
            return;
        }
        for _ in 0..passed.min(SLOTS as u64) {
            self.current = (self.current + 1) % SLOTS;
            self.slots[self.current] = Histogram::default();
        }
        self.since += SLOT * u32::try_from(passed).unwrap_or(u32::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(windows: &mut Windows, room: &str, now: Instant) -> bool {
        let room: Room = room.into();
        let slot = windows.of(&"/".into(), Some(&room), now);
        slot.map(|h| h.record(Duration::from_millis(1).into())).is_some()
    }

    fn count(windows: &mut Windows, room: &str, now: Instant) -> u64 {
        let mut merged = None;
        windows.merge("/", room, now, &mut merged);
        merged.map_or(0, |h| h.count())
    }

    #[test]
    fn a_delivery_counts_for_a_minute() {
        let (mut windows, start) = (Windows::default(), Instant::now());
        assert!(record(&mut windows, "a", start));
        assert_eq!(count(&mut windows, "a", start + Duration::from_secs(49)), 1);
        assert_eq!(count(&mut windows, "a", start + Duration::from_secs(61)), 0);
        assert_eq!(count(&mut windows, "b", start), 0);
    }

    #[test]
    fn rooms_are_bounded_and_idle_ones_make_place() {
        let (mut windows, start) = (Windows::default(), Instant::now());
        for n in 0..ROOMS {
            assert!(record(&mut windows, &n.to_string(), start));
        }
        assert!(!record(&mut windows, "one more", start));
        assert!(record(&mut windows, "one more", start + Duration::from_secs(70)));
        assert_eq!(windows.kept, 1);
    }
}
