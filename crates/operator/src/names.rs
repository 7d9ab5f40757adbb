//! Names shared by the operator, the objects it creates and the chart.

use kube::api::ObjectMeta;

/// Field manager of everything that the operator applies.
pub const MANAGER: &str = "rookery-operator";

/// Field manager of a Deployment's `replicas` as the resource asks for them, and of nothing else. The
/// autoscaler owns the field afterwards; what [`MANAGER`] applies never contains it.
pub const REPLICAS_MANAGER: &str = "rookery-operator-replicas";

/// Label with which the operator selects its objects; its value is [`MANAGER`].
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// Label that holds the name of the `Rookery`.
pub const INSTANCE: &str = "app.kubernetes.io/instance";

/// Label that names the application; its value is always `rookery`.
pub const NAME: &str = "app.kubernetes.io/name";

/// Label that distinguishes servers (`server`) from the operator (`operator`).
pub const COMPONENT: &str = "app.kubernetes.io/component";

/// Annotation of every object: hash of the last applied content.
pub const APPLIED: &str = "rookery.dev/applied";

/// Annotation of a Deployment, applied by [`REPLICAS_MANAGER`]: the number of replicas that the
/// resource asked for last.
pub const INITIAL_REPLICAS: &str = "rookery.dev/initial-replicas";

/// Annotation of a Deployment: which Redis its pods are connected by, without the password.
pub const REDIS: &str = "rookery.dev/redis";

/// Annotation of a `Rookery` with the value [`ACCEPTED`]: its pods may be replaced by pods that another
/// Redis connects, though the two do not hear each other meanwhile.
pub const REDIS_CHANGE: &str = "rookery.dev/redis-change";

/// Value of [`REDIS_CHANGE`].
pub const ACCEPTED: &str = "accept";

/// Annotation of a `Rookery` with the value [`PAUSED`]: the operator changes none of its objects.
pub const RECONCILE: &str = "rookery.dev/reconcile";

/// Value of [`RECONCILE`].
pub const PAUSED: &str = "paused";

/// Whether a resource asks to be left as it is.
pub fn is_paused(meta: &ObjectMeta) -> bool {
    let annotation = meta.annotations.as_ref().and_then(|all| all.get(RECONCILE));
    annotation.is_some_and(|value| value == PAUSED)
}

/// Annotation of a pod template: hash of the configuration that takes effect only after a restart.
pub const CONFIG_CHECKSUM: &str = "rookery.dev/config-checksum";

/// Annotation by which Kubernetes chooses pods in a scale-down: the lowest value is removed first.
pub const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Name of the servers' container.
pub const CONTAINER: &str = "rookery";

/// Port name for clients, in pods and Services.
pub const CLIENT_PORT: &str = "client";

/// Port name of the internal listener (HTTP API, metrics, probes), in pods and Services.
pub const INTERNAL_PORT: &str = "internal";

/// Port name of the internal listener in the Service that Prometheus scrapes.
pub const METRICS_PORT: &str = "metrics";

/// Port of the Service for clients, to which the Ingress routes.
pub const CLIENT_SERVICE_PORT: i32 = 80;

/// Default port for clients in the pods.
pub const DEFAULT_CLIENT_PORT: u16 = 3000;

/// Default port of the internal listener in the pods.
pub const DEFAULT_INTERNAL_PORT: u16 = 9090;

/// Suffix of the Service in front of the external scaler, after the name of the operator's Service.
pub const SCALER_SUFFIX: &str = "-scaler";

/// Port of the Service in front of the external scaler.
pub const SCALER_PORT: u16 = 9090;

/// Name of the Secret that holds the certificates of the metrics API, in the operator's namespace.
pub const METRICS_SECRET: &str = "rookery-operator-metrics-api";
