//! Delivery latency: the time from the acceptance of a publication until its bytes are handed to
//! the kernel for one recipient.
//!
//! Each shard has a [`DeliveryRecorder`] that only it writes to. [`Latency`] merges them for a
//! scrape or a query.

mod exposition;
pub mod histogram;
mod recorder;
mod room_latency;
mod statistics;
mod tag;
mod top_rooms;
mod windows;

use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::hashing::HashMap;
use crate::message::RoomKey;
use crate::telemetry::metrics::Metrics;
pub use recorder::DeliveryRecorder;
use rookery_config as config;
use rookery_protocol::Room;
pub use room_latency::{RoomLatency, Summary, summary};
pub use statistics::ShardStatistics;
pub use tag::DeliveryTag;
use top_rooms::TopRooms;
use windows::{LastMinute, RoomWindows};

/// How often the top rooms are rebalanced and expired windows removed.
const REBALANCE_INTERVAL: Duration = Duration::from_secs(10);

/// Rooms that are visited while a shard's statistics are locked; its deliveries wait as long.
const ROOMS_PER_LOCK: usize = 128;

/// All shards' recorders, merged on demand. Cloning is shallow.
#[derive(Clone)]
pub struct Latency {
    recorders: Arc<[Arc<DeliveryRecorder>]>,
    top_rooms: Arc<TopRooms>,
    /// Held while all rooms are visited: one scan at a time, so that no room moves meanwhile.
    scan: Arc<Mutex<()>>,
}

impl Latency {
    /// Creates a recorder for each of `shards`. `pod` is the prefix of its members' ids.
    pub fn new(shards: usize, config: &config::Latency, pod: &str, metrics: &Arc<Metrics>) -> Self {
        let pinned = config.track_rooms.iter().map(|room| room.as_str().into());
        let top_rooms = Arc::new(TopRooms::new(pinned, config.top_rooms as usize, pod));
        let epoch = Instant::now();
        let recorder = |_| {
            let windows = RoomWindows::new(windows::MAX_ROOMS, epoch);
            let statistics = ShardStatistics::new(top_rooms.clone(), config.sample_every, windows);
            Arc::new(DeliveryRecorder::new(metrics.clone(), statistics))
        };
        let recorders = (0..shards).map(recorder).collect();
        Latency { recorders, top_rooms, scan: Arc::default() }
    }

    /// The recorder of one shard.
    pub fn recorder(&self, shard: usize) -> &Arc<DeliveryRecorder> {
        &self.recorders[shard]
    }

    /// The last minute of a room; `None` where nothing was delivered in it.
    pub fn of_room(&self, key: &RoomKey) -> Option<RoomLatency> {
        let now = Instant::now();
        let mut latency = RoomLatency::empty(key.clone());
        for recorder in self.recorders.iter() {
            recorder.statistics().lock().windows.add_to(now, &mut latency);
        }
        (latency.deliveries > 0).then_some(latency)
    }

    /// The last minute of every room that had deliveries here, in no order. A delivery waits for
    /// no more than [`ROOMS_PER_LOCK`] rooms; concurrent callers wait for each other.
    pub fn rooms(&self) -> Vec<RoomLatency> {
        let _scan = self.scan.lock();
        let mut all: HashMap<RoomKey, RoomLatency> = HashMap::default();
        let read = |key: &RoomKey, minute: LastMinute<'_>| {
            let mut latency = RoomLatency::empty(key.clone());
            minute.add_to(&mut latency);
            (latency.deliveries > 0).then_some(latency)
        };
        self.walk(Instant::now(), read, |latency| match all.entry(latency.key.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert(latency);
            }
            Entry::Occupied(mut known) => {
                known.get_mut().deliveries += latency.deliveries;
                known.get_mut().waits.merge(&latency.waits);
            }
        });
        all.into_values().collect()
    }

    /// Rebalances the top rooms and removes expired windows until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(REBALANCE_INTERVAL)).await.is_some() {
            let latency = self.clone();
            // Visiting every room takes too long for a thread that serves clients.
            let maintained = tokio::task::spawn_blocking(move || latency.maintain(Instant::now()));
            if let Err(error) = maintained.await {
                tracing::error!(%error, "rebalancing the top rooms failed");
            }
        }
    }

    fn maintain(&self, now: Instant) {
        let _scan = self.scan.lock();
        self.rebalance(now);
        self.sweep(now);
    }

    fn rebalance(&self, now: Instant) {
        let mut deliveries: HashMap<Room, u64> = HashMap::default();
        let read = |key: &RoomKey, minute: LastMinute<'_>| match minute.deliveries() {
            0 => None,
            n => Some((key.room.clone(), n)),
        };
        self.walk(now, read, |(room, n)| *deliveries.entry(room).or_default() += n);
        self.top_rooms.rebalance(&deliveries, now);
    }

    fn sweep(&self, now: Instant) {
        for recorder in self.recorders.iter() {
            let mut below = recorder.statistics().lock().windows.len();
            while below > 0 {
                below = recorder.statistics().lock().windows.sweep(below, ROOMS_PER_LOCK, now);
            }
        }
    }

    /// Visits every room. `read` runs with a shard's statistics locked, `take` without the lock.
    fn walk<T>(
        &self,
        now: Instant,
        read: impl Fn(&RoomKey, LastMinute<'_>) -> Option<T>,
        mut take: impl FnMut(T),
    ) {
        let mut visited = Vec::with_capacity(ROOMS_PER_LOCK);
        for recorder in self.recorders.iter() {
            let mut below = recorder.statistics().lock().windows.len();
            while below > 0 {
                let visit =
                    |key: &RoomKey, minute: LastMinute<'_>| visited.extend(read(key, minute));
                let statistics = recorder.statistics().lock();
                below = statistics.windows.walk(below, ROOMS_PER_LOCK, now, visit);
                drop(statistics);
                visited.drain(..).for_each(&mut take);
            }
        }
    }
}

#[cfg(test)]
mod tests;
