//! A server pod as the rest of the operator sees it.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;

use super::failure::PodFailure;
use super::load::PodMetric;

/// A server pod and the result of its last scrape.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerPod {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub name: String,
    /// UID of the pod.
    pub uid: String,
    /// Name of the `Rookery` that the pod belongs to.
    pub instance: String,
    /// Whether its condition `Ready` is true.
    pub ready: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// Why it cannot start or keep running.
    pub failure: Option<PodFailure>,
    /// When it was created, if it has not started yet and no failure is known.
    pub pending_since: Option<Timestamp>,
    /// Number of connections at `read_at`; `None` if there is no scrape within
    /// [`STALE_AFTER`](super::STALE_AFTER).
    pub connections: Option<u64>,
    /// Deliveries per second, averaged over the last 30 s; `None` if there are no two scrapes.
    pub deliveries_per_second: Option<u64>,
    /// Bytes that wait in outboxes; `None` if there is no recent scrape.
    pub outbox_bytes: Option<u64>,
    /// Whether Redis is connected; `None` if it has no Redis or no recent scrape.
    pub redis_up: Option<bool>,
    /// Version of the server; `None` if there is no recent scrape.
    pub version: Option<Arc<str>>,
    /// Time of the scrape that `connections` is from.
    pub read_at: Option<Timestamp>,
    /// Value of the annotation [`DELETION_COST`](crate::names::DELETION_COST), if it is a number.
    pub deletion_cost: Option<i32>,
}

impl ServerPod {
    /// The value of a metric; `None` if there is no recent scrape.
    pub fn value(&self, metric: PodMetric) -> Option<u64> {
        match metric {
            PodMetric::Connections => self.connections,
            PodMetric::DeliveriesPerSecond => self.deliveries_per_second,
            PodMetric::OutboxBytes => self.outbox_bytes,
        }
    }
}
