//! The values of the Helm charts: those of a service, which are the types of the custom resource and
//! what the chart `rookery` adds to them, and those of the operator. They only generate the JSON Schema; Helm's templates read the values.
//!
//! No value of these types is constructed; the field docs become descriptions in the schema.

mod forms;
mod operator;
mod relations;
mod schema;
mod standalone;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{LocalObjectReference, ResourceRequirements};
use schemars::JsonSchema;
use serde_json::Value;

use super::crd::{
    ClientService, ConfigTree, DrainSpec, ImagePullPolicy, Ingress, Monitoring, NetworkPolicySpec,
    PodTemplate, RebalanceSpec, Replicas, RolloutSpec, SecretField, SecretKey, SecretMount,
};

use relations::text;

pub use operator::*;
pub use schema::{operator_schema, schema};
pub use standalone::*;

/// Values of the chart `rookery`: one service.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, default)]
#[derive(Default)]
pub struct Values {
    /// Image of the servers and the tests.
    pub image: ImageValues,
    /// Secrets for pulling the image, for every pod of the release.
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// Whether all pods of the release run as the image's user. Otherwise the cluster assigns one, as
    /// OpenShift does. `podTemplate.fixedUser` takes precedence.
    pub fixed_user: bool,
    /// The `Rookery` resource.
    pub rookery: RookeryValues,
    /// The check of the configuration before an installation without an operator.
    pub check: CheckValues,
    /// Whether everybody may connect while `config.auth` does not say who may. Without either, the
    /// chart refuses to install.
    pub anonymous: bool,
    /// Minimum and maximum number of servers. Default: 2 to 10 with Redis, 1 without.
    pub replicas: Replicas,
    /// Autoscaling by connections.
    pub autoscaling: AutoscalingValues,
    /// Ingress for clients. Created if it has a host or `enabled` is true.
    pub ingress: IngressValues,
    /// Route of the Gateway API for clients, beside the Ingress or instead of it.
    pub gateway: Option<GatewayValues>,
    /// The Service for clients. Default: inside the cluster, for the Ingress.
    pub service: ClientService,
    /// Redis that connects the servers. Default: a single server keeps its rooms in memory.
    pub redis: RedisValues,
    /// Secrets mounted into the servers, for the files that `config` names.
    pub secrets: Vec<SecretMount>,
    /// Configuration of the servers: the keys of `rookery serve --config`.
    pub config: ConfigTree,
    /// How a terminating server closes its sessions. Overrides `config.drain`.
    pub drain: DrainSpec,
    /// How servers are replaced.
    pub rollout: RolloutSpec,
    /// How servers with more clients than others give some away.
    pub rebalance: RebalanceSpec,
    /// Resource requests and limits of the servers. Default: requests of 100m CPU and 128Mi memory.
    pub resources: ResourceRequirements,
    /// Additional settings of the server pods.
    pub pod_template: PodTemplate,
    /// Objects for the Prometheus operator, created if its definitions exist.
    pub monitoring: Monitoring,
    /// NetworkPolicy of the servers.
    pub network_policy: NetworkPolicySpec,
    /// Dashboards for Grafana.
    pub dashboards: DashboardValues,
    /// Once the operator, which has the chart `rookery-operator` now. Only `enabled: false` is
    /// accepted.
    pub operator: Option<BTreeMap<String, Value>>,
    /// Once the upgrade of the definition, which is in the chart `rookery-operator` now. Refused
    /// unless `operator.enabled` is false.
    pub crd: Option<BTreeMap<String, Value>>,
    /// What `helm test` does.
    pub tests: TestValues,
    /// Values of a parent chart; not read.
    pub global: BTreeMap<String, Value>,
}

/// The form of a repository, without tag and digest (distribution/reference, "Grammar").
const REPOSITORY: &str = r"^([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]+)?/|\[[0-9A-Fa-f:]+\](:[0-9]+)?/)?[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$";
const REPOSITORY_SAYS: &str = "expected a repository such as registry.example.com/rookery, in small \
                               letters; the tag is image.tag, a digest image.digest";

