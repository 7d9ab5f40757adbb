//! `GET /api/status`: what the instance that answers is doing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Shared;

/// Knows what this instance is doing.
pub trait InstanceStatus: Send + Sync + 'static {
    /// As it is now. Reads counters; costs no more than that.
    fn now(&self) -> Status;
}

/// Counts by a label, with every value of it, at zero where nothing was counted.
pub type Counts = BTreeMap<&'static str, u64>;

/// What one instance is doing. Counts are totals since its start: a rate is the difference of two
/// answers by that of their `uptimeSeconds`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Its version.
    pub version: &'static str,
    /// Its pod's name: the first 8 characters of its members' ids.
    #[schema(value_type = String)]
    pub pod: Arc<str>,
    /// The address that clients connect to, as it is bound.
    #[schema(value_type = String, example = "127.0.0.1:3000")]
    pub listen: SocketAddr,
    /// When it started (RFC 3339, UTC).
    #[schema(format = DateTime)]
    pub started_at: String,
    /// For how long it has been running, in seconds, by a clock that nobody sets.
    pub uptime_seconds: f64,
    /// Its sessions now.
    pub connections: Connections,
    /// Rooms that have members here.
    pub rooms: u64,
    /// Publications accepted or received, by source.
    #[schema(value_type = std::collections::HashMap<String, u64>)]
    pub publications: Counts,
    /// Publications times recipients, by what became of each.
    #[schema(value_type = std::collections::HashMap<String, u64>)]
    pub deliveries: Counts,
    /// Clients that asked for a namespace.
    pub connects: Connects,
    /// Sessions that ended, by reason.
    #[schema(value_type = std::collections::HashMap<String, u64>)]
    pub disconnects: Counts,
    /// Refused clients and requests, by reason.
    #[schema(value_type = std::collections::HashMap<String, u64>)]
    pub rejected: Counts,
    /// The link to Redis; null where none is configured.
    pub redis: Option<RedisStatus>,
    /// Whether it was told to stop.
    pub draining: bool,
    /// Why `/readyz` is not 200, a sentence each; empty when it is.
    pub ready: Vec<String>,
}

/// Sessions, by what carries them.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Connections {
    /// By HTTP long polling.
    pub polling: u64,
    /// By WebSocket.
    pub websocket: u64,
    /// `limits.connections`: how many there may be together.
    pub limit: u64,
}

/// Clients that asked for a namespace.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Connects {
    /// They are in it.
    pub accepted: u64,
    /// They got `connect_error`.
    pub refused: u64,
}

/// The link to Redis.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RedisStatus {
    /// Whether both connections are there.
    pub up: bool,
    /// `redis.url`, without user and password.
    pub url: String,
    /// How often a connection was made again.
    pub reconnects: u64,
    /// Publications that never reached Redis.
    pub unsent: u64,
}

/// Tell what this instance is doing
///
/// For people and their tools; `/metrics` has more, and is for Prometheus.
#[utoipa::path(
    get, path = "/api/status", tag = "instance",
    responses((status = 200, description = "The instance that answers", body = Status)),
)]
pub(super) async fn status(State(shared): State<Arc<Shared>>) -> Json<Status> {
    Json(shared.api.status.now())
}
