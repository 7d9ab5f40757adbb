//! A server pod as the rest of the operator sees it.

use k8s_openapi::jiff::Timestamp;

/// A server pod and the result of its last scrape.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerPod {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub name: String,
    /// Name of the `Rookery` that the pod belongs to.
    pub instance: String,
    /// Whether its condition `Ready` is true.
    pub ready: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// Number of connections at `read_at`; `None` if there is no scrape within
    /// [`STALE_AFTER`](super::STALE_AFTER).
    pub connections: Option<u64>,
    /// Whether Redis is connected; `None` if it has no Redis or no recent scrape.
    pub redis_up: Option<bool>,
    /// Time of the scrape that `connections` is from.
    pub read_at: Option<Timestamp>,
    /// Value of the annotation [`DELETION_COST`](crate::names::DELETION_COST), if it is a number.
    pub deletion_cost: Option<i32>,
}
