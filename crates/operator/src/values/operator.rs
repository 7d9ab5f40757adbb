//! The values of the chart `rookery-operator`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, LocalObjectReference, ResourceRequirements, Toleration,
};
use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use schemars::JsonSchema;
use serde_json::Value;

use super::relations::text;
use super::{DashboardValues, ImageValues};

/// Values of `helm install rookery-operator`: the operator, and the definition of `Rookery`
/// resources.
#[derive(Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct OperatorValues {
    /// Image of the operator, and of the servers of resources without `spec.image`.
    pub image: ImageValues,
    /// Secrets for pulling the image.
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// Whether the pods run as the image's user. Otherwise the cluster assigns one, as OpenShift does.
    pub fixed_user: bool,
    /// Name of the objects. Default: the name of the release, with `-rookery-operator` unless it
    /// contains `rookery-operator`.
    #[schemars(length(max = 63))]
    pub fullname_override: String,
    /// Number of pods: one reconciles, all serve the metrics for autoscalers.
    #[schemars(range(min = 1, max = 10))]
    pub replicas: i32,
    /// Namespaces whose `Rookery` resources are reconciled; they must exist. Default: all
    /// namespaces.
    pub watch_namespaces: Vec<String>,
    /// Whether the ClusterRoles `view`, `edit` and `admin` cover `Rookery` resources.
    pub aggregate_roles: bool,
    /// The definition of `Rookery` resources.
    pub crd: CrdValues,
    /// The API custom.metrics.k8s.io.
    pub metrics_api: MetricsApiValues,
    /// The external scaler for KEDA.
    pub keda_scaler: KedaScalerValues,
    /// What a `Rookery` resource may ask for.
    pub allow: AllowValues,
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
    /// Dashboards for Grafana.
    pub dashboards: DashboardValues,
    /// Values of a parent chart; not read.
    pub global: BTreeMap<String, Value>,
}

/// The definition of `Rookery` resources.
#[derive(Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CrdValues {
    /// Whether the release contains the definition. One release per cluster does.
    pub enabled: bool,
}

/// The API custom.metrics.k8s.io, from which autoscalers read the connections.
#[derive(Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MetricsApiValues {
    /// Whether the operator serves it. One operator per cluster does.
    pub enabled: bool,
}

/// The external scaler, from which KEDA reads the connections.
#[derive(Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct KedaScalerValues {
    /// Whether the operator serves it, with gRPC.
    pub enabled: bool,
}

/// What a `Rookery` resource may ask for.
#[derive(Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AllowValues {
    /// Patterns of the images that it may name. Default: all.
    pub images: Vec<NonEmpty>,
    /// Whether it may annotate the ServiceAccount of its pods.
    pub service_account_annotations: bool,
    /// Patterns of the hosts that its Ingress may claim. Default: all.
    pub ingress_hosts: Vec<NonEmpty>,
    /// Whether it may add destinations to the NetworkPolicy of its pods.
    pub extra_egress: bool,
}

/// A string that is not empty.
#[derive(JsonSchema)]
#[schemars(inline)]
pub struct NonEmpty(
    /// The string.
    #[schemars(length(min = 1))]
    pub String,
);

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
    /// Base URL of the runbooks that alerts link to. Default: their path in the repository.
    #[schemars(extend("allOf" = text(
        "^(https?://.*)?$",
        "expected a URL such as https://runbooks.example.com"
    )))]
    pub runbook_url: String,
}

/// A port.
#[derive(JsonSchema)]
#[schemars(inline)]
pub struct Port(
    /// The number.
    #[schemars(range(min = 1, max = 65535))]
    pub u16,
);

/// NetworkPolicy of the operator.
#[derive(Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct OperatorNetworkPolicy {
    /// Whether to create a NetworkPolicy.
    pub enabled: bool,
    /// Ports of the API server, as the operator's pods connect to it.
    pub api_server_ports: Vec<Port>,
    /// Ports of the cluster's DNS, as its pods listen.
    pub dns_ports: Vec<Port>,
    /// Peers that may read /metrics.
    pub prometheus: Vec<NetworkPolicyPeer>,
    /// Peers that may ask the external scaler.
    pub keda: Vec<NetworkPolicyPeer>,
}
