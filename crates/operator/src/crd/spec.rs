//! The parts of [`RookerySpec`](super::RookerySpec).

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{
    Affinity, LocalObjectReference, Toleration, TopologySpreadConstraint,
};
use k8s_openapi::api::networking::v1::{NetworkPolicyEgressRule, NetworkPolicyPeer};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use rookery_config::units::Period;

/// How many servers there may be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.min) || !has(self.max) || self.min <= self.max", "min is above max"))]
pub struct Replicas {
    /// At least this many. Absent: 2 (or `max`, where that is less).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub min: Option<i32>,
    /// At most this many. Absent: 10 (or `min`, where that is more).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max: Option<i32>,
}

/// When there are more servers, and who counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Autoscaling {
    /// Whether a HorizontalPodAutoscaler is made. Without one the number of servers is whoever's
    /// scales the Deployment, such as KEDA's, which makes its own.
    pub enabled: bool,
    /// The autoscaler aims at this many connections in each pod.
    #[schemars(range(min = 1))]
    pub connections_per_pod: i32,
    /// Who serves the metric `rookery_connections` of pods to the autoscaler.
    pub metrics: MetricsSource,
    /// For how long fewer pods must have been enough before one is taken away: a deploy of the
    /// clients' application, which closes connections for a moment, takes none.
    pub stabilization: Period,
}

impl Default for Autoscaling {
    fn default() -> Self {
        Autoscaling {
            enabled: true,
            connections_per_pod: 10_000,
            metrics: MetricsSource::Builtin,
            stabilization: Period(Duration::from_secs(300)),
        }
    }
}

/// Who serves `rookery_connections` to the autoscaler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MetricsSource {
    /// The operator itself.
    #[default]
    Builtin,
    /// Another server of custom.metrics.k8s.io, such as prometheus-adapter.
    External,
}

/// How clients get in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Ingress {
    /// The IngressClass. Absent: the cluster's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_name: Option<String>,
    /// Which controller serves that class: stickiness is said in its own annotations.
    pub controller: IngressController,
    /// The host name that clients use. Absent: every host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// HTTPS. Absent: plain HTTP, or whatever the controller does by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<IngressTls>,
    /// Whether the requests of one client keep going to one server, by a cookie. Polling
    /// clients need it.
    pub sticky: bool,
    /// More annotations for the Ingress, such as cert-manager's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Default for Ingress {
    fn default() -> Self {
        Ingress {
            class_name: None,
            controller: IngressController::Traefik,
            host: None,
            tls: None,
            sticky: true,
            annotations: BTreeMap::new(),
        }
    }
}

/// Ingress controllers whose stickiness is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IngressController {
    /// Traefik: annotations of the Service.
    #[default]
    Traefik,
    /// The HAProxy Kubernetes Ingress Controller: annotations of the Ingress.
    Haproxy,
}

/// HTTPS at the ingress.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressTls {
    /// The Secret that holds the certificate. Absent: the controller's default certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
}

/// The Redis between the servers: one of the two.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.url) != has(self.urlSecret)", "write url or urlSecret: exactly one"))]
pub struct RedisSource {
    /// `redis://host:6379` or `rediss://…` (TLS). It shows in the ConfigMap: where it holds a
    /// password, use `urlSecret`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The key of a Secret, in the same namespace, that holds the URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_secret: Option<SecretKey>,
}

/// A key of a Secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKey {
    /// The Secret's name.
    #[schemars(length(min = 1))]
    pub name: String,
    /// The key in it.
    #[serde(default = "SecretKey::default_key")]
    pub key: String,
    /// The port of the URL, which the NetworkPolicy opens.
    #[serde(default = "SecretKey::default_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
}

impl SecretKey {
    fn default_key() -> String {
        "url".to_owned()
    }

    fn default_port() -> u16 {
        6379
    }
}

/// A Secret that the servers mount.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretMount {
    /// The Secret's name, in the same namespace.
    #[schemars(length(min = 1))]
    pub secret_name: String,
    /// The folder in which its keys are files.
    #[schemars(regex(pattern = "^/."))]
    pub mount_path: String,
}

/// How sessions are closed when a server is told to stop.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DrainSpec {
    /// How long all goes on as before. Absent: 5s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lead: Option<Period>,
    /// Over how long the sessions are closed, evenly. Absent: 30s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Period>,
}

/// What else the servers' pods have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PodTemplate {
    /// More labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// More annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Labels that a node must have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that are tolerated.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Rules of placement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// How pods are spread. Absent: over nodes and zones, where possible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topology_spread_constraints: Option<Vec<TopologySpreadConstraint>>,
    /// The PriorityClass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// When the image is pulled. Absent: as Kubernetes decides by the tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// Secrets for pulling the image.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// More environment variables, such as RUST_LOG.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Annotations of the ServiceAccount.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub service_account_annotations: BTreeMap<String, String>,
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ImagePullPolicy {
    /// At every start.
    Always,
    /// Where the node has none.
    IfNotPresent,
    /// Never.
    Never,
}

/// Prometheus objects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Monitoring {
    /// Whether a ServiceMonitor is made where its definition exists.
    pub service_monitor: bool,
    /// Whether a PrometheusRule is made where its definition exists.
    pub prometheus_rule: bool,
    /// Time between two scrapes.
    pub interval: Period,
    /// Labels of both, by which a Prometheus selects them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Where the pages are that alerts link to: `https://docs.example.com/runbooks` makes
    /// `https://docs.example.com/runbooks/RookeryAbsent.md`. Absent: their path in Rookery's
    /// repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^https?://"))]
    pub runbook_url: Option<String>,
}

impl Default for Monitoring {
    fn default() -> Self {
        Monitoring {
            service_monitor: true,
            prometheus_rule: true,
            interval: Period(Duration::from_secs(15)),
            labels: BTreeMap::new(),
            runbook_url: None,
        }
    }
}

/// Who may reach the servers, and whom they may reach.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkPolicySpec {
    /// Whether a NetworkPolicy is made.
    pub enabled: bool,
    /// Who may use the HTTP API, on the internal port. Absent: every pod of the namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publishers: Option<Vec<NetworkPolicyPeer>>,
    /// Who may read /metrics, on the internal port. Absent: pods of any namespace with the label
    /// `app.kubernetes.io/name: prometheus`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<Vec<NetworkPolicyPeer>>,
    /// Whom the servers may reach besides DNS, Redis, and what `config` names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra_egress: Vec<NetworkPolicyEgressRule>,
}

impl Default for NetworkPolicySpec {
    fn default() -> Self {
        NetworkPolicySpec {
            enabled: true,
            publishers: None,
            prometheus: None,
            extra_egress: Vec::new(),
        }
    }
}
