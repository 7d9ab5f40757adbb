//! The last minute of each room, bounded in rooms. Pure.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use indexmap::{Equivalent, IndexMap};

use super::histogram::{BOUNDS, Histogram, Tally};
use rookery_protocol::Room;

/// A window is this many slots of [`SLOT`]: a minute, and the one that has begun.
const SLOTS: usize = 7;

/// The length of a slot.
const SLOT: Duration = Duration::from_secs(10);

/// Rooms that a shard keeps a window of.
pub const ROOMS: usize = 32 << 10;

/// Rooms that are looked at for the one that was silent longest, where one must make place.
const LOOK_AT: usize = 8;

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

/// The figures of a histogram.
pub fn summary(histogram: &Histogram) -> Summary {
    Summary {
        p50: histogram.quantile(0.5),
        p99: histogram.quantile(0.99),
        max: histogram.max(),
        count: histogram.count(),
    }
}

/// The last minute of one room.
#[derive(Clone, Debug)]
pub struct RoomWaits {
    /// The room's namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub room: Room,
    /// How many deliveries there were, measured or not.
    pub deliveries: u64,
    /// How long those waited that were measured, of up to ten seconds before it too.
    pub waits: Histogram,
}

impl RoomWaits {
    /// A minute without deliveries.
    pub fn none(namespace: Arc<str>, room: Room) -> Self {
        RoomWaits { namespace, room, deliveries: 0, waits: Histogram::default() }
    }
}

/// A room of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The room's name.
    pub room: Room,
}

/// A [`Key`] that is only looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyRef<'a>(pub &'a str, pub &'a str);

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
        self.1.hash(state);
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self.0 == *key.namespace && *self.1 == *key.room
    }
}

/// The windows of one shard's rooms. Where it has as many as it may, a room that was silent for
/// long makes place for a new one.
pub struct Windows {
    rooms: IndexMap<Key, Window>,
    most: usize,
    epoch: Instant,
    /// Where the search for a silent room goes on.
    hand: usize,
    evicted: u64,
}

/// One room's last minute, in slots that come into being with their first delivery.
#[derive(Default)]
pub struct Window {
    slots: [Option<Box<Slot>>; SLOTS],
    /// The number of the last slot with a delivery.
    last: u32,
    /// What its owner remembers of the room.
    pub note: u64,
}

/// Ten seconds of a room.
#[derive(Clone)]
struct Slot {
    number: u32,
    deliveries: u32,
    counts: [u32; BOUNDS.len() + 1],
    /// Nanoseconds, all waits together.
    nanos: u64,
    /// Nanoseconds, the longest wait.
    max: u64,
}

impl Windows {
    /// None yet; at most `most` of them. Time is counted from `epoch`.
    pub fn new(most: usize, epoch: Instant) -> Self {
        Windows { rooms: IndexMap::new(), most: most.max(1), epoch, hand: 0, evicted: 0 }
    }

    /// The room's window; true: it is new, and begins with the next delivery.
    pub fn of(&mut self, namespace: &Arc<str>, room: &Room) -> (&mut Window, bool) {
        let known = self.rooms.get_index_of(&KeyRef(namespace, room));
        let at = known.unwrap_or_else(|| {
            let silent = (self.rooms.len() >= self.most).then(|| self.silent());
            let key = Key { namespace: namespace.clone(), room: room.clone() };
            let last = self.rooms.insert_full(key, Window::default()).0;
            let Some(at) = silent else { return last };
            // The new one takes the position: no other moves, so no walk sees one twice.
            self.rooms.swap_remove_index(at);
            self.evicted += 1;
            at
        });
        (&mut self.rooms[at], known.is_none())
    }

    /// The number of the slot that counts at `now`, for [`Window::add`].
    pub fn slot(&self, now: Instant) -> u32 {
        let slots = now.saturating_duration_since(self.epoch).as_secs() / SLOT.as_secs();
        u32::try_from(slots).unwrap_or(u32::MAX)
    }

    /// Adds a room's last minute to `waits`.
    pub fn add_to(&self, key: KeyRef<'_>, now: Instant, waits: &mut RoomWaits) {
        if let Some(window) = self.rooms.get(&key) {
            self.minute(window, now).add_to(waits);
        }
    }

