//! The section `limits`: bounds on what clients may use.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{Period, Rate, Size};

/// Bounds on what clients may use.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Sessions that may be open at once, per instance.
    pub connections: u32,
    /// New sessions per second, per instance.
    pub connect_rate: Rate,
    /// Bounds for each client address.
    pub per_ip: Option<PerIp>,
    /// Rooms that a client may be in, per namespace.
    pub rooms_per_client: u32,
    /// Events that a client may send per second.
    pub events_per_second: u32,
    /// Bytes that may be queued for a client before it is disconnected as too slow.
    pub queue: Size,
    /// How long a client may read nothing of what is queued for it before it is disconnected.
    pub write_stall: Period,
    /// How long a client may take to send the head of an HTTP request.
    pub header_read: Period,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 50_000,
            connect_rate: Rate(500),
            per_ip: None,
            rooms_per_client: 100,
            events_per_second: 100,
            queue: Size(1 << 20),
            write_stall: Period(Duration::from_secs(10)),
            header_read: Period(Duration::from_secs(10)),
        }
    }
}

/// Bounds for each client address.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PerIp {
    /// Sessions that may be open at once from one address.
    pub connections: Option<u32>,
    /// New sessions per second from one address.
    pub connect_rate: Option<Rate>,
}
