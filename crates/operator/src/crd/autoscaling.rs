//! `spec.replicas` and `spec.autoscaling`.

use std::time::Duration;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscalerBehavior;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use rookery_config::units::Period;

/// Minimum and maximum number of servers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.min) || !has(self.max) || self.min <= self.max", "min is above max"))]
pub struct Replicas {
    /// Minimum number of servers. Default: 2, or `max` if that is less.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub min: Option<i32>,
    /// Maximum number of servers. Default: 10, or `min` if that is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max: Option<i32>,
}

/// Autoscaling by connections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Autoscaling {
    /// Whether to create a HorizontalPodAutoscaler. Without one, the number of servers belongs to
    /// whoever scales the Deployment, such as KEDA, which creates its own autoscaler.
    pub enabled: bool,
    /// Target number of connections per pod.
    #[schemars(range(min = 1))]
    pub connections_per_pod: i32,
    /// Server of the metrics of pods that the autoscaler follows, such as `rookery_connections`.
    pub metrics: MetricsSource,
    /// How long fewer pods must suffice before one is removed, so that a deploy of the clients'
    /// application, which closes connections for a moment, removes none.
    pub stabilization: Period,
    /// Target CPU utilization, in percent of the request, which is followed beside the connections:
    /// whichever needs more pods decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub cpu_utilization: Option<i32>,
    /// Target number of deliveries per second and pod, averaged over 30 s, which is followed beside
    /// the connections: whichever needs more pods decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub deliveries_per_second: Option<i32>,
    /// Target number of bytes that wait in outboxes, per pod, which is followed beside the
    /// connections: whichever needs more pods decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub outbox_bytes: Option<i64>,
    /// Replaces parts of the autoscaler's behavior, such as `scaleDown.policies`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behavior: Option<HorizontalPodAutoscalerBehavior>,
}

impl Default for Autoscaling {
    fn default() -> Self {
        Autoscaling {
            enabled: true,
            connections_per_pod: 10_000,
            metrics: MetricsSource::Builtin,
            stabilization: Period(Duration::from_secs(300)),
            cpu_utilization: None,
            deliveries_per_second: None,
            outbox_bytes: None,
            behavior: None,
        }
    }
}

/// Server of the metrics that the autoscaler follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MetricsSource {
    /// The operator.
    #[default]
    Builtin,
    /// Another server of custom.metrics.k8s.io, such as prometheus-adapter.
    External,
    /// KEDA, which asks the operator's external scaler: there is a `ScaledObject` instead of a
    /// HorizontalPodAutoscaler.
    Keda,
}
