//! [`Status`]: the state of one instance.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

/// Reads the status of this instance from its counters; cheap enough for every request.
pub type StatusSource = Arc<dyn Fn() -> Status + Send + Sync>;

/// Counts by the values of a label, every value included.
pub type Counts = BTreeMap<&'static str, u64>;

/// The state of one instance. Counts are totals since its start: to get a rate, divide the
/// difference between two answers by the difference between their `uptimeSeconds`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The version of Rookery.
    pub version: &'static str,
    /// The pod's id: the first 8 characters of its members' ids.
    #[schema(value_type = String)]
    pub pod: Arc<str>,
    /// The address that the clients' listener is bound to.
    #[schema(value_type = String, example = "127.0.0.1:3000")]
    pub listen: SocketAddr,
    /// The time at which it started (RFC 3339, UTC).
    #[schema(format = DateTime)]
    pub started_at: String,
    /// The time since its start in seconds, by the monotonic clock.
    pub uptime_seconds: f64,
    /// Open sessions.
    pub connections: Connections,
    /// The number of rooms that have members on this instance.
    pub rooms: u64,
    /// Publications accepted or received, by source.
    #[schema(value_type = std::collections::HashMap<String, u64>)]
    pub publications: Counts,
    /// Deliveries (one for each publication and recipient), by outcome.
    #[schema(value_type = std::collections::HashMap<String, u64>)]
    pub deliveries: Counts,
    /// Connects to namespaces.
    pub connects: Connects,
    /// Ended sessions, by reason.
    #[schema(value_type = std::collections::HashMap<String, u64>)]
    pub disconnects: Counts,
    /// Refused clients and requests, by reason.
    #[schema(value_type = std::collections::HashMap<String, u64>)]
    pub rejected: Counts,
    /// The link to Redis; null if Redis is not configured.
    pub redis: Option<RedisStatus>,
    /// Whether the instance is draining: it received SIGTERM and is about to stop.
    pub draining: bool,
    /// The reasons why `/readyz` fails, a sentence each; empty while it succeeds.
    pub ready: Vec<String>,
}

/// Open sessions, by transport.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Connections {
    /// Sessions on HTTP long polling.
    pub polling: u64,
    /// Sessions on WebSocket.
    pub websocket: u64,
    /// The most sessions on both transports together: `limits.connections`.
    pub limit: u64,
}

/// Connects to namespaces.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Connects {
    /// Connects that were accepted.
    pub accepted: u64,
    /// Connects that were answered with `connect_error`.
    pub refused: u64,
}

/// The link to Redis.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RedisStatus {
    /// Whether both connections, for sending and for listening, are established.
    pub up: bool,
    /// `redis.url` without user and password.
    pub url: String,
    /// The number of reconnects.
    pub reconnects: u64,
    /// The number of publications that never reached Redis.
    pub unsent: u64,
}
