//! The [`RoomLatency`]: how long the members of one room waited, and its [`Summary`].

use std::time::Duration;

use super::histogram::Histogram;
use crate::message::RoomKey;

/// The deliveries of one room in the last minute, and how long they took.
#[derive(Clone, Debug)]
pub struct RoomLatency {
    /// The room and its namespace.
    pub key: RoomKey,
    /// Deliveries in the last minute, measured or not.
    pub deliveries: u64,
    /// Latencies of the measured deliveries, including those of up to ten seconds before the
    /// minute.
    pub waits: Histogram,
}

impl RoomLatency {
    /// A minute without deliveries.
    pub fn empty(key: RoomKey) -> Self {
        RoomLatency { key, deliveries: 0, waits: Histogram::default() }
    }
}

/// The figures of a latency histogram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The median latency.
    pub p50: Duration,
    /// The 99th percentile of the latency.
    pub p99: Duration,
    /// The longest latency.
    pub max: Duration,
    /// How many deliveries were measured.
    pub count: u64,
}

/// Summarizes a histogram.
pub fn summary(histogram: &Histogram) -> Summary {
    Summary {
        p50: histogram.quantile(0.5),
        p99: histogram.quantile(0.99),
        max: histogram.max(),
        count: histogram.count(),
    }
}
