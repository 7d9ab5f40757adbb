//! Delivery latency: from the moment a publication was accepted to the moment its bytes were
//! handed to the kernel for one recipient.
//!
//! Each shard has a [`Recorder`]; [`Latency`] merges them when somebody scrapes or asks.

mod exposition;
pub mod histogram;
pub mod ledger;
mod rooms;
mod series;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use self::histogram::{Histogram, Tally};
use crate::message::Hop;
use crate::telemetry::latency::ledger::{Ledger, Stamp};
use crate::telemetry::metrics::{Metrics, Outcome};
use rookery_config as config;
use rookery_protocol::Room;
use rooms::{Key, KeyRef, LastMinute, Windows};
pub use rooms::{RoomWaits, Summary, summary};
use series::Chosen;

/// How often it is looked at which rooms are the busiest, and what is over is forgotten.
const ELECTION: Duration = Duration::from_secs(10);

/// Rooms that are looked at with a shard's account locked; its deliveries wait as long.
const STRIDE: usize = 128;

/// The account of one shard.
pub struct Recorder {
    metrics: Arc<Metrics>,
    chosen: Arc<Chosen>,
    sample_every: u32,
    books: Mutex<Books>,
}

struct Books {
    /// Few: the room rules, times two.
    classes: Vec<(Arc<str>, Hop, Histogram)>,
    windows: Windows,
    /// The chosen rooms, in every namespace, each with the version that chose it.
    series: HashMap<Room, (u64, Histogram)>,
    /// Of the choice that `series` follows.
    version: u64,
    /// Deliveries since the last that was measured.
    skipped: u64,
}

/// All shards' recorders, merged when asked. Cloning is shallow.
#[derive(Clone)]
pub struct Latency {
    recorders: Arc<[Arc<Recorder>]>,
    chosen: Arc<Chosen>,
    /// Held by whoever looks at all rooms: one at a time, so that none moves meanwhile.
    looking: Arc<Mutex<()>>,
}

impl Latency {
    /// Makes an account for each of `shards`. `pod` is what its members' ids begin with.
    pub fn new(shards: usize, config: &config::Latency, pod: &str, metrics: &Arc<Metrics>) -> Self {
        let pinned = config.track_rooms.iter().map(|room| room.as_str().into());
        let chosen = Arc::new(Chosen::new(pinned, config.top_rooms as usize, pod));
        let epoch = Instant::now();
        let recorder = |_| {
            Arc::new(Recorder {
                metrics: metrics.clone(),
                chosen: chosen.clone(),
                sample_every: config.sample_every.max(1),
                books: Mutex::new(Books {
                    classes: Vec::new(),
                    windows: Windows::new(rooms::ROOMS, epoch),
                    series: HashMap::new(),
                    version: 0,
                    skipped: 0,
                }),
            })
        };
        let recorders = (0..shards).map(recorder).collect();
        Latency { recorders, chosen, looking: Arc::default() }
    }

    /// The account of one shard.
    pub fn recorder(&self, shard: usize) -> &Arc<Recorder> {
        &self.recorders[shard]
    }

    /// The last minute of a room; `None` where nothing was delivered in it.
    pub fn of_room(&self, namespace: &Arc<str>, room: &Room) -> Option<RoomWaits> {
        let now = Instant::now();
        let mut waits = RoomWaits::none(namespace.clone(), room.clone());
        for recorder in self.recorders.iter() {
            recorder.books.lock().windows.add_to(KeyRef(namespace, room), now, &mut waits);
        }
        (waits.deliveries > 0).then_some(waits)
    }

