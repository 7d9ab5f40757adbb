//! The parts of [`Values`](super::Values) that only a release without an operator reads.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::relations::text;
use crate::crd::{Autoscaling, Gateway};

/// Autoscaling by connections.
#[derive(Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AutoscalingValues {
    #[expect(missing_docs, reason = "its fields are documented where they are")]
    #[schemars(flatten)]
    pub autoscaling: Autoscaling,
    /// Autoscaling by KEDA, instead of a HorizontalPodAutoscaler; only with `rookery.standalone`.
    pub keda: Option<KedaValues>,
}

/// A route of the Gateway API for clients.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayValues {
    #[expect(missing_docs, reason = "its fields are documented where they are")]
    #[schemars(flatten)]
    pub gateway: Gateway,
    /// Whether the cluster's HTTPRoute has `sessionPersistence`, which `sticky` asks for; only with
    /// `rookery.standalone`. Default: whether the cluster has the experimental channel's API group.
    pub session_persistence: Option<bool>,
}

/// The ScaledObject of KEDA (keda.sh/v1alpha1), which reads the connections from a Prometheus.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct KedaValues {
    /// URL of the Prometheus.
    #[schemars(extend("allOf" = text(
        "^https?://",
        "expected the URL of a Prometheus such as http://prometheus.monitoring:9090"
    )))]
    pub server_address: String,
    /// Seconds between two queries. Default: 15.
    #[schemars(range(min = 1))]
    pub polling_interval: Option<u32>,
    /// More settings of the trigger, such as `authModes`.
    #[schemars(default)]
    pub metadata: BTreeMap<String, String>,
    /// The TriggerAuthentication with the credentials for the Prometheus.
    pub authentication_ref: Option<KedaAuthentication>,
    /// Annotations of the ScaledObject.
    #[schemars(default)]
    pub annotations: BTreeMap<String, String>,
}

/// A TriggerAuthentication of KEDA.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct KedaAuthentication {
    /// Name of the object.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Its kind. Default: `TriggerAuthentication`.
    pub kind: Option<KedaAuthenticationKind>,
}

/// The kinds of [`KedaAuthentication`].
#[derive(JsonSchema)]
pub enum KedaAuthenticationKind {
    /// One of the namespace.
    TriggerAuthentication,
    /// One of the cluster.
    ClusterTriggerAuthentication,
}

/// A Job that runs `rookery check` on the configuration before anything is installed or upgraded;
/// only with `rookery.standalone`.
#[derive(Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CheckValues {
    /// Whether to run it.
    pub enabled: bool,
}