const TAG: &str = "^([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$";
const TAG_SAYS: &str = "expected a tag such as 1.2.3: at most 128 letters, digits, dots, dashes and \
                        underscores; quote numbers";

const DIGEST: &str = "^(sha256:[0-9a-f]{64})?$";
const DIGEST_SAYS: &str = "expected a digest: sha256: and 64 hexadecimal digits in small letters";

/// A container image.
#[derive(Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ImageValues {
    /// Repository of the image, with its registry if it needs one.
    #[schemars(length(min = 1), extend("allOf" = text(REPOSITORY, REPOSITORY_SAYS)))]
    pub repository: String,
    /// Tag of the image. Default: the chart's appVersion.
    #[schemars(extend("allOf" = text(TAG, TAG_SAYS)))]
    pub tag: String,
    /// Digest of the image, `sha256:…`. Overrides the tag.
    #[schemars(extend("allOf" = text(DIGEST, DIGEST_SAYS)))]
    pub digest: String,
    /// When the image is pulled.
    pub pull_policy: Option<ImagePullPolicy>,
}

/// The `Rookery` resource.
#[derive(Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RookeryValues {
    /// Whether to create the resource, with the name of the release.
    pub enabled: bool,
    /// Whether the chart creates the objects of the service itself, without a resource and for a
    /// cluster or namespace without an operator.
    pub standalone: bool,
}

/// How clients get in.
#[derive(Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct IngressValues {
    /// Whether to create an Ingress. Default: true if there is a host.
    pub enabled: Option<bool>,
    #[expect(missing_docs, reason = "its fields are documented where they are")]
    #[schemars(flatten)]
    pub ingress: Ingress,
}

/// Redis that connects the servers: one of `url`, `urlSecret`, `host` and `demo`.
#[derive(Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RedisValues {
    /// URL of Redis: `redis://host:6379`, or `rediss://…` for TLS. It is visible in a ConfigMap:
    /// use `urlSecret` if it contains a password.
    pub url: Option<String>,
    /// Key of a Secret in the same namespace that holds the URL.
    pub url_secret: Option<SecretKey>,
    /// Host name or address of Redis, instead of a URL.
    pub host: Option<String>,
    /// Port at `host`. Default: 6379.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Whether `host` is reached by TLS. Default: false.
    pub tls: Option<bool>,
    /// User to log in as. Default: Redis's default user.
    pub username: Option<String>,
    /// Key of a Secret in the same namespace that holds the password.
    pub password_secret: Option<SecretField>,
    /// Key of a Secret in the same namespace that holds the certificates, in PEM, of the authorities
    /// to trust instead of the system's.
    pub ca_secret: Option<SecretField>,
    /// Whether to run a Redis with one pod and no persistence, for trying Rookery out.
    pub demo: bool,
    /// Image of the demo Redis.
    pub image: String,
}

/// Dashboards for Grafana, in ConfigMaps that its sidecar loads. They show every release, so one
/// release should create them.
#[derive(Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DashboardValues {
    /// Whether this release creates the dashboards.
    pub enabled: bool,
    /// Namespace of the ConfigMaps. Default: that of the release.
    pub namespace: String,
    /// Labels of the ConfigMaps, by one of which the sidecar finds them.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the ConfigMaps, from one of which the sidecar reads the folder.
    pub annotations: BTreeMap<String, String>,
}

/// What `helm test` does.
#[derive(Default, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TestValues {
    /// URL to test. Default: that of the Ingress, or of the Service without one.
    pub url: String,
    /// Address of the ingress controller inside the cluster, `HOST` or `HOST:PORT`, for a host name
    /// that the cluster's DNS does not resolve.
    pub ingress_address: String,
    /// How long each connection is held, such as `30s`. Default: through one heartbeat.
    pub hold: String,
    /// Whether to accept a certificate that cannot be verified.
    pub insecure: bool,
    /// Key of a Secret that holds a token, if clients need one.
    pub token_secret: Option<TokenSecret>,
}

/// A key of a Secret that holds a token.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenSecret {
    /// Name of the Secret.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Key in the Secret.
    #[schemars(length(min = 1))]
    pub key: String,
}
