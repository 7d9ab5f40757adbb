//! The section `latency`: which deliveries are measured, and which rooms have a series.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which deliveries are measured, and which rooms have a series.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Latency {
    /// One in this many deliveries is measured; 1 measures all of them.
    pub sample_every: u32,
    /// Rooms that always have a latency series, at most 1000.
    pub track_rooms: Vec<String>,
    /// How many of the busiest other rooms have a latency series, at most 1000.
    pub top_rooms: u32,
}

impl Default for Latency {
    fn default() -> Self {
        Latency { sample_every: 1, track_rooms: Vec::new(), top_rooms: 50 }
    }
}
