//! Rankings of rooms by latency, rate or members, merged over several instances. Pure.
//!
//! A ranking over all instances takes two questions. The first asks each instance for the rooms
//! that come first on it; the second asks all of them for everything they know of those rooms. So
//! the figures of a room are whole whichever instance named it.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::message::{RoomKey, Scope};
use crate::telemetry::latency::histogram::Histogram;

/// The rooms that an instance names at least, so that one whose members are spread over many
/// instances is not missed.
const MIN_NAMED: usize = 100;

/// The rooms that an instance names at most.
pub const MAX_NAMED: usize = 2_000;

/// The rooms that instances are asked about at most.
pub const MAX_ASKED: usize = 4_096;

/// Bytes of names in one question or answer. Control characters take six times as many in JSON.
const MAX_NAME_BYTES: usize = 256 << 10;

/// The time that deliveries are counted over.
const MINUTE: Duration = Duration::from_secs(60);

/// By what rooms are ranked, the largest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SortBy {
    /// The 99th percentile of delivery latency over the last minute.
    #[default]
    P99,
    /// Deliveries per second over the last minute.
    Rate,
    /// Members.
    Members,
}

/// Asks for the rooms that come first.
#[derive(Clone, Debug)]
pub struct RoomRankingQuery {
    /// The namespaces whose rooms are ranked.
    pub namespaces: RankedNamespaces,
    /// What the rooms are ranked by.
    pub sort: SortBy,
    /// How many rooms are wanted at most.
    pub limit: usize,
    /// Whether all instances are asked, or this one alone.
    pub scope: Scope,
}

/// The namespaces whose rooms are ranked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RankedNamespaces {
    /// Those of these names.
    Named(Vec<Arc<str>>),
    /// All that have members.
    All,
}

impl RankedNamespaces {
    /// Whether the rooms of this namespace are ranked.
    pub fn contains(&self, namespace: &Arc<str>) -> bool {
        match self {
            RankedNamespaces::Named(names) => names.contains(namespace),
            RankedNamespaces::All => true,
        }
    }
}

/// What is known of a room.
#[derive(Clone, Debug)]
pub struct RoomFigures {
    /// The room.
    pub key: RoomKey,
    /// How many members it has.
    pub members: usize,
    /// How many deliveries it had in the last minute, measured or not.
    pub deliveries: u64,
    /// The latency of those deliveries that were measured.
    pub latency: Histogram,
}

/// Rooms in the order of their rank.
#[derive(Clone, Debug, Default)]
pub struct RoomRanking {
    /// The rooms, the first one first.
    pub rooms: Vec<RoomFigures>,
    /// How many pods the figures are of, this one included.
    pub pods: usize,
    /// The pods that did not answer in time.
    pub unanswered: Vec<String>,
}

/// A room with the number that it is ranked by on one instance.
pub type Candidate = (RoomKey, u64);

/// What one instance knows of a room of a question. Its form is part of the wire between pods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoomShare {
    /// The room's position in the question.
    pub at: usize,
    /// Its members on the instance.
    pub members: usize,
    /// Its deliveries of the last minute, measured or not.
    pub deliveries: u64,
    /// The measured ones by histogram bucket, without the zeros at the end.
    pub counts: Vec<u64>,
    /// The sum of their latencies, in nanoseconds.
    pub nanos: u64,
    /// The highest latency, in nanoseconds.
    pub max: u64,
}

impl RoomShare {
    pub(super) fn new(at: usize, deliveries: u64, latency: &Histogram) -> Self {
        let counts = latency.counts();
        let filled = counts.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
        RoomShare {
            at,
            members: 0,
            deliveries,
            counts: counts[..filled].to_vec(),
            nanos: nanos(latency.sum()),
            max: nanos(latency.max()),
        }
    }

    fn latency(&self) -> Histogram {
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

    /// The 99th percentile of delivery latency; `None` where none was measured.
    pub fn p99(&self) -> Option<Duration> {
        (self.latency.count() > 0).then(|| self.latency.quantile(0.99))
    }
}

/// How many rooms each instance names, so that the first `limit` are found.
pub fn named_for(limit: usize) -> usize {
    limit.saturating_mul(2).clamp(MIN_NAMED, MAX_NAMED)
}

/// The rooms to ask about: those of all instances, each once. Where they are too many, those that
/// rank highest.
pub fn union(named: impl Iterator<Item = Candidate>, by: SortBy) -> Arc<[RoomKey]> {
    let mut weights: HashMap<RoomKey, u64> = HashMap::new();
    for (key, weight) in named {
        let sum = weights.entry(key).or_default();
        *sum = match by {
            SortBy::P99 => weight.max(*sum),
            SortBy::Rate | SortBy::Members => sum.saturating_add(weight),
        };
    }
    cut(weights.into_iter().collect(), MAX_ASKED).into_iter().map(|(key, _)| key).collect()
}

/// Adds up what the instances know of these rooms.
pub fn merge(keys: &[RoomKey], shares: impl Iterator<Item = RoomShare>) -> Vec<RoomFigures> {
    let figures = |key: &RoomKey| RoomFigures {
        key: key.clone(),
        members: 0,
        deliveries: 0,
        latency: Histogram::default(),
    };
    let mut rooms: Vec<RoomFigures> = keys.iter().map(figures).collect();
    for share in shares {
        if let Some(room) = rooms.get_mut(share.at) {
            room.members = room.members.saturating_add(share.members);
            room.deliveries = room.deliveries.saturating_add(share.deliveries);
            room.latency.merge(&share.latency());
        }
    }
    rooms
}

/// The first `limit` rooms; those that have nothing to be ranked by are left out.
pub fn rank(mut rooms: Vec<RoomFigures>, by: SortBy, limit: usize) -> Vec<RoomFigures> {
    rooms.retain(|room| match by {
        SortBy::P99 | SortBy::Rate => room.deliveries > 0,
        SortBy::Members => room.members > 0,
    });
    rooms.sort_by_cached_key(|room| {
        let p99 = room.p99().map(nanos);
        let rank = match by {
            SortBy::P99 => (p99, room.deliveries),
            SortBy::Rate => (Some(room.deliveries), room.members as u64),
            SortBy::Members => (Some(room.members as u64), room.deliveries),
        };
        (Reverse(rank), room.key.clone())
    });
    rooms.truncate(limit);
    rooms
}

/// The `limit` candidates that rank highest, and no more than may be written into one message.
pub(super) fn cut(mut candidates: Vec<Candidate>, limit: usize) -> Vec<Candidate> {
    candidates.sort_unstable_by(|(a, n), (b, m)| m.cmp(n).then_with(|| a.cmp(b)));
    candidates.truncate(limit);
    let mut bytes = 0;
    let fits = candidates.iter().position(|(key, _)| {
        bytes += key.namespace.len() + key.room.len();
        bytes > MAX_NAME_BYTES
    });
    candidates.truncate(fits.unwrap_or(limit));
    candidates
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
