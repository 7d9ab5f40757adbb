//! The status of a [`Rookery`](super::Rookery).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The last observed state of the service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RookeryStatus {
    /// Number of server pods.
    pub replicas: i32,
    /// Number of ready server pods.
    pub ready_replicas: i32,
    /// Ready and desired pods, as `kubectl get` shows them: `2/2`.
    pub ready: String,
    /// Number of connections to all pods, as of the last scrape.
    pub connections: i64,
    /// The conditions Available, Progressing, Degraded and RedisReachable.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The generation of the resource that this status describes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// The types of [`RookeryStatus::conditions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConditionType {
    /// At least one pod is ready to serve clients.
    Available,
    /// A change is being rolled out.
    Progressing,
    /// Part of the spec cannot be applied; the message says what to do.
    Degraded,
    /// Every pod that reports its connection to Redis is connected.
    RedisReachable,
}

impl ConditionType {
    /// The condition's `type`.
    pub fn name(self) -> &'static str {
        match self {
            ConditionType::Available => "Available",
            ConditionType::Progressing => "Progressing",
            ConditionType::Degraded => "Degraded",
            ConditionType::RedisReachable => "RedisReachable",
        }
    }
}
