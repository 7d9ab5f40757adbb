//! The custom resource `Rookery` (`rookery.dev/v1alpha1`) and its definition.

mod autoscaling;
mod client_service;
mod forms;
mod gateway;
mod pod_template;
mod redis;
mod relations;
mod resources;
mod rollout;
mod schema;
mod spec;
mod status;
mod validations;

use std::borrow::Cow;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{CustomResource, CustomResourceExt as _, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use autoscaling::*;
pub use client_service::*;
pub(crate) use forms::{FORMS, Form, PERIOD, hides_value};
pub use gateway::*;
pub use pod_template::*;
pub use redis::*;
pub use rollout::*;
pub(crate) use schema::is_general_bound;
pub use spec::*;
pub use status::*;
pub(crate) use validations::form_of;

/// The desired state of a Socket.IO service.
#[allow(clippy::duplicated_attributes, reason = "a column has the attributes of a column")]
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "rookery.dev",
    version = "v1alpha1",
    kind = "Rookery",
    plural = "rookeries",
    shortname = "rk",
    category = "all",
    namespaced,
    status = "RookeryStatus",
    scale(
        spec_replicas_path = ".spec.replicas.min",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    derive = "PartialEq",
    doc = "A Socket.IO service: its servers, their sticky ingress, their autoscaler and supporting objects.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(name = "Pods", type_ = "string", json_path = ".status.ready"),
    printcolumn(name = "Connections", type_ = "integer", json_path = ".status.connections"),
    printcolumn(
        name = "Redis",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"RedisReachable\")].status"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(
    validation = (REDIS_FOR_SEVERAL, REDIS_FOR_SEVERAL_SAYS),
    validation = (ONE_REDIS_URL, ONE_REDIS_URL_SAYS),
    validation = (WIRE_STAYS, WIRE_STAYS_SAYS),
    validation = (SUBSCRIPTION_MODE_STAYS, SUBSCRIPTION_MODE_STAYS_SAYS)
)]
#[serde(rename_all = "camelCase")]
pub struct RookerySpec {
    /// Container image of the servers. Default: the operator's own image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Minimum and maximum number of servers. Default: 2 to 10 with Redis, 1 without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<Replicas>,
    /// Autoscaling by connections.
    #[serde(default)]
    pub autoscaling: Autoscaling,
    /// Ingress for clients. Without it, no Ingress is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Ingress>,
    /// Route of the Gateway API for clients, beside the Ingress or instead of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Gateway>,
    /// The Service for clients. Default: inside the cluster, for the Ingress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ClientService>,
    /// Redis that connects the servers. Without it, a single server keeps its rooms in memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<RedisSource>,
    /// Secrets mounted into the servers, for the files that `config` names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretMount>,
    /// Configuration of the servers: the keys of `rookery serve --config`.
    #[serde(default, skip_serializing_if = "ConfigTree::is_empty")]
    pub config: ConfigTree,
    /// How a terminating server closes its sessions. Overrides `config.drain`.
    #[serde(default)]
    pub drain: DrainSpec,
    /// How servers are replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutSpec>,
    /// How servers with more clients than others give some away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebalance: Option<RebalanceSpec>,
    /// Resource requests and limits of the servers. Default: requests of 100m CPU and 128Mi memory.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "resources::deserialize"
    )]
    pub resources: Option<k8s_openapi::api::core::v1::ResourceRequirements>,
    /// Additional settings of the server pods: a list of fields, each of which is added to what the
    /// operator writes. It is no PodTemplateSpec, and other fields are unknown.
    #[serde(default)]
    pub pod_template: PodTemplate,
    /// Objects for the Prometheus operator, created if its definitions exist.
    #[serde(default)]
    pub monitoring: Monitoring,
    /// NetworkPolicy of the servers.
    #[serde(default)]
    pub network_policy: NetworkPolicySpec,
}

const REDIS_FOR_SEVERAL: &str = "!has(self.replicas) || has(self.redis) || \
    (has(self.config) && has(self.config.redis)) || \
    ((!has(self.replicas.min) || self.replicas.min <= 1) && \
    (!has(self.replicas.max) || self.replicas.max <= 1))";
const REDIS_FOR_SEVERAL_SAYS: &str = "more than one replica needs redis: without it, a room's \
    members in one pod do not hear what is published in another";

const ONE_REDIS_URL: &str = "!has(self.redis) || !has(self.config) || !has(self.config.redis) || \
    !has(self.config.redis.url)";
const ONE_REDIS_URL_SAYS: &str =
    "the URL of Redis is in redis and in config.redis.url: leave one out";

/// Written out, because the API server estimates the cost of `orValue` as unbounded.
const WIRE_STAYS: &str = "\
    (has(self.config) && has(self.config.redis) && has(self.config.redis.wire) ? \
    self.config.redis.wire : 'classic') == \
    (has(oldSelf.config) && has(oldSelf.config.redis) && has(oldSelf.config.redis.wire) ? \
    oldSelf.config.redis.wire : 'classic') && \
    (has(self.config) && has(self.config.redis) && has(self.config.redis.prefix) ? \
    self.config.redis.prefix : 'socket.io') == \
    (has(oldSelf.config) && has(oldSelf.config.redis) && has(oldSelf.config.redis.prefix) ? \
    oldSelf.config.redis.prefix : 'socket.io')";
const WIRE_STAYS_SAYS: &str = "config.redis.wire and config.redis.prefix cannot change: servers of \
    the old and of the new one would not hear each other; create a second Rookery and move over";

/// The classic wire has no modes: one that is written for it is refused, and can be removed again.
const SUBSCRIPTION_MODE_STAYS: &str = "\
    !has(self.config) || !has(self.config.redis) || !has(self.config.redis.wire) || \
    self.config.redis.wire != 'sharded' || \
    (has(self.config) && has(self.config.redis) && has(self.config.redis.subscriptionMode) ? \
    self.config.redis.subscriptionMode : 'dynamic') == \
    (has(oldSelf.config) && has(oldSelf.config.redis) && \
    has(oldSelf.config.redis.subscriptionMode) ? \
    oldSelf.config.redis.subscriptionMode : 'dynamic')";
const SUBSCRIPTION_MODE_STAYS_SAYS: &str = "config.redis.subscriptionMode cannot change: servers \
    of the old and of the new one would not hear each other; create a second Rookery and move over";

/// The CustomResourceDefinition, with a structural schema and the validation rules above.
pub fn definition() -> CustomResourceDefinition {
    let mut definition = Rookery::crd();
    for version in &mut definition.spec.versions {
        if let Some(validation) = &mut version.schema {
            schema::make_structural(validation);
        }
    }
    definition
}

/// A server configuration as the user wrote it: only the keys that are set, so that a newer
/// server's defaults apply to the others. Its schema is that of [`rookery_config::Config`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConfigTree(pub Map<String, Value>);

impl ConfigTree {
    /// Whether no key is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl JsonSchema for ConfigTree {
    fn schema_name() -> Cow<'static, str> {
        "Config".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        rookery_config::Config::json_schema(generator)
    }
}

#[cfg(test)]
mod tests;
