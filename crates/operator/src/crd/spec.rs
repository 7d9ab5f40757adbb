//! The parts of [`RookerySpec`](super::RookerySpec).

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::networking::v1::{NetworkPolicyEgressRule, NetworkPolicyPeer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use rookery_config::units::Period;

/// Ingress for clients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Ingress {
    /// Name of the IngressClass. Default: the cluster's default class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_name: Option<String>,
    /// Controller of that class, which determines the annotations for sticky sessions.
    pub controller: IngressController,
    /// Host name that clients use. Default: every host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Further host names that clients use.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// HTTPS settings. Default: plain HTTP, or the controller's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<IngressTls>,
    /// Whether a cookie keeps the requests of a client on one server, as polling clients need.
    pub sticky: bool,
    /// Additional annotations of the Ingress, such as cert-manager's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Default for Ingress {
    fn default() -> Self {
        Ingress {
            class_name: None,
            controller: IngressController::Traefik,
            host: None,
            hosts: Vec::new(),
            tls: None,
            sticky: true,
            annotations: BTreeMap::new(),
        }
    }
}

impl Ingress {
    /// All host names; empty: every host.
    pub fn all_hosts(&self) -> Vec<String> {
        self.host.iter().chain(&self.hosts).cloned().collect()
    }
}

/// Supported ingress controllers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IngressController {
    /// Traefik: annotations of the Service.
    #[default]
    Traefik,
    /// The HAProxy Kubernetes Ingress Controller: annotations of the Service.
    Haproxy,
}

/// HTTPS settings of the Ingress.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressTls {
    /// Name of the Secret with the certificate. Default: the controller's default certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// Names of Secrets by host, for hosts with a certificate of their own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secret_names: BTreeMap<String, String>,
}

/// A Secret mounted into the servers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretMount {
    /// Name of the Secret, in the same namespace.
    #[schemars(length(min = 1))]
    pub secret_name: String,
    /// Absolute path of the directory in which its keys appear as files.
    #[schemars(regex(pattern = "^/."))]
    pub mount_path: String,
}

/// How a terminating server closes its sessions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DrainSpec {
    /// How long the server keeps working normally before it closes sessions. Default: 5s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lead: Option<Period>,
    /// Period over which it closes its sessions evenly. Default: 30s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Period>,
}

/// Objects for the Prometheus operator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Monitoring {
    /// Whether to create a ServiceMonitor, if its definition exists.
    pub service_monitor: bool,
    /// Whether to create a PodMonitor instead of the ServiceMonitor, if its definition exists.
    pub pod_monitor: bool,
    /// Whether to create a PrometheusRule, if its definition exists.
    pub prometheus_rule: bool,
    /// Interval between scrapes.
    pub interval: Period,
    /// Additional labels of these objects, by which a Prometheus selects them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Base URL of the runbooks that alerts link to: `https://docs.example.com/runbooks` gives
    /// `https://docs.example.com/runbooks/RookeryAbsent.md`. Default: their path in the Rookery
    /// repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^https?://"))]
    pub runbook_url: Option<String>,
}

impl Default for Monitoring {
    fn default() -> Self {
        Monitoring {
            service_monitor: true,
            pod_monitor: false,
            prometheus_rule: true,
            interval: Period(Duration::from_secs(15)),
            labels: BTreeMap::new(),
            runbook_url: None,
        }
    }
}

/// NetworkPolicy of the servers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkPolicySpec {
    /// Whether to create a NetworkPolicy.
    pub enabled: bool,
    /// Peers that may use the HTTP API on the internal port. Default: every pod of the namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publishers: Option<Vec<NetworkPolicyPeer>>,
    /// Peers that may read /metrics on the internal port. Default: pods of any namespace with the
    /// label `app.kubernetes.io/name: prometheus`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<Vec<NetworkPolicyPeer>>,
    /// Additional egress rules, besides DNS, Redis and the endpoints that `config` names.
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
