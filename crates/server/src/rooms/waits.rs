//! How long the rooms wait: which of them come first, and what is known of each, on this instance
//! and merged over several.
//!
//! A ranking over all instances takes two questions. The first asks each instance for the rooms
//! that come first on it; the second asks all of them for everything they know of those rooms. So
//! the figures of a room are whole whichever instance named it.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::task::JoinError;
use tokio_util::task::TaskTracker;
use utoipa::ToSchema;

use super::LocalMembers;
use crate::message::{RoomKey, Scope};
use crate::telemetry::latency::Latency;
use crate::telemetry::latency::histogram::Histogram;
use rookery_protocol::Room;

/// The rooms that an instance names at least, so that one whose members are spread over many
/// instances is not missed.
const NAMED_AT_LEAST: usize = 100;

/// The rooms that an instance names at most.
pub const MOST_NAMED: usize = 2_000;

/// The rooms that instances are asked about at most.
pub const MOST_ASKED: usize = 4_096;

/// Bytes of names in one question or answer. Control characters take six times as many in JSON.
const NAME_BYTES: usize = 256 << 10;

/// How long it counts which rooms have the most members: every shard looks at all of its rooms for
/// it, and serves nobody meanwhile.
const FRESH: Duration = Duration::from_secs(2);

/// The sets of namespaces of which it is kept.
const CROWDS: usize = 64;

/// The time that deliveries count for.
const MINUTE: Duration = Duration::from_secs(60);

/// By what rooms are ranked, the largest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SortBy {
    /// What 99 of 100 deliveries waited at most.
    #[default]
    P99,
    /// Deliveries.
    Rate,
    /// Members.
    Members,
}

/// Which rooms are wanted.
#[derive(Clone, Debug)]
pub struct WaitsQuery {
    /// Of these namespaces.
    pub namespaces: Vec<Arc<str>>,
    /// The first by this.
    pub sort: SortBy,
    /// As many.
    pub limit: usize,
    /// On all instances, or on this one.
    pub scope: Scope,
}

/// A room of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The room's name.
    pub room: Room,
}

/// What is known of a room.
#[derive(Clone, Debug)]
pub struct RoomFigures {
    /// The room.
    pub place: Place,
    /// How many members it has.
    pub members: usize,
    /// How many deliveries it had in the last minute, measured or not.
    pub deliveries: u64,
    /// How long those waited that were measured.
    pub waits: Histogram,
}

/// Rooms, and whose part is missing.
#[derive(Clone, Debug, Default)]
pub struct WaitsAnswer {
    /// The rooms, the first one first.
    pub rooms: Vec<RoomFigures>,
    /// How many pods this is of, this one included.
    pub pods: usize,
    /// The pods that did not answer in time.
    pub unanswered: Vec<String>,
}

/// A room with what it is ranked by.
pub type Candidate = (Place, u64);

/// What one instance knows of a room of the question.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// The room's position in the question.
    pub at: usize,
    /// Its members on the instance.
    pub members: usize,
    /// Its deliveries of the last minute, measured or not.
    pub deliveries: u64,
    /// The measured ones by bucket, without the zeros at the end.
    pub counts: Vec<u64>,
    /// Their waits together, in nanoseconds.
    pub nanos: u64,
    /// The longest wait, in nanoseconds.
    pub max: u64,
}

/// The rooms of this instance. Cloning is shallow.
#[derive(Clone)]
pub struct LocalWaits {
    members: Arc<dyn LocalMembers>,
    latency: Latency,
    tracker: TaskTracker,
    /// Whoever ranks holds it: a ranking takes memory for every room.
    ranking: Arc<Mutex<Vec<Crowd>>>,
}

/// The rooms of some namespaces with the most members, as they were a moment ago.
struct Crowd {
    namespaces: Vec<Arc<str>>,
    at: Instant,
    rooms: Vec<Candidate>,
}

