//! What `GET /api/latency` answers, as far as it is shown.

use std::cmp::Ordering;

use serde::Deserialize;

use rookery_server::rooms::waits::SortBy;

/// The answer.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Answer {
    /// The rooms, the first one first.
    pub rooms: Vec<Room>,
    /// How many instances answered.
    pub pods: usize,
    /// Those that did not.
    pub unanswered: Vec<String>,
}

/// A room. Times are in seconds.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Room {
    pub room: String,
    pub namespace: String,
    pub members: u64,
    pub rate: f64,
    pub p50: Option<f64>,
    pub p99: Option<f64>,
    pub max: Option<f64>,
    pub count: u64,
}

impl Answer {
    /// The same rooms in another order, until the server has answered in it.
    pub fn sort(&mut self, by: SortBy) {
        let key = |room: &Room| match by {
            SortBy::P99 => room.p99.unwrap_or(-1.0),
            SortBy::Rate => room.rate,
            SortBy::Members => room.members as f64,
        };
        self.rooms.sort_by(|a, b| key(b).partial_cmp(&key(a)).unwrap_or(Ordering::Equal));
    }
}
