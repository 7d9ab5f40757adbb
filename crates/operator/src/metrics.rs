//! The operator's own metrics.

use prometheus::{
    Histogram, HistogramOpts, HistogramTimer, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry,
};

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
            paused: IntGaugeVec::new(
                Opts::new(
                    "rookery_operator_paused",
                    "1 for each Rookery resource whose annotation pauses its reconciliation.",
                ),
                &["resource_namespace", "resource"],
            )?,
        };
        for outcome in ["done", "invalid", "paused", "waiting", "failed"] {
            metrics.reconciles.with_label_values(&[outcome]);
        }
        registry.register(Box::new(metrics.reconciles.clone()))?;
        registry.register(Box::new(metrics.reconcile_seconds.clone()))?;
        registry.register(Box::new(metrics.changes.clone()))?;
        registry.register(Box::new(metrics.status_writes.clone()))?;
        registry.register(Box::new(metrics.leader.clone()))?;
        registry.register(Box::new(metrics.paused.clone()))?;
        Ok(metrics)
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

    /// Starts a timer that observes the duration of a reconciliation when it is dropped.
    pub fn time(&self) -> HistogramTimer {
        self.reconcile_seconds.start_timer()
    }
}
