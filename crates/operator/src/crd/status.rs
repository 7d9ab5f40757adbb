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
    /// Image of the servers that the Deployment has.
    pub image: String,
    /// Version that the servers report; several, separated by commas, during an upgrade.
    pub version: String,
    /// Label selector of the server pods, for the scale subresource.
    pub selector: String,
    /// The conditions Ready, Reconciling, Available, Degraded, Progressing, RedisReachable, Stalled,
    /// Warnings and Paused.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The generation of the resource that this status describes; -1 until the operator has seen it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

impl RookeryStatus {
    /// Whether a condition is true.
    pub fn is_true(&self, kind: ConditionType) -> bool {
        self.condition(kind).is_some_and(|condition| condition.status == "True")
    }

    /// The condition of this type.
    pub fn condition(&self, kind: ConditionType) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.type_ == kind.name())
    }

    /// Reason and message of [`ConditionType::Degraded`], if it is true and was not in `before`. A
    /// message that changes counts only where the spec itself is at fault: that of a failing pod
    /// changes with each attempt.
    pub fn new_problem(&self, before: Option<&RookeryStatus>) -> Option<(&str, &str)> {
        let problem = self.problem()?;
        let (reason, message) = before.and_then(RookeryStatus::problem).unwrap_or_default();
        let is_known =
            problem.0 == reason && (problem.1 == message || !SPEC_REASONS.contains(&reason));
        (!is_known).then_some(problem)
    }

    fn problem(&self) -> Option<(&str, &str)> {
        let degraded = self.condition(ConditionType::Degraded)?;
        (degraded.status == "True").then_some((&degraded.reason, &degraded.message))
    }
}

/// Reasons for which the resource itself has to be changed.
pub const SPEC_REASONS: [&str; 4] = ["Invalid", "NameTaken", "RedisChanged", "Refused"];

/// The types of [`RookeryStatus::conditions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConditionType {
    /// Everything is as the spec says: valid, applied, all pods ready, Redis reachable.
    Ready,
    /// A change is on its way, and nothing stops it.
    Reconciling,
    /// At least the minimum number of pods is ready to serve clients.
    Available,
    /// A change is being rolled out.
    Progressing,
    /// Part of the spec cannot be applied; the message says what to do.
    Degraded,
    /// Every pod that reports its connection to Redis is connected.
    RedisReachable,
    /// The spec does not take effect, or pods fail, until somebody acts; the message says why.
    Stalled,
    /// Settings are valid but probably unintended; the message names them.
    Warnings,
    /// An annotation keeps the operator from changing anything.
    Paused,
}

impl ConditionType {
    /// The condition's `type`.
    pub fn name(self) -> &'static str {
        match self {
            ConditionType::Ready => "Ready",
            ConditionType::Reconciling => "Reconciling",
            ConditionType::Available => "Available",
            ConditionType::Progressing => "Progressing",
            ConditionType::Degraded => "Degraded",
            ConditionType::RedisReachable => "RedisReachable",
            ConditionType::Stalled => "Stalled",
            ConditionType::Warnings => "Warnings",
            ConditionType::Paused => "Paused",
        }
    }
}
