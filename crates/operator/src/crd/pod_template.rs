//! `spec.podTemplate`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, Container, EnvFromSource, EnvVar, LocalObjectReference, Toleration,
    TopologySpreadConstraint, Volume, VolumeMount,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Additional settings of the server pods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PodTemplate {
    /// Additional labels of the pods.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Additional annotations of the pods.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Labels that a node must have to run the pods.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the pods tolerate.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Affinity of the pods. Default: prefer different zones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// Topology spread constraints. Default: spread over nodes if possible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topology_spread_constraints: Option<Vec<TopologySpreadConstraint>>,
    /// Name of the PriorityClass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// When the image is pulled. Default: decided by Kubernetes from the tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// Secrets for pulling the image.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// Additional environment variables of the servers, such as RUST_LOG.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Additional environment variables with the fields of a container's `env`, such as `valueFrom`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra_env: Vec<EnvVar>,
    /// ConfigMaps and Secrets whose keys become environment variables.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env_from: Vec<EnvFromSource>,
    /// Additional volumes, with the fields of a pod's `volumes`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<PodPart>")]
    pub volumes: Vec<Volume>,
    /// Where the servers' container mounts volumes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volume_mounts: Vec<VolumeMount>,
    /// Containers that run before the server, with the fields of a pod's `initContainers`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<PodPart>")]
    pub init_containers: Vec<Container>,
    /// Containers beside the server, with the fields of a pod's `containers`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<PodPart>")]
    pub sidecars: Vec<Container>,
    /// Whether the pods run as the image's user and group, 65532. `false`: as those that the cluster
    /// assigns, as OpenShift does (SecurityContextConstraints `restricted-v2`).
    pub fixed_user: bool,
    /// Annotations of the ServiceAccount.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub service_account_annotations: BTreeMap<String, String>,
}

impl Default for PodTemplate {
    fn default() -> Self {
        PodTemplate {
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            affinity: None,
            topology_spread_constraints: None,
            priority_class_name: None,
            image_pull_policy: None,
            image_pull_secrets: Vec::new(),
            env: BTreeMap::new(),
            extra_env: Vec::new(),
            env_from: Vec::new(),
            volumes: Vec::new(),
            volume_mounts: Vec::new(),
            init_containers: Vec::new(),
            sidecars: Vec::new(),
            fixed_user: true,
            service_account_annotations: BTreeMap::new(),
        }
    }
}

/// A part of a pod, whose fields Kubernetes checks when the Deployment is applied.
#[derive(JsonSchema)]
#[schemars(transparent, extend("type" = "object", "x-kubernetes-preserve-unknown-fields" = true))]
struct PodPart(#[allow(dead_code, reason = "only its schema is used")] Map<String, Value>);

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