    /// The last minute of every room that had deliveries here, in no order. A delivery waits for
    /// it no longer than for a few rooms; whoever asks waits for who asked before.
    pub fn rooms(&self) -> Vec<RoomWaits> {
        let _looking = self.looking.lock();
        let mut all: HashMap<Key, RoomWaits> = HashMap::new();
        let read = |key: &Key, minute: LastMinute<'_>| {
            let mut waits = RoomWaits::none(key.namespace.clone(), key.room.clone());
            minute.add_to(&mut waits);
            (waits.deliveries > 0).then_some(waits)
        };
        self.walk(Instant::now(), read, |waits| {
            let key = Key { namespace: waits.namespace.clone(), room: waits.room.clone() };
            match all.entry(key) {
                Entry::Vacant(place) => {
                    place.insert(waits);
                }
                Entry::Occupied(mut known) => {
                    known.get_mut().deliveries += waits.deliveries;
                    known.get_mut().waits.merge(&waits.waits);
                }
            }
        });
        all.into_values().collect()
    }

    /// Chooses the rooms that have a series of their own, and forgets what is over, until `stop`.
    pub async fn keep(self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(ELECTION)).await.is_some() {
            let latency = self.clone();
            // Not on a thread that serves anybody: it looks at every room.
            let look = tokio::task::spawn_blocking(move || latency.look(Instant::now()));
            if let Err(error) = look.await {
                tracing::error!(%error, "the busiest rooms could not be chosen");
            }
        }
    }

    fn look(&self, now: Instant) {
        let _looking = self.looking.lock();
        self.elect(now);
        self.sweep(now);
    }

    fn elect(&self, now: Instant) {
        let mut deliveries: HashMap<Room, u64> = HashMap::new();
        let read = |key: &Key, minute: LastMinute<'_>| match minute.deliveries() {
            0 => None,
            n => Some((key.room.clone(), n)),
        };
        self.walk(now, read, |(room, n)| *deliveries.entry(room).or_default() += n);
        self.chosen.elect(&deliveries, now);
    }

    fn sweep(&self, now: Instant) {
        for recorder in self.recorders.iter() {
            let mut below = recorder.books.lock().windows.len();
            while below > 0 {
                below = recorder.books.lock().windows.sweep(below, STRIDE, now);
            }
        }
    }

    /// What is read of a stride of rooms is taken with the account locked; what becomes of it
    /// holds up no delivery.
    fn walk<T>(
        &self,
        now: Instant,
        read: impl Fn(&Key, LastMinute<'_>) -> Option<T>,
        mut take: impl FnMut(T),
    ) {
        let mut stride = Vec::with_capacity(STRIDE);
        for recorder in self.recorders.iter() {
            let mut below = recorder.books.lock().windows.len();
            while below > 0 {
                let visit = |key: &Key, minute: LastMinute<'_>| stride.extend(read(key, minute));
                below = recorder.books.lock().windows.walk(below, STRIDE, now, visit);
                stride.drain(..).for_each(&mut take);
            }
        }
    }
}

impl Ledger for Recorder {
    fn is_due(&self, deliveries: usize) -> bool {
        if cfg!(feature = "unmeasured") {
            return false;
        }
        self.sample_every == 1
            || self.books.lock().skipped + deliveries as u64 >= u64::from(self.sample_every)
    }

    fn written(&self, stamp: &Stamp, deliveries: usize, at: &[Instant]) {
        if deliveries == 0 {
            return;
        }
        self.metrics.delivered(Outcome::Written, deliveries as u64);
        if let Some(trace) = &stamp.trace {
            trace.written(stamp.accepted, deliveries, at);
        }
        if cfg!(feature = "unmeasured") {
            return;
        }
        let books = &mut *self.books.lock();
        books.follow(&self.chosen);
        let tally = books.sample(self.sample_every, stamp, deliveries, at);
        books.class(&stamp.class, stamp.hop).add(&tally);
        let Some(room) = stamp.room.as_ref().filter(|room| !self.chosen.is_a_member(room)) else {
            return;
        };
        let now = at.last().copied().unwrap_or_else(Instant::now);
        let slot = books.windows.slot(now);
        let (mut window, is_new) = books.windows.of(&stamp.namespace, room);
        if is_new {
            self.chosen.admit(room, now);
            books.follow(&self.chosen);
            window = books.windows.of(&stamp.namespace, room).0;
        }
        window.add(slot, deliveries, &tally);
        // The note tells for which choice the room was looked for, and whether it was found.
        if window.note >> 1 != books.version {
            window.note = books.version << 1 | u64::from(books.series.contains_key(room));
        }
        if window.note & 1 == 1
            && let Some((_, histogram)) = books.series.get_mut(room)
        {
            histogram.add(&tally);
        }
    }

    fn dropped(&self, outcome: Outcome, n: u64) {
        self.metrics.delivered(outcome, n);
    }
}

impl Books {
    /// Keeps a histogram for each chosen room, since it was chosen, and for no other.
    fn follow(&mut self, chosen: &Chosen) {
        if self.version == chosen.version() {
            return;
        }
        let choice = chosen.choice();
        self.series.retain(|room, (since, _)| choice.rooms.get(room) == Some(since));
        for (room, since) in &choice.rooms {
            if !self.series.contains_key(room) {
                self.series.insert(room.clone(), (*since, Histogram::default()));
            }
        }
        self.version = choice.version;
    }

    /// Takes every n-th delivery; where none was timed, the next one that is.
    fn sample(&mut self, every: u32, stamp: &Stamp, deliveries: usize, at: &[Instant]) -> Tally {
        let every = u64::from(every);
        if at.is_empty() {
            self.skipped += deliveries as u64;
            return Tally::of(stamp.accepted, std::iter::empty());
        }
        let first = (every - 1).saturating_sub(self.skipped) as usize;
        let taken = at.iter().copied().skip(first).step_by(every as usize);
        self.skipped = match at.len().checked_sub(first + 1) {
            Some(after) => after as u64 % every,
            None => self.skipped + at.len() as u64,
        };
        Tally::of(stamp.accepted, taken)
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

#[cfg(test)]
mod tests;
