//! What the operator says of a [`Rookery`](super::Rookery).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator last saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RookeryStatus {
    /// Pods that there are.
    pub replicas: i32,
    /// Pods that are ready.
    pub ready_replicas: i32,
    /// Ready pods of all, as `kubectl get` shows them: `2/2`.
    pub ready: String,
    /// Connections to all pods, as of the last count.
    pub connections: i64,
    /// Available, Progressing, Degraded and RedisReachable.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The generation of the resource that this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// The types of [`RookeryStatus::conditions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConditionType {
    /// Enough pods are ready to serve clients.
    Available,
    /// A change is being rolled out.
    Progressing,
    /// Something that was asked for cannot be had; the message says what to do.
    Degraded,
    /// Every ready pod that should has its connection to Redis.
    RedisReachable,
}

impl ConditionType {
    /// The name in the resource.
    pub fn name(self) -> &'static str {
        match self {
            ConditionType::Available => "Available",
            ConditionType::Progressing => "Progressing",
            ConditionType::Degraded => "Degraded",
            ConditionType::RedisReachable => "RedisReachable",
        }
    }
}