impl LocalWaits {
    /// Of these members and deliveries. What takes long runs under `tracker`.
    pub fn new(members: Arc<dyn LocalMembers>, latency: Latency, tracker: TaskTracker) -> Self {
        LocalWaits { members, latency, tracker, ranking: Arc::default() }
    }

    /// The rooms that come first here, at most `most`. Rooms without deliveries are named only
    /// for their members, and those may be two seconds behind. One ranking waits for the other, as
    /// long as the caller waits. `None`: it failed, and the log says why.
    pub async fn first(
        &self,
        namespaces: Vec<Arc<str>>,
        by: SortBy,
        most: usize,
    ) -> Option<Vec<Candidate>> {
        let most = most.min(MOST_NAMED);
        let mut ranking = self.ranking.clone().lock_owned().await;
        if by == SortBy::Members {
            return Some(self.crowded(&mut ranking, namespaces, most).await);
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
                (Place { namespace: room.key.namespace, room: room.key.room }, weight)
            });
            cut(weighed.collect(), most)
        });
        finished(ranked.await)
    }

    async fn crowded(
        &self,
        known: &mut Vec<Crowd>,
        namespaces: Vec<Arc<str>>,
        most: usize,
    ) -> Vec<Candidate> {
        known.retain(|crowd| crowd.at.elapsed() < FRESH);
        if let Some(crowd) = known.iter().find(|crowd| crowd.namespaces == namespaces) {
            return cut(crowd.rooms.clone(), most);
        }
        let crowded = self.members.crowded(&namespaces, MOST_NAMED).await;
        let weighed = crowded.into_iter().map(|(place, members)| (place, members as u64));
        let rooms = cut(weighed.collect(), MOST_NAMED);
        if known.len() == CROWDS {
            known.remove(0);
        }
        known.push(Crowd { namespaces, at: Instant::now(), rooms: rooms.clone() });
        cut(rooms, most)
    }

    /// What is known here of these rooms; those of which nothing is are left out. `None`: it
    /// failed, and the log says why.
    pub async fn of(&self, places: Arc<[Place]>) -> Option<Vec<Share>> {
        let latency = self.latency.clone();
        let wanted = places.clone();
        let waits = self.tracker.spawn_blocking(move || {
            let found = wanted.iter().enumerate().filter_map(|(at, place)| {
                let room =
                    latency.of_room(&RoomKey::new(place.namespace.clone(), place.room.clone()))?;
                Some((at, Share::new(at, room.deliveries, &room.waits)))
            });
            found.collect::<HashMap<usize, Share>>()
        });
        let (waits, members) = tokio::join!(waits, self.members.occupancy(places));
        let mut shares = finished(waits)?;
        for (at, members) in members.into_iter().enumerate().filter(|(_, members)| *members > 0) {
            shares.entry(at).or_insert_with(|| Share { at, ..Share::default() }).members = members;
        }
        Some(shares.into_values().collect())
    }
}

/// What a task came to; `None` where it panicked.
fn finished<T>(ended: Result<T, JoinError>) -> Option<T> {
    ended.inspect_err(|error| tracing::error!(%error, "the rooms could not be ranked")).ok()
}

impl Share {
    fn new(at: usize, deliveries: u64, waits: &Histogram) -> Self {
        let filled = waits.counts().iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
        Share {
            at,
            members: 0,
            deliveries,
            counts: waits.counts()[..filled].to_vec(),
            nanos: nanos(waits.sum()),
            max: nanos(waits.max()),
        }
    }

    fn waits(&self) -> Histogram {
        // Sums of what other instances say stay far from overflowing.
        let counts: Vec<u64> = self.counts.iter().map(|count| (*count).min(1 << 48)).collect();
        let time = Duration::from_nanos;
        Histogram::from_parts(&counts, time(self.nanos), time(self.max))
    }
}

impl RoomFigures {
    /// Deliveries per second over the last minute.
    pub fn rate(&self) -> f64 {
        self.deliveries as f64 / MINUTE.as_secs_f64()
    }

