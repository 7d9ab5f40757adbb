//! Validates a `Rookery` and resolves its defaults. Pure: needs neither a cluster nor files.

mod effective;
mod pods;
mod problem;
mod redis;
mod resources;
mod restricted;
mod rights;
mod rollout;
mod rules;
mod service;
mod syntax;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource as _, ResourceExt as _};

pub(super) use effective::{
    CONFIG_DIR, REDIS_CA_DIR, REDIS_CA_FILE, REDIS_PASSWORD_DIR, REDIS_PASSWORD_FILE,
};
use problem::Problems;
pub use problem::{Invalid, Problem};
pub use rights::Rights;
pub use rollout::Rollout;

use super::crd::{MetricsSource, Rookery, RookerySpec, SecretKey};
use super::names;
use rookery_config::Config;

/// The servers' image where nobody names one: this version's, from wherever the cluster's nodes
/// have it.
pub const DEFAULT_IMAGE: &str = concat!("rookery:", env!("CARGO_PKG_VERSION"));

/// Defaults for fields that a resource leaves out.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    /// Server image of a resource that does not set one.
    pub image: String,
    /// Where the operator runs: its pods may reach the servers' internal port. `None` where
    /// there is no operator.
    pub operator_namespace: Option<String>,
    /// What resources may ask for.
    pub rights: Rights,
    /// Address of the operator's external scaler, `host:port`, for KEDA. `None` where it is not
    /// served.
    pub scaler_address: Option<String>,
}

/// A valid resource, with all defaults filled in.
#[derive(Clone)]
pub struct Validated {
    /// The resource's name: the stem of every object's.
    pub name: String,
    /// Its namespace; `None` only where a file names none, for kubectl to choose.
    pub namespace: Option<String>,
    /// The resource as the owner of what is made; `None` where it is in no cluster.
    pub owner: Option<OwnerReference>,
    /// The servers' image.
    pub image: String,
    /// Minimum number of servers.
    pub min_replicas: i32,
    /// Maximum number of servers.
    pub max_replicas: i32,
    /// How long a terminating server keeps working normally.
    pub lead: Duration,
    /// Period over which it then closes its sessions.
    pub window: Duration,
    /// How servers are replaced.
    pub rollout: Rollout,
    /// The port for clients, in the pods.
    pub client_port: u16,
    /// The port of the internal listener, in the pods.
    pub internal_port: u16,
    /// The cookie by which the ingress keeps a client at one server; `None` where it does not.
    pub sticky_cookie: Option<String>,
    /// The configuration that the servers mount: YAML.
    pub config_text: String,
    /// The same without what is applied while they run: a change of this needs a restart.
    pub restart_text: String,
    /// The configuration as a server understands it; `redis.url` is not the real one where a
    /// Secret holds that.
    pub config: Config,
    /// The key of the Secret that holds the URL of Redis.
    pub redis_secret: Option<SecretKey>,
    /// Where the operator runs.
    pub operator_namespace: Option<String>,
    /// Address of the operator's external scaler, for KEDA.
    pub scaler_address: Option<String>,
    /// Warnings about valid but probably unintended settings, one sentence each.
    pub warnings: Vec<String>,
    /// The spec as written, for fields that are passed on unchanged.
    pub spec: RookerySpec,
}

