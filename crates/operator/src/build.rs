//! Builds the objects of a `Rookery`. Pure: the same resource gives the same bytes.

mod autoscaler;
mod config_map;
mod deployment;
mod disruption_budget;
mod ingress;
mod metadata;
mod monitoring;
mod network_policy;
mod pod_template;
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

/// Optional kinds that the cluster has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Whether `ServiceMonitor` of `monitoring.coreos.com/v1` is known.
    pub service_monitor: bool,
    /// Whether `PrometheusRule` of `monitoring.coreos.com/v1` is known.
    pub prometheus_rule: bool,
    /// Whether `ScaledObject` of `keda.sh/v1alpha1` is known.
    pub scaled_object: bool,
}

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
    objects.push(object(deployment::build(v)));
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
    if capabilities.service_monitor && v.spec.monitoring.service_monitor {
        objects.push(object(services::metrics(v)));
        objects.push(object(monitoring::service_monitor(v)));
    }
    if capabilities.prometheus_rule && v.spec.monitoring.prometheus_rule {
        objects.push(object(monitoring::prometheus_rule(v)));
    }
    objects
}

/// Every kind that [`build`] may create. These are watched, and pruned once they are no longer
/// desired. The last three exist only where the Prometheus operator and KEDA are installed.
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
        monitoring::service_monitor_kind(),
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
