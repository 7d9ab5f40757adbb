//! The [`ShardStatistics`]: the latencies of one shard's deliveries, by class and by room.

use std::sync::Arc;
use std::time::Instant;

use super::histogram::{Histogram, Tally};
use super::tag::DeliveryTag;
use super::top_rooms::TopRooms;
use super::windows::RoomWindows;
use crate::hashing::HashMap;
use crate::message::Hop;
use rookery_protocol::Room;

/// The latencies of one shard's deliveries.
pub struct ShardStatistics {
    /// A histogram per class and hop: at most two for each room rule.
    pub(super) classes: Vec<(Arc<str>, Hop, Histogram)>,
    /// The last minute of each room.
    pub(super) windows: RoomWindows,
    /// A histogram per top room, over all namespaces, with the version that selected the room.
    pub(super) series: HashMap<Room, (u64, Histogram)>,
    top_rooms: Arc<TopRooms>,
    /// The version of the selection that `series` follows.
    version: u64,
    /// One in this many deliveries is measured; at least 1.
    sample_every: u64,
    /// Deliveries since the last one that was measured.
    skipped: u64,
}

impl ShardStatistics {
    /// Empty statistics that keep a series for each of `top_rooms` and measure one in
    /// `sample_every` deliveries.
    pub(super) fn new(top_rooms: Arc<TopRooms>, sample_every: u32, windows: RoomWindows) -> Self {
        ShardStatistics {
            classes: Vec::new(),
            windows,
            series: HashMap::default(),
            top_rooms,
            version: 0,
            sample_every: u64::from(sample_every.max(1)),
            skipped: 0,
        }
    }

    /// How many deliveries there are to the next one that is measured, with that one.
    pub(super) fn due_in(&self) -> u64 {
        self.sample_every.saturating_sub(self.skipped)
    }

    /// Counts `deliveries` that were written at the times `at`, which is empty where they are not
    /// known, the last of them at `now`.
    pub(super) fn record(
        &mut self,
        tag: &DeliveryTag,
        deliveries: usize,
        at: &[Instant],
        now: Instant,
    ) {
        self.follow_top_rooms();
        let tally = self.sample(tag, deliveries, at);
        self.class(&tag.class, tag.hop).add(&tally);
        let Some(key) = tag.room.as_ref().filter(|key| !self.top_rooms.is_member_id(&key.room))
        else {
            return;
        };
        let slot = self.windows.slot(now);
        let (mut window, is_new) = self.windows.window(key);
        if is_new {
            self.top_rooms.admit(&key.room, now);
            self.follow_top_rooms();
            window = self.windows.window(key).0;
        }
        window.add(slot, deliveries, &tally);
        // The note caches whether the room has a series, and for which version that was looked up.
        if window.note >> 1 != self.version {
            window.note = self.version << 1 | u64::from(self.series.contains_key(&key.room));
        }
        if window.note & 1 == 1
            && let Some((_, histogram)) = self.series.get_mut(&key.room)
        {
            histogram.add(&tally);
        }
    }

    /// Keeps a histogram for each top room, counting since it was selected, and for no other.
    fn follow_top_rooms(&mut self) {
        if self.version == self.top_rooms.version() {
            return;
        }
        let selection = self.top_rooms.selection();
        self.series.retain(|room, (since, _)| selection.rooms.get(room) == Some(since));
        for (room, since) in &selection.rooms {
            if !self.series.contains_key(room) {
                self.series.insert(room.clone(), (*since, Histogram::default()));
            }
        }
        self.version = selection.version;
    }

    /// Measures every n-th delivery. Where the times are not known, the next delivery whose time
    /// is known makes up for those that were due.
    fn sample(&mut self, tag: &DeliveryTag, deliveries: usize, at: &[Instant]) -> Tally {
        if at.is_empty() {
            self.skipped += deliveries as u64;
            return Tally::of(tag.accepted, std::iter::empty());
        }
        let every = self.sample_every;
        let first = (every - 1).saturating_sub(self.skipped) as usize;
        let taken = at.iter().copied().skip(first).step_by(every as usize);
        self.skipped = match at.len().checked_sub(first + 1) {
            Some(after) => after as u64 % every,
            None => self.skipped + at.len() as u64,
        };
        Tally::of(tag.accepted, taken)
    }

    fn class(&mut self, class: &Arc<str>, hop: Hop) -> &mut Histogram {
        let known = self.classes.iter().position(|(c, h, _)| *h == hop && c == class);
        let at = known.unwrap_or_else(|| {
            self.classes.push((class.clone(), hop, Histogram::default()));
            self.classes.len() - 1
        });
        &mut self.classes[at].2
    }
}
