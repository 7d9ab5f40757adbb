//! Objects of the Prometheus operator (`monitoring.coreos.com/v1`).

use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use super::metadata::object_meta;
use super::rules;
use crate::names;
use crate::validate::Validated;

const GROUP: &str = "monitoring.coreos.com";
const VERSION: &str = "v1";

/// The kind of [`service_monitor`].
pub(super) fn service_monitor_kind() -> ApiResource {
    kind("ServiceMonitor", "servicemonitors")
}

/// The kind of [`pod_monitor`].
pub(super) fn pod_monitor_kind() -> ApiResource {
    kind("PodMonitor", "podmonitors")
}

/// The kind of [`prometheus_rule`].
pub(super) fn prometheus_rule_kind() -> ApiResource {
    kind("PrometheusRule", "prometheusrules")
}

/// Scrapes every server until it is gone, through the endpoints of the Service that is made for it:
/// only that has a port of this name.
pub(super) fn service_monitor(v: &Validated) -> Value {
    object(
        v,
        &service_monitor_kind(),
        json!({
            "selector": { "matchLabels": v.selector() },
            "endpoints": [{
                "port": names::METRICS_PORT,
                "path": "/metrics",
                "interval": prometheus_time(v.spec.monitoring.interval.0.as_millis()),
            }],
        }),
    )
}

/// Scrapes every server at its internal port, without a Service.
pub(super) fn pod_monitor(v: &Validated) -> Value {
    object(
        v,
        &pod_monitor_kind(),
        json!({
            "selector": { "matchLabels": v.selector() },
            "podMetricsEndpoints": [{
                "port": names::INTERNAL_PORT,
                "path": "/metrics",
                "interval": prometheus_time(v.spec.monitoring.interval.0.as_millis()),
            }],
        }),
    )
}

/// What is recorded of the servers, and what somebody should look at.
pub(super) fn prometheus_rule(v: &Validated) -> Value {
    object(v, &prometheus_rule_kind(), json!({ "groups": rules::groups(v) }))
}

fn kind(kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, VERSION, kind), plural)
}

fn object(v: &Validated, kind: &ApiResource, spec: Value) -> Value {
    let mut metadata = object_meta(v);
    let labels = metadata.labels.get_or_insert_default();
    let mut all = v.spec.monitoring.labels.clone();
    all.append(labels);
    *labels = all;
    json!({
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": metadata,
        "spec": spec,
    })
}

/// Prometheus knows whole units only.
fn prometheus_time(millis: u128) -> String {
    if millis.is_multiple_of(1000) { format!("{}s", millis / 1000) } else { format!("{millis}ms") }
}