    /// What 99 of 100 deliveries waited at most; `None` where none was measured.
    pub fn p99(&self) -> Option<Duration> {
        (self.waits.count() > 0).then(|| self.waits.quantile(0.99))
    }
}

/// How many rooms each instance names, so that the first `limit` are found.
pub fn named_for(limit: usize) -> usize {
    limit.saturating_mul(2).clamp(NAMED_AT_LEAST, MOST_NAMED)
}

/// The rooms to ask about: those of all instances, each once. Where they are too many, those that
/// weigh most.
pub fn union(named: impl Iterator<Item = Candidate>, by: SortBy) -> Arc<[Place]> {
    let mut weights: HashMap<Place, u64> = HashMap::new();
    for (place, weight) in named {
        let sum = weights.entry(place).or_default();
        *sum = match by {
            SortBy::P99 => weight.max(*sum),
            SortBy::Rate | SortBy::Members => sum.saturating_add(weight),
        };
    }
    cut(weights.into_iter().collect(), MOST_ASKED).into_iter().map(|(place, _)| place).collect()
}

/// Adds up what the instances know of these rooms.
pub fn merge(places: &[Place], shares: impl Iterator<Item = Share>) -> Vec<RoomFigures> {
    let mut rooms: Vec<RoomFigures> = places
        .iter()
        .map(|place| RoomFigures {
            place: place.clone(),
            members: 0,
            deliveries: 0,
            waits: Histogram::default(),
        })
        .collect();
    for share in shares {
        if let Some(room) = rooms.get_mut(share.at) {
            room.members = room.members.saturating_add(share.members);
            room.deliveries = room.deliveries.saturating_add(share.deliveries);
            room.waits.merge(&share.waits());
        }
    }
    rooms
}

/// The first `limit` rooms; what has nothing to be ranked by is left out.
pub fn rank(mut rooms: Vec<RoomFigures>, by: SortBy, limit: usize) -> Vec<RoomFigures> {
    rooms.retain(|room| match by {
        SortBy::P99 | SortBy::Rate => room.deliveries > 0,
        SortBy::Members => room.members > 0,
    });
    rooms.sort_by_cached_key(|room| {
        let p99 = room.p99().map(nanos);
        let keys = match by {
            SortBy::P99 => (p99, room.deliveries),
            SortBy::Rate => (Some(room.deliveries), room.members as u64),
            SortBy::Members => (Some(room.members as u64), room.deliveries),
        };
        (Reverse(keys), room.place.clone())
    });
    rooms.truncate(limit);
    rooms
}

