//! The parts of [`Values`](super::Values) under `operator`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, ResourceRequirements, Toleration};
use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use schemars::JsonSchema;

/// The operator, of which a cluster needs one.
#[derive(Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct OperatorValues {
    /// Whether this release runs the operator.
    pub enabled: bool,
    /// Number of pods: one reconciles, all serve the metrics for autoscalers.
    #[schemars(range(min = 1, max = 10))]
    pub replicas: i32,
    /// Namespaces whose `Rookery` resources are reconciled; they must exist. Default: all
    /// namespaces.
    pub watch_namespaces: Vec<String>,
    /// Whether the ClusterRoles `view`, `edit` and `admin` cover `Rookery` resources.
    pub aggregate_roles: bool,
    /// Resource requests and limits of the pods.
    pub resources: ResourceRequirements,
    /// Labels that a node must have to run the pods.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the pods tolerate.
    pub tolerations: Vec<Toleration>,
    /// Affinity of the pods.
    pub affinity: Affinity,
    /// Name of the PriorityClass.
    pub priority_class_name: String,
    /// Additional annotations of the pods.
    pub pod_annotations: BTreeMap<String, String>,
    /// Additional labels of the pods.
    pub pod_labels: BTreeMap<String, String>,
    /// Annotations of the ServiceAccount.
    pub service_account_annotations: BTreeMap<String, String>,
    /// Additional environment variables, such as RUST_LOG.
    pub env: BTreeMap<String, String>,
    /// The operator's ServiceMonitor.
    pub service_monitor: ServiceMonitorValues,
    /// The operator's PrometheusRule.
    pub prometheus_rule: PrometheusRuleValues,
    /// The operator's NetworkPolicy.
    pub network_policy: OperatorNetworkPolicy,
}

/// The operator's ServiceMonitor, for the Prometheus operator.
#[derive(Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ServiceMonitorValues {
    /// Whether to create it. Its definition must exist.
    pub enabled: bool,
    /// Interval between scrapes, such as `15s`.
    pub interval: String,
    /// Additional labels, by which a Prometheus selects it.
    pub labels: BTreeMap<String, String>,
}

/// Alerts about the operator, for the Prometheus operator.
#[derive(Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PrometheusRuleValues {
    /// Whether to create it. Its definition must exist.
    pub enabled: bool,
    /// Additional labels, by which a Prometheus selects it.
    pub labels: BTreeMap<String, String>,
    /// Base URL of the runbooks that alerts link to. Default: `monitoring.runbookUrl`.
    #[schemars(regex(pattern = "^(https?://.*)?$"))]
    pub runbook_url: String,
}

/// NetworkPolicy of the operator.
#[derive(Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct OperatorNetworkPolicy {
    /// Whether to create a NetworkPolicy.
    pub enabled: bool,
    /// Ports of the API server, as the operator's pods connect to it.
    pub api_server_ports: Vec<u16>,
    /// Peers that may read /metrics.
    pub prometheus: Vec<NetworkPolicyPeer>,
}
