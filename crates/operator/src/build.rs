//! Builds the objects of a `Rookery`. Pure: the same resource gives the same bytes.

mod autoscaler;
mod config_map;
mod deployment;
mod disruption_budget;
mod gateway;
mod ingress;
mod metadata;
mod monitoring;
mod network_policy;
mod pod_template;
pub(crate) mod redis_place;
mod rules;
mod scaled_object;
mod service_account;
mod services;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::{ApiResource, DynamicObject};
use serde::Serialize;

use super::crd::MetricsSource;
use super::names;
use super::validate::Validated;
use rookery_config::Transport;

/// Optional kinds that the cluster has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Whether `ServiceMonitor` of `monitoring.coreos.com/v1` is known.
    pub service_monitor: bool,
    /// Whether `PodMonitor` of `monitoring.coreos.com/v1` is known.
    pub pod_monitor: bool,
    /// Whether `PrometheusRule` of `monitoring.coreos.com/v1` is known.
    pub prometheus_rule: bool,
    /// Whether `ScaledObject` of `keda.sh/v1alpha1` is known.
    pub scaled_object: bool,
    /// Whether `HTTPRoute` of `gateway.networking.k8s.io/v1` is known.
    pub http_route: bool,
    /// Whether an `HTTPRoute` has `sessionPersistence`.
    pub session_persistence: bool,
}

impl Capabilities {
    /// Whether the cluster has this kind, if it is one of the optional ones.
    pub fn has(&self, kind: &str) -> bool {
        match kind {
            "ServiceMonitor" => self.service_monitor,
            "PodMonitor" => self.pod_monitor,
            "PrometheusRule" => self.prometheus_rule,
            "ScaledObject" => self.scaled_object,
            "HTTPRoute" => self.http_route,
            _ => true,
        }
    }
}

/// The API group of the HTTPRoute.
pub const GATEWAY_GROUP: &str = gateway::GROUP;

/// The objects that the resource needs and the cluster supports, in the order in which they are
/// applied. The Deployment has no `replicas`: see [`names::REPLICAS_MANAGER`].
pub fn build(v: &Validated, capabilities: &Capabilities) -> Vec<DynamicObject> {
    let mut objects = vec![
        object(service_account::build(v)),
        object(config_map::build(v)),
        object(services::clients(v)),
        object(services::internal(v)),
    ];
    objects.extend(network_policy::build(v).map(object));
    objects.push(object(disruption_budget::build(v)));
    let mut deployment = deployment::build(v);
    if has_monitor(v, capabilities) {
        pod_template::remove_scrape_annotations(&mut deployment);
    }
    objects.push(object(deployment));
    let autoscaling = &v.spec.autoscaling;
    match autoscaling.metrics {
        _ if !autoscaling.enabled => {}
        MetricsSource::Keda if capabilities.scaled_object => {
            objects.extend(scaled_object::build(v).map(object));
        }
        MetricsSource::Keda => {}
        MetricsSource::Builtin | MetricsSource::External => {
            objects.push(object(autoscaler::build(v)));
        }
    }
    objects.extend(ingress::build(v).map(object));
    if let Some(route) = v.spec.gateway.as_ref().filter(|_| capabilities.http_route) {
        objects.push(object(gateway::http_route(v, route, capabilities.session_persistence)));
    }
    if wants_pod_monitor(v, capabilities) {
        objects.push(object(monitoring::pod_monitor(v)));
    } else if has_monitor(v, capabilities) {
        objects.push(object(services::metrics(v)));
        objects.push(object(monitoring::service_monitor(v)));
    }
    if capabilities.prometheus_rule && v.spec.monitoring.prometheus_rule {
        objects.push(object(monitoring::prometheus_rule(v)));
    }
    objects
}

/// What the resource asks for and the cluster cannot give, one sentence each.
pub fn warnings(v: &Validated, capabilities: &Capabilities) -> Vec<String> {
    let mut found = Vec::new();
    let polling = v.config.socketio.transports.contains(&Transport::Polling);
    if let Some(gateway) = &v.spec.gateway {
        if !capabilities.http_route {
            found.push(
                "`gateway`: the cluster has no HTTPRoute (httproutes.gateway.networking.k8s.io, \
                 version v1) that the operator may read, so there is no route; install the Gateway \
                 API and the operator's ClusterRole of this version, or leave `gateway` out"
                    .to_owned(),
            );
        } else if gateway.sticky
            && !capabilities.session_persistence
            && polling
            && v.max_replicas > 1
        {
            found.push(
                "`gateway.sticky`: the cluster's HTTPRoute has no `sessionPersistence`, which is \
                 in the experimental channel of the Gateway API; install that, or leave only \
                 `websocket` in `config.socketio.transports`"
                    .to_owned(),
            );
        }
    }
    if v.spec.monitoring.pod_monitor && !capabilities.pod_monitor {
        found.push(
            "`monitoring.podMonitor`: the cluster has no PodMonitor \
             (podmonitors.monitoring.coreos.com, version v1) that the operator may read; install the \
             Prometheus operator, or leave it out"
                .to_owned(),
        );
    }
    found
}

fn wants_pod_monitor(v: &Validated, capabilities: &Capabilities) -> bool {
    v.spec.monitoring.pod_monitor && capabilities.pod_monitor
}

/// Whether the Prometheus operator is told of the pods, so that no annotation has to.
fn has_monitor(v: &Validated, capabilities: &Capabilities) -> bool {
    let monitoring = &v.spec.monitoring;
    let service_monitor =
        monitoring.service_monitor && !monitoring.pod_monitor && capabilities.service_monitor;
    wants_pod_monitor(v, capabilities) || service_monitor
}

/// Every kind that [`build`] may create. These are watched, and pruned once they are no longer
/// desired. Of the last five, a cluster has those that [`Capabilities::has`].
pub fn kinds() -> Vec<ApiResource> {
    vec![
        ApiResource::erase::<ServiceAccount>(&()),
        ApiResource::erase::<ConfigMap>(&()),
        ApiResource::erase::<Service>(&()),
        ApiResource::erase::<NetworkPolicy>(&()),
        ApiResource::erase::<PodDisruptionBudget>(&()),
        ApiResource::erase::<Deployment>(&()),
        ApiResource::erase::<HorizontalPodAutoscaler>(&()),
        ApiResource::erase::<Ingress>(&()),
        gateway::http_route_kind(),
        monitoring::service_monitor_kind(),
        monitoring::pod_monitor_kind(),
        monitoring::prometheus_rule_kind(),
        scaled_object::kind(),
    ]
}

/// The kinds of autoscalers, of which a Deployment may have one: the one that is no longer desired
/// is deleted before the other is applied.
pub const AUTOSCALERS: [&str; 2] = ["HorizontalPodAutoscaler", "ScaledObject"];

/// The object to apply, annotated with the hash of its content.
fn object(built: impl Serialize) -> DynamicObject {
    let value = serde_json::to_value(built).expect("built objects are plain data");
    let hash = metadata::hash(&value.to_string());
    let mut object: DynamicObject =
        serde_json::from_value(value).expect("built objects have a kind and metadata");
    let annotations = object.metadata.annotations.get_or_insert_default();
    annotations.insert(names::APPLIED.to_owned(), hash);
    object
}

#[cfg(test)]
mod tests;
