//! One server's pod, as other modules see it.

use k8s_openapi::jiff::Timestamp;

/// One server's pod.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerPod {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The name of the `Rookery` that it belongs to.
    pub instance: String,
    /// Whether its condition `Ready` is true.
    pub ready: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// Its connections; none while it has not been read, or not within [`STALE_AFTER`].
    pub connections: Option<u64>,
    /// Whether its links to Redis are up; none where it has no Redis, or was not read.
    pub redis_up: Option<bool>,
    /// When `connections` was read.
    pub read_at: Option<Timestamp>,
    /// The annotation [`names::DELETION_COST`], where it is a number.
    pub deletion_cost: Option<i32>,
}