/// Reads a resource.
///
/// # Errors
/// All problems of the resource, including those that the cluster's validation rules reject,
/// because a file has not passed them.
pub fn validate(resource: &Rookery, defaults: &Defaults) -> Result<Validated, Invalid> {
    let spec = &resource.spec;
    let mut problems = Problems::default();
    let name = resource.name_any();
    rules::check_name(&name, &mut problems);
    rules::check_spec(spec, &mut problems);
    syntax::check(spec, &mut problems);
    restricted::check(&spec.pod_template, &mut problems);
    rights::check(spec, &defaults.rights, &mut problems);
    rollout::check(spec, &mut problems);
    let (min_replicas, max_replicas) = rules::replicas(spec);
    let Some(effective) = effective::read(spec, max_replicas, &mut problems) else {
        return Err(Invalid(problems.0));
    };
    rules::check_against(spec, &effective.config, &mut problems);
    if !problems.0.is_empty() {
        return Err(Invalid(problems.0));
    }
    let config = effective.config;
    Ok(Validated {
        name,
        namespace: resource.namespace(),
        owner: owner(resource),
        image: spec.image.clone().unwrap_or_else(|| defaults.image.clone()),
        min_replicas,
        max_replicas,
        lead: config.drain.lead.0,
        window: config.drain.window.0,
        rollout: Rollout::of(spec, &config, max_replicas),
        client_port: config.listen.port(),
        internal_port: config.internal.port(),
        sticky_cookie: config.drain.sticky_cookie.clone().filter(|_| effective::is_sticky(spec)),
        config_text: effective.text,
        restart_text: effective.restart_text,
        warnings: [
            rules::warnings(spec, &config, max_replicas),
            rollout::warning(&config.drain).into_iter().collect(),
            without_scaler(spec, defaults),
        ]
        .concat(),
        config,
        redis_secret: spec.redis.as_ref().and_then(|redis| redis.url_secret.clone()),
        operator_namespace: defaults.operator_namespace.clone(),
        scaler_address: defaults.scaler_address.clone(),
        spec: spec.clone(),
    })
}

/// A warning where there is no operator, whose scaler KEDA would ask. Where there is one, the
/// condition `Degraded` says it.
fn without_scaler(spec: &RookerySpec, defaults: &Defaults) -> Vec<String> {
    let autoscaling = &spec.autoscaling;
    let is_keda = autoscaling.enabled && autoscaling.metrics == MetricsSource::Keda;
    let text = "`autoscaling.metrics: keda` needs the operator, whose external scaler KEDA asks: \
                without it there is no autoscaler; write a ScaledObject of your own and \
                `autoscaling.enabled: false`";
    let is_missing = is_keda && defaults.operator_namespace.is_none();
    is_missing.then(|| text.to_owned()).into_iter().collect()
}

impl Validated {
    /// Labels of everything that is made.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.selector();
        labels.insert(names::MANAGED_BY.to_owned(), names::MANAGER.to_owned());
        labels
    }

    /// The labels that select the servers' pods, and no others.
    pub fn selector(&self) -> BTreeMap<String, String> {
        [(names::NAME, "rookery"), (names::INSTANCE, &self.name), (names::COMPONENT, "server")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }

    /// How long a server takes to hand over its clients: lead and window, in whole seconds,
    /// rounded up.
    pub fn drain_seconds(&self) -> u32 {
        whole_seconds(self.lead + self.window)
    }

    /// The longest that a server may take to stop, in whole seconds, rounded up: the lead, the wait
    /// for its turn with another lead, and the longest window.
    pub fn longest_drain_seconds(&self) -> u32 {
        let drain = &self.config.drain;
        let wait = if drain.patience.0.is_zero() {
            Duration::ZERO
        } else {
            drain.patience.0 + drain.lead.0
        };
        whole_seconds(self.lead + wait + drain.longest_window())
    }

    /// Port of the Service for clients.
    pub fn client_service_port(&self) -> i32 {
        let asked = self.spec.service.as_ref().and_then(|service| service.port);
        asked.map_or(names::CLIENT_SERVICE_PORT, i32::from)
    }

    /// Name of the Service in front of the internal listeners.
    pub fn internal_service(&self) -> String {
        format!("{}{}", self.name, rules::LONGEST_SUFFIX)
    }
}

impl fmt::Debug for Validated {
    /// Its name alone: the rest may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Validated").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A time in whole seconds, rounded up.
pub(super) fn whole_seconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis().div_ceil(1000)).unwrap_or(u32::MAX)
}

/// Deleting the resource deletes what it owns, which goes first where that is waited for
/// (Kubernetes documentation, "Garbage Collection", section "Foreground cascading deletion").
fn owner(resource: &Rookery) -> Option<OwnerReference> {
    let owner = resource.controller_owner_ref(&())?;
    Some(OwnerReference { block_owner_deletion: Some(true), ..owner })
}

#[cfg(test)]
mod tests;