    fn minute<'a>(&self, window: &'a Window, now: Instant) -> LastMinute<'a> {
        let into = now.saturating_duration_since(self.epoch).as_nanos() % SLOT.as_nanos();
        let left = 1.0 - into as f64 / SLOT.as_nanos() as f64;
        LastMinute { window, slot: self.slot(now), left }
    }

    /// The last minutes of up to `most` rooms that lie before position `below`, from the back to
    /// the front: whoever walks through all of them may let deliveries come in between, and sees
    /// every room that stays once, unless there is a sweep. Gives the position to go on below; 0:
    /// that was all.
    pub fn walk(
        &self,
        below: usize,
        most: usize,
        now: Instant,
        mut visit: impl FnMut(&Key, LastMinute<'_>),
    ) -> usize {
        let below = below.min(self.rooms.len());
        let from = below.saturating_sub(most);
        for at in (from..below).rev() {
            if let Some((key, window)) = self.rooms.get_index(at) {
                visit(key, self.minute(window, now));
            }
        }
        from
    }

    /// Forgets, as [`Windows::walk`] walks, rooms without a delivery in the last minute, and the
    /// slots before it of the others.
    pub fn sweep(&mut self, below: usize, most: usize, now: Instant) -> usize {
        let below = below.min(self.rooms.len());
        let from = below.saturating_sub(most);
        let slot = self.slot(now);
        for at in (from..below).rev() {
            let window = &mut self.rooms[at];
            window.forget_before(slot);
            if window.slots.iter().all(Option::is_none) {
                // The last takes its position: it was looked at before, or is new.
                self.rooms.swap_remove_index(at);
            }
        }
        if from == 0 && self.rooms.capacity() > 4 * self.rooms.len().max(256) {
            self.rooms.shrink_to(2 * self.rooms.len());
        }
        from
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rooms.len()
    }

    /// How many had to make place.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Of some rooms, the position of the one that was silent for longest.
    fn silent(&mut self) -> usize {
        let len = self.rooms.len();
        let seen = (0..LOOK_AT.min(len)).map(|n| (self.hand + n) % len);
        let silent = seen.min_by_key(|at| self.rooms[*at].last);
        self.hand = (self.hand + LOOK_AT) % len;
        silent.unwrap_or(0)
    }
}

/// A room's last minute, as [`Windows::walk`] shows it.
pub struct LastMinute<'a> {
    window: &'a Window,
    slot: u32,
    /// The part of the oldest slot that lies within the minute.
    left: f64,
}

impl LastMinute<'_> {
    /// How many deliveries there were. Of the slot in which the minute began only a part counts,
    /// so that a steady rate shows as one.
    pub fn deliveries(&self) -> u64 {
        let oldest = self.slot.checked_sub(SLOTS as u32 - 1);
        let of = |slot: &Slot| match f64::from(slot.deliveries) {
            all if Some(slot.number) == oldest => (all * self.left).ceil() as u64,
            all => all as u64,
        };
        self.window.current(self.slot).map(of).sum()
    }

    /// Adds them to `waits`; the waits are those of the whole slots.
    pub fn add_to(&self, waits: &mut RoomWaits) {
        waits.deliveries += self.deliveries();
        for slot in self.window.current(self.slot) {
            waits.waits.merge(&slot.histogram());
        }
    }
}

impl Window {
    /// Counts `deliveries`, of which `tally` were measured, in slot `number`.
    pub fn add(&mut self, number: u32, deliveries: usize, tally: &Tally) {
        let slot = &mut self.slots[number as usize % SLOTS];
        let slot = match slot {
            Some(slot) => slot,
            None => slot.insert(Box::new(Slot::new(number))),
        };
        if slot.number < number {
            **slot = Slot::new(number);
        }
        self.last = self.last.max(number);
        let add = |count: &mut u32, n: u64| {
            *count = count.saturating_add(u32::try_from(n).unwrap_or(u32::MAX));
        };
        add(&mut slot.deliveries, deliveries as u64);
        tally.each(|bucket, n| add(&mut slot.counts[bucket], n));
        slot.nanos = slot.nanos.saturating_add(tally.nanos());
        slot.max = slot.max.max(tally.max());
    }

    fn current(&self, number: u32) -> impl Iterator<Item = &Slot> {
        self.slots.iter().flatten().filter(move |slot| is_current(slot, number)).map(|slot| &**slot)
    }

    fn forget_before(&mut self, number: u32) {
        for slot in &mut self.slots {
            slot.take_if(|slot| !is_current(slot, number));
        }
    }
}

