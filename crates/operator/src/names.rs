//! Names that the operator, the objects it makes and the chart have in common.

/// Field manager of everything that the operator applies.
pub const MANAGER: &str = "rookery-operator";

/// Field manager of a Deployment's first `replicas`, and of nothing else: the autoscaler owns
/// the field afterwards, and what [`MANAGER`] applies never holds it.
pub const REPLICAS_MANAGER: &str = "rookery-operator-replicas";

/// The Lease of the operator that reconciles, in the operator's namespace.
pub const LEASE: &str = "rookery-operator";

/// The label by which the operator finds what it made, with [`MANAGER`] as its value.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// The label that holds the resource's name.
pub const INSTANCE: &str = "app.kubernetes.io/instance";

/// The label that says what this is part of: always `rookery`.
pub const NAME: &str = "app.kubernetes.io/name";

/// The label that tells servers (`server`) from the operator (`operator`).
pub const COMPONENT: &str = "app.kubernetes.io/component";

/// Annotation of every object: the hash of what was applied last.
pub const APPLIED: &str = "rookery.dev/applied";

/// Annotation of a Deployment, applied by [`REPLICAS_MANAGER`]: how many it was created with.
pub const INITIAL_REPLICAS: &str = "rookery.dev/initial-replicas";

/// Annotation of a pod template: the hash of the configuration that needs a restart to change.
pub const CONFIG_CHECKSUM: &str = "rookery.dev/config-checksum";

/// Kubernetes's annotation by which a scale-down chooses pods: the lowest goes first.
pub const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The pods metric that autoscalers follow.
pub const CONNECTIONS_METRIC: &str = "rookery_connections";

/// Port name for clients, in pods and Services.
pub const CLIENT_PORT: &str = "client";

/// Port name of the internal listener (HTTP API, metrics, probes), in pods and Services.
pub const INTERNAL_PORT: &str = "internal";

/// Port name of the internal listener in the Service that Prometheus follows.
pub const METRICS_PORT: &str = "metrics";

/// Port of the Service for clients, to which the Ingress routes.
pub const CLIENT_SERVICE_PORT: i32 = 80;

/// Port for clients, where the configuration names no other.
pub const DEFAULT_CLIENT_PORT: u16 = 3000;

/// Port of the internal listener, where the configuration names no other.
pub const DEFAULT_INTERNAL_PORT: u16 = 9090;

/// The Secret with the certificates of the metrics API, in the operator's namespace.
pub const METRICS_SECRET: &str = "rookery-operator-metrics-api";
