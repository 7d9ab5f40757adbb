//! The operator's own metrics.

use prometheus::{
    Histogram, HistogramOpts, HistogramTimer, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry,
};

/// Why an autoscaler gets no metrics: the label `reason` of `rookery_operator_without_metrics`, and
/// the reason of the condition `Degraded`.
pub const WITHOUT_METRICS: [&str; 5] = [
    "MetricsDisabled",
    "MetricsElsewhere",
    "MetricsUnreachable",
    "KedaMissing",
    "KedaScalerDisabled",
];

/// Metrics of the operator's own work. Cloning is shallow.
#[derive(Clone, Debug)]
pub struct OperatorMetrics {
    /// Reconciliations by outcome: `done`, `invalid`, `paused`, `failed`.
    pub reconciles: IntCounterVec,
    /// Duration of reconciliations, in seconds.
    pub reconcile_seconds: Histogram,
    /// Objects that the operator created, changed or deleted.
    pub changes: IntCounter,
    /// Status writes of `Rookery` resources.
    pub status_writes: IntCounter,
    /// 1 while this process leads.
    pub leader: IntGauge,
    /// 1 for each resource that is paused.
    pub paused: IntGaugeVec,
    /// 1 for each resource whose autoscaler gets no metrics, by the reason of its condition.
    pub without_metrics: IntGaugeVec,
}

impl OperatorMetrics {
    /// Creates the metrics and registers them.
    ///
    /// # Errors
    /// If a metric of the same name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = OperatorMetrics {
            reconciles: IntCounterVec::new(
                Opts::new(
                    "rookery_operator_reconciles_total",
                    "Reconciliations of Rookery resources, by outcome.",
                ),
                &["outcome"],
            )?,
            reconcile_seconds: Histogram::with_opts(
                HistogramOpts::new(
                    "rookery_operator_reconcile_seconds",
                    "Duration of reconciliations, in seconds.",
                )
                .buckets(vec![0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0]),
            )?,
            changes: IntCounter::new(
                "rookery_operator_changes_total",
                "Objects that the operator created, changed or deleted.",
            )?,
            status_writes: IntCounter::new(
                "rookery_operator_status_writes_total",
                "Status writes of Rookery resources.",
            )?,
            leader: IntGauge::new(
                "rookery_operator_leader",
                "1 while this process is the leader, 0 otherwise.",
            )?,
            paused: gauges(
                "rookery_operator_paused",
                "1 for each Rookery resource whose annotation pauses its reconciliation.",
                &["resource_namespace", "resource"],
            )?,
            without_metrics: gauges(
                "rookery_operator_without_metrics",
                "1 for each Rookery resource whose autoscaler gets no metrics, by reason.",
                &["resource_namespace", "resource", "reason"],
            )?,
        };
        for outcome in ["done", "invalid", "paused", "waiting", "failed"] {
            metrics.reconciles.with_label_values(&[outcome]);
        }
        metrics.register_in(registry)?;
        Ok(metrics)
    }

    fn register_in(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.reconciles.clone()))?;
        registry.register(Box::new(self.reconcile_seconds.clone()))?;
        registry.register(Box::new(self.changes.clone()))?;
        registry.register(Box::new(self.status_writes.clone()))?;
        registry.register(Box::new(self.leader.clone()))?;
        registry.register(Box::new(self.paused.clone()))?;
        registry.register(Box::new(self.without_metrics.clone()))
    }

    /// Records whether a resource is paused.
    pub fn set_paused(&self, namespace: &str, name: &str, paused: bool) {
        let labels = [namespace, name];
        match paused {
            true => self.paused.with_label_values(&labels).set(1),
            // An error says that it was not paused before.
            false => drop(self.paused.remove_label_values(&labels)),
        }
    }

    /// Records why the autoscaler of a resource gets no metrics; `None` if it gets them. `reason` is
    /// one of [`WITHOUT_METRICS`].
    pub fn set_without_metrics(&self, namespace: &str, name: &str, reason: Option<&'static str>) {
        for known in WITHOUT_METRICS {
            let labels = [namespace, name, known];
            match reason == Some(known) {
                true => self.without_metrics.with_label_values(&labels).set(1),
                // An error says that it was not so before.
                false => drop(self.without_metrics.remove_label_values(&labels)),
            }
        }
    }

    /// Forgets what is known about a resource: it is deleted.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.set_paused(namespace, name, false);
        self.set_without_metrics(namespace, name, None);
    }

    /// Forgets what is known about every resource: another process leads.
    pub fn forget_all(&self) {
        self.paused.reset();
        self.without_metrics.reset();
    }

    /// Starts a timer that observes the duration of a reconciliation when it is dropped.
    pub fn time(&self) -> HistogramTimer {
        self.reconcile_seconds.start_timer()
    }
}

fn gauges(name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
    IntGaugeVec::new(Opts::new(name, help), labels)
}
