//! The [`RoomWindows`]: the last minute of each room of a shard, for a bounded number of rooms.
//! Pure.

use std::time::{Duration, Instant};

use super::histogram::{BOUNDS, Histogram, Tally};
use super::room_latency::RoomLatency;
use crate::hashing::IndexMap;
use crate::message::RoomKey;

/// Slots of a window, each [`SLOT`] long: the last minute, and the slot that has begun.
const SLOTS: usize = 7;

/// The length of a slot.
const SLOT: Duration = Duration::from_secs(10);

/// Rooms that a shard keeps a window for.
pub const MAX_ROOMS: usize = 32 << 10;

/// Candidates for eviction; the one without a delivery for longest is evicted.
const EVICTION_SAMPLE: usize = 8;

/// The windows of one shard's rooms. At the limit, a new room evicts one that has had no delivery
/// for long.
pub struct RoomWindows {
    rooms: IndexMap<RoomKey, Window>,
    /// The most rooms; at least 1.
    limit: usize,
    /// The time at which slot 0 begins.
    epoch: Instant,
    /// The position at which the next search for a room to evict begins.
    hand: usize,
    evicted: u64,
}

/// One room's last minute, in slots that are allocated with their first delivery.
#[derive(Default)]
pub struct Window {
    slots: [Option<Box<Slot>>; SLOTS],
    /// The number of the last slot with a delivery.
    last: u32,
    /// Free for the owner of the windows to remember something about the room; 0 at first.
    pub note: u64,
}

/// Ten seconds of a room.
#[derive(Clone)]
struct Slot {
    number: u32,
    deliveries: u32,
    counts: [u32; BOUNDS.len() + 1],
    /// Sum of the latencies, in nanoseconds.
    nanos: u64,
    /// The longest latency, in nanoseconds.
    max: u64,
}

impl RoomWindows {
    /// No windows yet, and at most `limit` of them. Slots are counted from `epoch`.
    pub fn new(limit: usize, epoch: Instant) -> Self {
        RoomWindows { rooms: IndexMap::default(), limit: limit.max(1), epoch, hand: 0, evicted: 0 }
    }

    /// The room's window, and whether it was created by this call.
    pub fn window(&mut self, key: &RoomKey) -> (&mut Window, bool) {
        let known = self.rooms.get_index_of(key);
        let at = known.unwrap_or_else(|| {
            let victim = (self.rooms.len() >= self.limit).then(|| self.victim());
            let last = self.rooms.insert_full(key.clone(), Window::default()).0;
            let Some(at) = victim else { return last };
            // The new room takes the victim's position and no other room moves, so a walk visits
            // none twice.
            self.rooms.swap_remove_index(at);
            self.evicted += 1;
            at
        });
        (&mut self.rooms[at], known.is_none())
    }

    /// The number of the slot that contains `now`, for [`Window::add`].
    pub fn slot(&self, now: Instant) -> u32 {
        let slots = now.saturating_duration_since(self.epoch).as_secs() / SLOT.as_secs();
        u32::try_from(slots).unwrap_or(u32::MAX)
    }

    /// Adds the last minute of the room `latency.key` to `latency`.
    pub fn add_to(&self, now: Instant, latency: &mut RoomLatency) {
        if let Some(window) = self.rooms.get(&latency.key) {
            self.minute(window, now).add_to(latency);
        }
    }

    fn minute<'a>(&self, window: &'a Window, now: Instant) -> LastMinute<'a> {
        let into = now.saturating_duration_since(self.epoch).as_nanos() % SLOT.as_nanos();
        let left = 1.0 - into as f64 / SLOT.as_nanos() as f64;
        LastMinute { window, slot: self.slot(now), left }
    }

    /// Visits up to `limit` rooms at positions below `below`, from the back to the front, and
    /// returns the position to continue below; 0 ends the walk. Deliveries may happen between two
    /// steps of a walk: every room that stays is visited once, unless there is a sweep.
    pub fn walk(
        &self,
        below: usize,
        limit: usize,
        now: Instant,
        mut visit: impl FnMut(&RoomKey, LastMinute<'_>),
    ) -> usize {
        let below = below.min(self.rooms.len());
        let from = below.saturating_sub(limit);
        for at in (from..below).rev() {
            if let Some((key, window)) = self.rooms.get_index(at) {
                visit(key, self.minute(window, now));
            }
        }
        from
    }

    /// Removes expired slots, and rooms without a delivery in the last minute, in the steps of
    /// [`RoomWindows::walk`].
    pub fn sweep(&mut self, below: usize, limit: usize, now: Instant) -> usize {
        let below = below.min(self.rooms.len());
        let from = below.saturating_sub(limit);
        let slot = self.slot(now);
        for at in (from..below).rev() {
            let window = &mut self.rooms[at];
            window.remove_expired(slot);
            if window.slots.iter().all(Option::is_none) {
                // The last room takes its position: it was swept before, or is new.
                self.rooms.swap_remove_index(at);
            }
        }
        if from == 0 && self.rooms.capacity() > 4 * self.rooms.len().max(256) {
            self.rooms.shrink_to(2 * self.rooms.len());
        }
        from
    }

    /// How many rooms have a window.
    pub fn len(&self) -> usize {
        self.rooms.len()
    }

    /// How many rooms were evicted by a new one since the start.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// The position of the room to evict: of a few, the one without a delivery for longest.
    fn victim(&mut self) -> usize {
        let len = self.rooms.len();
        let sample = (0..EVICTION_SAMPLE.min(len)).map(|n| (self.hand + n) % len);
        let victim = sample.min_by_key(|at| self.rooms[*at].last);
        self.hand = (self.hand + EVICTION_SAMPLE) % len;
        victim.unwrap_or(0)
    }
}

/// A room's last minute, as [`RoomWindows::walk`] presents it.
pub struct LastMinute<'a> {
    window: &'a Window,
    slot: u32,
    /// The part of the oldest slot that lies within the minute, 0 to 1.
    left: f64,
}

impl LastMinute<'_> {
    /// Deliveries in the minute. The slot in which the minute began counts in part, so that a
    /// steady rate gives a steady count.
    pub fn deliveries(&self) -> u64 {
        let oldest = self.slot.checked_sub(SLOTS as u32 - 1);
        let of = |slot: &Slot| match f64::from(slot.deliveries) {
            all if Some(slot.number) == oldest => (all * self.left).ceil() as u64,
            all => all as u64,
        };
        self.window.current(self.slot).map(of).sum()
    }

    /// Adds the minute to `latency`; its latencies are those of whole slots.
    pub fn add_to(&self, latency: &mut RoomLatency) {
        latency.deliveries += self.deliveries();
        for slot in self.window.current(self.slot) {
            latency.waits.merge(&slot.histogram());
        }
    }
}

impl Window {
    /// Counts `deliveries` in slot `number`; `tally` holds those that were measured.
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

    /// The slots that are part of the window when slot `number` is the current one.
    fn current(&self, number: u32) -> impl Iterator<Item = &Slot> {
        self.slots.iter().flatten().filter(move |slot| is_current(slot, number)).map(|slot| &**slot)
    }

    fn remove_expired(&mut self, number: u32) {
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
mod tests;
