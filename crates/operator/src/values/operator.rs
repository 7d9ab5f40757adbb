//! The parts of [`Values`](super::Values) under `operator`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, ResourceRequirements, Toleration};
use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use schemars::JsonSchema;

/// The operator: one serves a cluster.
#[derive(Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct OperatorValues {
    /// Whether this release has it.
    pub enabled: bool,
    /// How many pods: one reconciles, all serve the metrics that autoscalers ask for.
    #[schemars(range(min = 1, max = 10))]
    pub replicas: i32,
    /// The namespaces whose `Rookery` resources it looks after. Empty: all. They must exist.
    pub watch_namespaces: Vec<String>,
    /// Whether the ClusterRoles `view`, `edit` and `admin` cover `Rookery` resources.
    pub aggregate_roles: bool,
    /// Requests and limits.
    pub resources: ResourceRequirements,
    /// Labels that a node must have.
    pub node_selector: BTreeMap<String, String>,
    /// Taints that are tolerated.
    pub tolerations: Vec<Toleration>,
    /// Rules of placement.
    pub affinity: Affinity,
    /// The PriorityClass.
    pub priority_class_name: String,
    /// More annotations of the pods.
    pub pod_annotations: BTreeMap<String, String>,
    /// More labels of the pods.
    pub pod_labels: BTreeMap<String, String>,
    /// Annotations of the ServiceAccount.
    pub service_account_annotations: BTreeMap<String, String>,
    /// More environment variables, such as RUST_LOG.
    pub env: BTreeMap<String, String>,
    /// Its ServiceMonitor.
    pub service_monitor: ServiceMonitorValues,
    /// Its PrometheusRule.
    pub prometheus_rule: PrometheusRuleValues,
    /// Its NetworkPolicy.
    pub network_policy: OperatorNetworkPolicy,
}

/// The operator's ServiceMonitor, for the Prometheus operator.
#[derive(Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ServiceMonitorValues {
    /// Whether it is made. Its definition must exist.
    pub enabled: bool,
    /// Time between two scrapes.
    pub interval: String,
    /// More labels, by which a Prometheus selects it.
    pub labels: BTreeMap<String, String>,
}

/// Alerts about the operator, for the Prometheus operator.
#[derive(Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PrometheusRuleValues {
    /// Whether it is made. Its definition must exist.
    pub enabled: bool,
    /// More labels, by which a Prometheus selects it.
    pub labels: BTreeMap<String, String>,
    /// Where the pages are that alerts link to. Empty: as `monitoring.runbookUrl` says.
    #[schemars(regex(pattern = "^(https?://.*)?$"))]
    pub runbook_url: String,
}

/// Who may reach the operator, and whom it may reach.
#[derive(Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct OperatorNetworkPolicy {
    /// Whether a NetworkPolicy is made.
    pub enabled: bool,
    /// Ports of the API server, as the operator's pods reach it.
    pub api_server_ports: Vec<u16>,
    /// Who may read /metrics.
    pub prometheus: Vec<NetworkPolicyPeer>,
}
