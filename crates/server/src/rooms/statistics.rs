//! The [`RoomStatistics`] of this instance: which rooms come first here, and what is known of each.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::task::JoinError;
use tokio_util::task::TaskTracker;

use super::local::LocalRooms;
use super::ranking::{Candidate, MAX_NAMED, RankedNamespaces, RoomShare, SortBy, cut, nanos};
use crate::message::RoomKey;
use crate::telemetry::latency::Latency;

/// How long it is known which rooms have the most members: every shard looks at all of its rooms
/// for it, and serves nobody meanwhile.
const FRESH: Duration = Duration::from_secs(2);

/// The sets of namespaces whose fullest rooms are kept.
const MAX_KEPT: usize = 64;

/// Latency, rate and members of the rooms of this instance. Cloning is shallow.
#[derive(Clone)]
pub struct RoomStatistics {
    rooms: LocalRooms,
    latency: Latency,
    tracker: TaskTracker,
    /// Held by whoever ranks, as a ranking takes memory for every room; and what was counted a
    /// moment ago.
    ranking: Arc<Mutex<Vec<FullestRooms>>>,
}

/// The rooms of some namespaces with the most members, as they were a moment ago.
struct FullestRooms {
    namespaces: RankedNamespaces,
    counted: Instant,
    rooms: Vec<Candidate>,
}

impl RoomStatistics {
    /// Of these rooms and their deliveries. What takes long runs under `tracker`.
    pub fn new(rooms: LocalRooms, latency: Latency, tracker: TaskTracker) -> Self {
        RoomStatistics { rooms, latency, tracker, ranking: Arc::default() }
    }

    /// The rooms that come first here, at most `limit`. Rooms without deliveries are named only
    /// for their members, and those may be two seconds behind. One ranking waits for the other, as
    /// long as the caller waits. `None`: it failed, and the log says why.
    pub async fn first(
        &self,
        namespaces: RankedNamespaces,
        by: SortBy,
        limit: usize,
    ) -> Option<Vec<Candidate>> {
        let limit = limit.min(MAX_NAMED);
        let mut ranking = self.ranking.clone().lock_owned().await;
        if by == SortBy::Members {
            return Some(self.fullest(&mut ranking, namespaces, limit).await);
        }
        let latency = self.latency.clone();
        // Many rooms take milliseconds, which clients' requests need not wait for.
        let ranked = self.tracker.spawn_blocking(move || {
            // Also where nobody waits for the answer any more.
            let _ranking = ranking;
            let rooms = latency.rooms().into_iter();
            let rooms = rooms.filter(|room| namespaces.contains(&room.key.namespace));
            let weighed = rooms.map(|room| {
                let weight = match by {
                    SortBy::P99 => nanos(room.waits.quantile(0.99)),
                    SortBy::Rate | SortBy::Members => room.deliveries,
                };
                (room.key, weight)
            });
            cut(weighed.collect(), limit)
        });
        finished(ranked.await)
    }

    async fn fullest(
        &self,
        known: &mut Vec<FullestRooms>,
        namespaces: RankedNamespaces,
        limit: usize,
    ) -> Vec<Candidate> {
        known.retain(|rooms| rooms.counted.elapsed() < FRESH);
        if let Some(rooms) = known.iter().find(|rooms| rooms.namespaces == namespaces) {
            return cut(rooms.rooms.clone(), limit);
        }
        let fullest = self.rooms.fullest(&namespaces, MAX_NAMED).await;
        let weighed = fullest.into_iter().map(|(key, members)| (key, members as u64));
        let rooms = cut(weighed.collect(), MAX_NAMED);
        if known.len() == MAX_KEPT {
            known.remove(0);
        }
        known.push(FullestRooms { namespaces, counted: Instant::now(), rooms: rooms.clone() });
        cut(rooms, limit)
    }

    /// What is known here of these rooms; those of which nothing is are left out. `None`: it
    /// failed, and the log says why.
    pub async fn of(&self, keys: Arc<[RoomKey]>) -> Option<Vec<RoomShare>> {
        let latency = self.latency.clone();
        let wanted = keys.clone();
        let measured = self.tracker.spawn_blocking(move || {
            let found = wanted.iter().enumerate().filter_map(|(at, key)| {
                let room = latency.of_room(key)?;
                Some((at, RoomShare::new(at, room.deliveries, &room.waits)))
            });
            found.collect::<HashMap<usize, RoomShare>>()
        });
        let (measured, members) = tokio::join!(measured, self.rooms.occupancy(keys));
        let mut shares = finished(measured)?;
        for (at, members) in members.into_iter().enumerate().filter(|(_, members)| *members > 0) {
            let share = || RoomShare { at, ..RoomShare::default() };
            shares.entry(at).or_insert_with(share).members = members;
        }
        Some(shares.into_values().collect())
    }
}

/// What a task came to; `None` where it panicked.
fn finished<T>(ended: Result<T, JoinError>) -> Option<T> {
    ended.inspect_err(|error| tracing::error!(%error, "the rooms could not be ranked")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_ranking_that_panics_is_a_failure_and_not_an_empty_ranking() {
        let panics = tokio::task::spawn_blocking(|| -> Vec<Candidate> { panic!("as it may") });
        assert_eq!(finished(panics.await), None);
        assert_eq!(finished(tokio::task::spawn_blocking(|| 1).await), Some(1));
    }
}