fn is_current(slot: &Slot, number: u32) -> bool {
    slot.number + SLOTS as u32 > number
}

impl Slot {
    fn new(number: u32) -> Self {
        Slot { number, deliveries: 0, counts: [0; BOUNDS.len() + 1], nanos: 0, max: 0 }
    }

    fn histogram(&self) -> Histogram {
        let (sum, max) = (Duration::from_nanos(self.nanos), Duration::from_nanos(self.max));
        Histogram::from_parts(&self.counts.map(u64::from), sum, max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(windows: &mut Windows, room: &str, now: Instant) {
        let tally = Tally::of(now, [now + Duration::from_millis(1)].into_iter());
        let slot = windows.slot(now);
        windows.of(&"/".into(), &room.into()).0.add(slot, 1, &tally);
    }

    fn count(windows: &Windows, room: &str, now: Instant) -> u64 {
        let mut waits = RoomWaits::none("/".into(), room.into());
        windows.add_to(KeyRef("/", room), now, &mut waits);
        waits.deliveries
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_delivery_counts_for_a_minute() {
        let start = Instant::now();
        for offset in [0, 5, 9] {
            let mut windows = Windows::new(10, start);
            let at = start + seconds(offset);
            record(&mut windows, "a", at);
            assert_eq!(count(&windows, "a", at + seconds(60)), 1, "at {offset}");
            assert_eq!(count(&windows, "a", at + seconds(71)), 0, "at {offset}");
            assert_eq!(count(&windows, "b", at), 0);
            record(&mut windows, "a", at + seconds(71));
            assert_eq!(count(&windows, "a", at + seconds(71)), 1, "its slot begins anew");
        }
    }

    #[test]
    fn a_steady_rate_shows_as_one_at_any_moment() {
        let start = Instant::now();
        let mut windows = Windows::new(10, start);
        for second in 0..200_u64 {
            for _ in 0..10 {
                record(&mut windows, "a", start + seconds(second));
            }
            if second >= 70 {
                let now = start + seconds(second + 1);
                let counted = count(&windows, "a", now);
                assert!((600..=610).contains(&counted), "{counted} at {second}");
            }
        }
    }

    #[test]
    fn a_late_account_wipes_nothing() {
        let start = Instant::now();
        let mut windows = Windows::new(10, start);
        record(&mut windows, "a", start + seconds(75));
        record(&mut windows, "a", start + seconds(5));
        assert_eq!(count(&windows, "a", start + seconds(75)), 2);
    }

    #[test]
    fn a_new_room_takes_the_place_of_one_that_was_silent_for_long() {
        let start = Instant::now();
        let mut windows = Windows::new(100, start);
        for n in 0..100 {
            record(&mut windows, &n.to_string(), start);
        }
        let later = start + seconds(20);
        for n in 0..50 {
            record(&mut windows, &n.to_string(), later);
        }
        for n in 100..120 {
            record(&mut windows, &n.to_string(), later);
        }
        assert_eq!((windows.len(), windows.evicted()), (100, 20));
        let stayed = (0..50).filter(|n| count(&windows, &n.to_string(), later) == 2).count();
        assert!(stayed > 30, "most of those that go on: {stayed}");
    }

    #[test]
    fn a_sweep_forgets_what_is_over_and_keeps_the_rest() {
        let start = Instant::now();
        let mut windows = Windows::new(1000, start);
        for n in 0..1000 {
            let at = if n % 3 == 0 { start + seconds(50) } else { start };
            record(&mut windows, &n.to_string(), at);
        }
        let mut below = windows.len();
        while below > 0 {
            below = windows.sweep(below, 7, start + seconds(80));
        }
        assert_eq!(windows.len(), 334);
        assert!(
            (0..1000).step_by(3).all(|n| count(&windows, &n.to_string(), start + seconds(80)) == 1)
        );
    }

    #[test]
    fn a_walk_sees_every_room() {
        let start = Instant::now();
        let mut windows = Windows::new(1000, start);
        for n in 0..100 {
            record(&mut windows, &n.to_string(), start);
        }
        let (mut below, mut seen) = (windows.len(), 0);
        while below > 0 {
            below = windows.walk(below, 7, start, |_, minute| seen += minute.deliveries());
        }
        assert_eq!(seen, 100);
    }
}
