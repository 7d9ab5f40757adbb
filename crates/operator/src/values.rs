//! The values of the Helm chart: the same types as the custom resource's, and what the chart
//! adds to them. Only their JSON Schema is made of these; Helm's templates read the values.
//!
//! Nothing here is constructed: every field is documented for whoever reads the schema.

mod operator;
mod schema;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{LocalObjectReference, ResourceRequirements};
use schemars::JsonSchema;
use serde_json::Value;

use super::crd::{
    Autoscaling, ConfigTree, DrainSpec, ImagePullPolicy, Ingress, Monitoring, NetworkPolicySpec,
    PodTemplate, Replicas, SecretKey, SecretMount,
};

pub use operator::*;
pub use schema::schema;

/// What `helm install` reads: one `Rookery` resource, and the operator.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, default)]
#[derive(Default)]
pub struct Values {
    /// The image of the servers, the operator and the tests.
    pub image: ImageValues,
    /// Secrets for pulling the image, for every pod of the release.
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// The `Rookery` resource.
    pub rookery: RookeryValues,
    /// Whether everybody may connect as long as `config.auth` says nothing of who may.
    pub anonymous: bool,
    /// How many servers there may be. Empty: 2 to 10 with Redis, 1 without.
    pub replicas: Replicas,
    /// When there are more of them, and who counts.
    pub autoscaling: Autoscaling,
    /// How clients get in. Without a host and without `enabled`, no Ingress is made.
    pub ingress: IngressValues,
    /// The Redis between the servers. Empty: one server, in memory.
    pub redis: RedisValues,
    /// Secrets that the servers mount: what the files that `config` names are in.
    pub secrets: Vec<SecretMount>,
    /// The servers' configuration: the keys of `rookery serve --config`.
    pub config: ConfigTree,
    /// How sessions are closed when a server is told to stop. Beats `config.drain`.
    pub drain: DrainSpec,
    /// The servers' requests and limits. Empty: requests of 100m CPU and 128Mi memory.
    pub resources: ResourceRequirements,
    /// What else the servers' pods have.
    pub pod_template: PodTemplate,
    /// Prometheus objects, where the Prometheus operator's definitions exist.
    pub monitoring: Monitoring,
    /// Who may reach the servers, and whom they may reach.
    pub network_policy: NetworkPolicySpec,
    /// Dashboards for Grafana.
    pub dashboards: DashboardValues,
    /// The operator: one serves a cluster.
    pub operator: OperatorValues,
    /// The definition of `Rookery` resources.
    pub crd: CrdValues,
    /// What `helm test` does.
    pub tests: TestValues,
    /// Values of a parent chart; not read.
    pub global: BTreeMap<String, Value>,
}

/// An image.
#[derive(Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ImageValues {
    /// Its name, with the registry where it needs one.
    #[schemars(length(min = 1))]
    pub repository: String,
    /// Its tag. Empty: the chart's appVersion.
    pub tag: String,
    /// Its digest, `sha256:…`; beats the tag.
    #[schemars(regex(pattern = "^(sha256:[0-9a-f]{64})?$"))]
    pub digest: String,
    /// When it is pulled.
    pub pull_policy: Option<ImagePullPolicy>,
}

/// The `Rookery` resource.
#[derive(Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RookeryValues {
    /// Whether the release has one, with the release's name.
    pub enabled: bool,
}

/// How clients get in.
#[derive(Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct IngressValues {
    /// Whether there is an Ingress. Absent: where there is a host.
    pub enabled: Option<bool>,
    #[expect(missing_docs, reason = "its fields are documented where they are")]
    #[schemars(flatten)]
    pub ingress: Ingress,
}

/// The Redis between the servers: one of `url`, `urlSecret` and `demo`.
#[derive(Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RedisValues {
    /// `redis://host:6379` or `rediss://…` (TLS). It shows in a ConfigMap: where it holds a
    /// password, use `urlSecret`.
    pub url: Option<String>,
    /// The key of a Secret, in the same namespace, that holds the URL.
    pub url_secret: Option<SecretKey>,
    /// Whether a Redis of one pod, without persistence, is made for trying things out.
    pub demo: bool,
    /// The image of that Redis.
    pub image: String,
}

/// Dashboards for Grafana, in ConfigMaps that its sidecar loads. They show every release: one
/// brings them.
#[derive(Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DashboardValues {
    /// Whether this release brings them.
    pub enabled: bool,
    /// The namespace of the ConfigMaps. Empty: the release's.
    pub namespace: String,
    /// Labels of the ConfigMaps: the sidecar finds them by one.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the ConfigMaps: the sidecar reads the folder from one.
    pub annotations: BTreeMap<String, String>,
}

/// The definition of `Rookery` resources.
#[derive(Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CrdValues {
    /// Whether `helm upgrade` brings it up to date, by a Job that runs `rookery crd --apply`.
    /// Helm itself installs definitions, and never touches them again.
    pub upgrade: bool,
}

/// What `helm test` does.
#[derive(Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TestValues {
    /// The URL that is tested. Empty: that of the Ingress, or of the Service without one.
    pub url: String,
    /// Address of the ingress controller inside the cluster, `HOST` or `HOST:PORT`, for a host
    /// name that DNS does not know there.
    pub ingress_address: String,
    /// For how long each connection is held, such as `30s`. Empty: through one heartbeat.
    pub hold: String,
    /// Whether a certificate that nobody vouches for is good enough.
    pub insecure: bool,
    /// The key of a Secret that holds a token, where clients need one.
    pub token_secret: Option<TokenSecret>,
}

/// The key of a Secret that holds a token.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenSecret {
    /// The Secret's name.
    #[schemars(length(min = 1))]
    pub name: String,
    /// The key in it.
    #[schemars(length(min = 1))]
    pub key: String,
}