/// The heaviest `most`, and no more than may be written into one message.
fn cut(mut candidates: Vec<Candidate>, most: usize) -> Vec<Candidate> {
    candidates.sort_unstable_by(|(a, n), (b, m)| m.cmp(n).then_with(|| a.cmp(b)));
    candidates.truncate(most);
    let mut bytes = 0;
    let fits = candidates.iter().position(|(place, _)| {
        bytes += place.namespace.len() + place.room.len();
        bytes > NAME_BYTES
    });
    candidates.truncate(fits.unwrap_or(most));
    candidates
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(room: &str) -> Place {
        Place { namespace: "/".into(), room: room.into() }
    }

    /// A share whose deliveries all waited for as long as this bucket stands for.
    fn share(at: usize, members: usize, bucket: usize, deliveries: u64) -> Share {
        let mut counts = vec![0; bucket];
        counts.push(deliveries);
        let wait = Histogram::default().exposed().nth(bucket).unwrap().0;
        Share { at, members, deliveries, counts, nanos: 0, max: nanos(wait) }
    }

    fn names(rooms: &[RoomFigures]) -> Vec<&str> {
        rooms.iter().map(|room| &*room.place.room).collect()
    }

    #[tokio::test]
    async fn a_ranking_that_panics_is_no_empty_one() {
        let panics = tokio::task::spawn_blocking(|| -> Vec<Candidate> { panic!("as it may") });
        assert_eq!(finished(panics.await), None);
        assert_eq!(finished(tokio::task::spawn_blocking(|| 1).await), Some(1));
    }

    #[test]
    fn shares_of_several_instances_add_up() {
        let places = [place("a"), place("b")];
        let shares = [share(0, 2, 3, 10), share(0, 1, 8, 5), share(1, 1, 0, 1), share(9, 1, 1, 1)];
        let rooms = merge(&places, shares.into_iter());
        assert_eq!((rooms[0].members, rooms[0].deliveries, rooms[0].waits.count()), (3, 15, 15));
        assert_eq!((rooms[0].waits.counts()[3], rooms[0].waits.counts()[8]), (10, 5));
        assert_eq!(rooms[0].waits.max(), Duration::from_millis(25));
        assert_eq!((rooms[1].members, rooms[1].deliveries), (1, 1));
    }

    #[test]
    fn each_key_ranks_in_its_own_order() {
        let places = ["slow", "busy", "full", "idle", "gone"].map(place);
        let shares = [
            share(0, 1, 15, 10),
            share(1, 2, 4, 1000),
            share(2, 300, 2, 5),
            Share { at: 3, members: 40, ..Share::default() },
        ];
        let ranked = |by| rank(merge(&places, shares.clone().into_iter()), by, 10);
        assert_eq!(names(&ranked(SortBy::P99)), ["slow", "busy", "full"]);
        assert_eq!(names(&ranked(SortBy::Rate)), ["busy", "slow", "full"]);
        assert_eq!(names(&ranked(SortBy::Members)), ["full", "idle", "busy", "slow"]);
        assert!(ranked(SortBy::Members)[1].p99().is_none());
        assert_eq!(rank(ranked(SortBy::Rate), SortBy::Rate, 1).len(), 1);
    }

    #[test]
    fn a_room_named_by_two_is_asked_about_once_and_weighs_as_both() {
        let named = [("a", 5), ("b", 7), ("a", 4)].map(|(room, n)| (place(room), n));
        assert_eq!(*union(named.clone().into_iter(), SortBy::Rate), [place("a"), place("b")]);
        assert_eq!(*union(named.into_iter(), SortBy::P99), [place("b"), place("a")]);
    }

    #[test]
    fn a_question_is_bounded_in_rooms_and_bytes() {
        let many = (0..10_000).map(|n| (place(&format!("{n}")), n));
        let places = union(many, SortBy::Rate);
        assert_eq!((places.len(), &*places[0].room), (MOST_ASKED, "9999"));
        let long = (0..2_000).map(|n| (place(&format!("{n:01000}")), n));
        let places = union(long, SortBy::Rate);
        assert_eq!(places.len(), NAME_BYTES / 1001);
    }

    #[test]
    fn what_others_say_cannot_overflow() {
        let absurd = Share {
            at: 0,
            members: usize::MAX,
            deliveries: u64::MAX,
            counts: vec![u64::MAX; 40],
            nanos: u64::MAX,
            max: u64::MAX,
        };
        let rooms = merge(&[place("a")], std::iter::repeat_n(absurd, 3));
        assert_eq!(rooms[0].members, usize::MAX);
        assert!(rooms[0].p99().is_some());
    }

    #[test]
    fn a_share_keeps_what_its_histogram_had() {
        let before = Histogram::from_parts(
            &[1, 0, 3],
            Duration::from_micros(500),
            Duration::from_micros(240),
        );
        let share = Share::new(0, 9, &before);
        assert_eq!((share.counts.as_slice(), share.deliveries), (&[1, 0, 3][..], 9));
        let after = share.waits();
        assert_eq!(
            (after.counts(), after.sum(), after.max()),
            (before.counts(), before.sum(), before.max())
        );
    }
}
