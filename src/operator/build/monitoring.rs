//! Objects of the Prometheus operator (`monitoring.coreos.com/v1`).

use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use super::metadata;
use crate::operator::names;
use crate::operator::validate::Validated;

const GROUP: &str = "monitoring.coreos.com";
const VERSION: &str = "v1";

/// The kind of [`service_monitor`].
pub(super) fn service_monitor_kind() -> ApiResource {
    kind("ServiceMonitor", "servicemonitors")
}

/// The kind of [`prometheus_rule`].
pub(super) fn prometheus_rule_kind() -> ApiResource {
    kind("PrometheusRule", "prometheusrules")
}

/// Scrapes every server, through the endpoints of the internal Service: only that has a port of
/// this name.
pub(super) fn service_monitor(v: &Validated) -> Value {
    object(
        v,
        &service_monitor_kind(),
        json!({
            "selector": { "matchLabels": v.selector() },
            "endpoints": [{
                "port": names::INTERNAL_PORT,
                "path": "/metrics",
                "interval": prometheus_time(v.spec.monitoring.interval.0.as_millis()),
            }],
        }),
    )
}

/// What somebody should look at.
pub(super) fn prometheus_rule(v: &Validated) -> Value {
    let rules: Vec<Value> = alerts(v)
        .into_iter()
        .map(|alert| {
            json!({
                "alert": alert.name,
                "expr": alert.expr,
                "for": alert.lasting,
                "labels": { "severity": alert.severity },
                "annotations": { "summary": alert.summary, "description": alert.description },
            })
        })
        .collect();
    let groups = json!([{ "name": format!("rookery-{}", v.name), "rules": rules }]);
    object(v, &prometheus_rule_kind(), json!({ "groups": groups }))
}

fn kind(kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, VERSION, kind), plural)
}

fn object(v: &Validated, kind: &ApiResource, spec: Value) -> Value {
    let mut metadata = metadata(v);
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

struct Alert {
    name: &'static str,
    expr: String,
    lasting: &'static str,
    severity: &'static str,
    summary: String,
    description: &'static str,
}

fn alerts(v: &Validated) -> Vec<Alert> {
    let who = &v.name;
    let pods = pods(v);
    let limit = v.config.limits.connections;
    let mut alerts = vec![
        Alert {
            name: "RookeryAbsent",
            expr: format!("absent(rookery_connections{{{pods}}})"),
            lasting: "5m",
            severity: "critical",
            summary: format!("No server of {who} is scraped"),
            description: "No server runs, or Prometheus does not reach the internal port: look at \
                          the pods, and at networkPolicy.prometheus.",
        },
        Alert {
            name: "RookerySlowDelivery",
            expr: format!(
                "histogram_quantile(0.99, sum by (class, hop, le) \
                 (rate(rookery_delivery_latency_seconds_bucket{{{pods}}}[5m]))) > 0.5"
            ),
            lasting: "10m",
            severity: "warning",
            summary: format!("Deliveries of {who} are slow: one in a hundred takes over 500 ms"),
            description: "Of this class of rooms. With hop remote alone, look at Redis; else at \
                          the servers' CPU, and at autoscaling.connectionsPerPod.",
        },
        Alert {
            name: "RookerySlowClients",
            expr: format!(
                "sum(rate(rookery_deliveries_total{{{pods},outcome=\"dropped_slow\"}}[5m])) / \
                 sum(rate(rookery_deliveries_total{{{pods}}}[5m])) > 0.01"
            ),
            lasting: "10m",
            severity: "warning",
            summary: format!("More than 1 % of the deliveries of {who} are dropped"),
            description: "Clients that read too slowly are closed with what waited for them. Many \
                          at once: too much is sent to them, or limits.queue is too small for it.",
        },
        Alert {
            name: "RookeryConnectionsNearLimit",
            expr: format!("max(sum by (pod) (rookery_connections{{{pods}}})) > 0.9 * {limit}"),
            lasting: "5m",
            severity: "warning",
            summary: format!("A server of {who} has over 90 % of the connections that it takes"),
            description: "Beyond limits.connections clients are refused: raise replicas.max, or \
                          see why the autoscaler adds no server.",
        },
        Alert {
            name: "RookeryConfigRefused",
            expr: format!(
                "increase(rookery_config_reloads_total{{{pods},outcome=\"refused\"}}[15m]) > 0"
            ),
            lasting: "0m",
            severity: "warning",
            summary: format!("A server of {who} refused a changed configuration"),
            description: "It goes on with the one before. Its log says what is wrong.",
        },
    ];
    if v.config.redis.is_some() {
        alerts.push(Alert {
            name: "RookeryRedisDown",
            expr: format!("min(rookery_redis_up{{{pods}}}) == 0"),
            lasting: "1m",
            severity: "critical",
            summary: format!("A server of {who} has no connection to Redis"),
            description: "What is published on it reaches its own clients only.",
        });
    }
    alerts
}

/// The servers' pods by their names, which every way to scrape pods gives as the label `pod`.
fn pods(v: &Validated) -> String {
    let pod = format!("pod=~\"{}-[a-z0-9]+-[a-z0-9]{{5}}\"", v.name);
    match &v.namespace {
        Some(namespace) => format!("namespace=\"{namespace}\",{pod}"),
        None => pod,
    }
}
