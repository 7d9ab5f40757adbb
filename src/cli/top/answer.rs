//! [`Answer`]: the fields of the response to `GET /api/latency` that are shown.

use std::cmp::Ordering;

use serde::Deserialize;

use rookery_server::rooms::ranking::SortBy;

/// The response to `GET /api/latency`.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Answer {
    /// The rooms, in the requested order.
    pub rooms: Vec<Room>,
    /// The number of pods that the figures are from.
    pub pods: usize,
    /// The names of the pods that did not respond in time.
    pub unanswered: Vec<String>,
}

/// A room and its figures of the last minute. Latencies are in seconds.
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
    /// Sorts the rooms in another order, until the server has responded in it.
    pub fn sort(&mut self, by: SortBy) {
        let key = |room: &Room| match by {
            SortBy::P99 => room.p99.unwrap_or(-1.0),
            SortBy::Rate => room.rate,
            SortBy::Members => room.members as f64,
        };
        self.rooms.sort_by(|a, b| key(b).partial_cmp(&key(a)).unwrap_or(Ordering::Equal));
    }
}
