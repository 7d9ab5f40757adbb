//! What somebody should be woken for, or look at in the morning.

use crate::operator::validate::Validated;

/// A rule of Prometheus.
pub(super) struct Alert {
    /// Its name, the same for every resource.
    pub(super) name: &'static str,
    /// The condition, in PromQL.
    pub(super) expr: String,
    /// For how long it must hold.
    pub(super) lasting: &'static str,
    /// `critical`: clients suffer; `warning`: they will.
    pub(super) severity: &'static str,
    /// What is wrong.
    pub(super) summary: String,
    /// What it means, and where to look.
    pub(super) description: &'static str,
}

/// Every alert of a resource.
pub(super) fn all(v: &Validated) -> Vec<Alert> {
    let (who, pods) = (v.name.as_str(), pods(v));
    let mut alerts = vec![
        absent(who, &pods),
        slow_delivery(who, &pods),
        slow_clients(who, &pods),
        near_limit(who, &pods, v.config.limits.connections),
        config_refused(who, &pods),
    ];
    if v.config.redis.is_some() {
        alerts.push(redis_down(who, &pods));
    }
    alerts
}

/// Selects series of the servers' pods, by the labels that every way to scrape pods gives. A
/// pod's name is the Deployment's, then a hash, then five characters.
fn pods(v: &Validated) -> String {
    let pod = format!("pod=~\"{}-[a-z0-9]+-[a-z0-9]{{5}}\"", v.name);
    match &v.namespace {
        Some(namespace) => format!("namespace=\"{namespace}\",{pod}"),
        None => pod,
    }
}

fn absent(who: &str, pods: &str) -> Alert {
    Alert {
        name: "RookeryAbsent",
        expr: format!("absent(rookery_connections{{{pods}}})"),
        lasting: "5m",
        severity: "critical",
        summary: format!("No server of {who} is scraped"),
        description: "No server runs, or Prometheus does not reach the internal port: look at the \
                      pods, and at networkPolicy.prometheus.",
    }
}

fn slow_delivery(who: &str, pods: &str) -> Alert {
    Alert {
        name: "RookerySlowDelivery",
        expr: format!(
            "histogram_quantile(0.99, sum by (class, hop, le) \
             (rate(rookery_delivery_latency_seconds_bucket{{{pods}}}[5m]))) > 0.5"
        ),
        lasting: "10m",
        severity: "warning",
        summary: format!("Deliveries of {who} are slow: one in a hundred takes over 500 ms"),
        description: "In this class of rooms. With hop remote alone, look at Redis; else at the \
                      servers' CPU, and at autoscaling.connectionsPerPod.",
    }
}

fn slow_clients(who: &str, pods: &str) -> Alert {
    Alert {
        name: "RookerySlowClients",
        expr: format!(
            "sum(rate(rookery_deliveries_total{{{pods},outcome=\"dropped_slow\"}}[5m])) / \
             sum(rate(rookery_deliveries_total{{{pods}}}[5m])) > 0.01"
        ),
        lasting: "10m",
        severity: "warning",
        summary: format!("More than 1 % of the deliveries of {who} are dropped"),
        description: "Clients that read too slowly are closed with what waited for them. Many at \
                      once: too much is sent to them, or limits.queue is too small for it.",
    }
}

fn near_limit(who: &str, pods: &str, limit: u32) -> Alert {
    Alert {
        name: "RookeryConnectionsNearLimit",
        expr: format!("max(sum by (pod) (rookery_connections{{{pods}}})) > 0.9 * {limit}"),
        lasting: "5m",
        severity: "warning",
        summary: format!("A server of {who} has over 90 % of the connections that it takes"),
        description: "Beyond limits.connections clients are refused: raise replicas.max, or see \
                      why the autoscaler adds no server.",
    }
}

fn config_refused(who: &str, pods: &str) -> Alert {
    Alert {
        name: "RookeryConfigRefused",
        expr: format!(
            "increase(rookery_config_reloads_total{{{pods},outcome=\"refused\"}}[15m]) > 0"
        ),
        lasting: "0m",
        severity: "warning",
        summary: format!("A server of {who} refused a changed configuration"),
        description: "It goes on with the one before. Its log says what is wrong.",
    }
}

fn redis_down(who: &str, pods: &str) -> Alert {
    Alert {
        name: "RookeryRedisDown",
        expr: format!("min(rookery_redis_up{{{pods}}}) == 0"),
        lasting: "1m",
        severity: "critical",
        summary: format!("A server of {who} has no connection to Redis"),
        description: "What is published on it reaches its own clients only, or is refused where \
                      redis.whenDown is refuse.",
    }
}
