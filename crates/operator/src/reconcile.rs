//! Reconciles one resource: observe, validate, build, apply, update the status.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::api::ObjectMeta;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource as _, ResourceExt as _};
use parking_lot::Mutex;
use rookery_ops::escape;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::apply::{Applied, ApplyError, apply};
use super::build::{Capabilities, build};
use super::crd::{MetricsSource, Rookery, RookerySpec};
use super::custom_metrics::Serving;
use super::metrics::OperatorMetrics;
use super::observe::OwnedObjects;
use super::pods::Pods;
use super::status::{self, Degradation, StatusInputs};
use super::validator::Validator;

/// A resource as the watch delivered it. One that does not match its schema is kept as an error, so
/// that it does not stop the watch from delivering the others.
pub type GuardedRookery = DeserializeGuard<Rookery>;

/// Deadline of one reconciliation.
const DEADLINE: Duration = Duration::from_secs(60);

/// Interval after which an unchanged resource is reconciled again.
const RESYNC_INTERVAL: Duration = Duration::from_secs(600);

/// Delay before the first retry; it doubles with each consecutive failure.
const MIN_BACKOFF: Duration = Duration::from_millis(500);

/// Maximum delay before a retry.
const MAX_BACKOFF: Duration = Duration::from_secs(120);

/// What reconciliations need. Shared by all resources of a scope.
pub struct Context {
    /// Client of the cluster.
    pub client: Client,
    /// Cache of the objects that the operator created.
    pub owned: OwnedObjects,
    /// Connection counts of the server pods.
    pub pods: Pods,
    /// The server behind custom.metrics.k8s.io.
    pub serving: watch::Receiver<Serving>,
    /// The optional kinds that the cluster has.
    pub capabilities: Capabilities,
    /// Validates the resources.
    pub validator: Validator,
    /// The reporter named in events about the resource.
    pub reporter: Reporter,
    /// Metrics of the reconciliations.
    pub metrics: OperatorMetrics,
    /// Cancelled when this process stops leading.
    pub stop: CancellationToken,
    /// Consecutive failures per resource.
    pub failures: FailureCounts,
}

/// Why a reconciliation failed. Every failure is retried.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// An object could not be applied.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The reconciliation exceeded its deadline of one minute.
    #[error("timed out after a minute: the cluster is slow or does not answer")]
    Deadline,
    /// The status could not be written.
    #[error("cannot write the status: {0}")]
    Status(kube::Error),
}

/// Makes the cluster match `resource`, and reports the result in its status.
///
/// # Errors
/// If the cluster does not answer, or refuses an object.
pub async fn reconcile(
    resource: Arc<GuardedRookery>,
    context: Arc<Context>,
) -> Result<Action, ReconcileError> {
    match tokio::time::timeout(DEADLINE, reconcile_resource(&resource, &context)).await {
        Ok(done) => done,
        Err(_) => {
            context.metrics.reconciles.with_label_values(&["failed"]).inc();
            Err(ReconcileError::Deadline)
        }
    }
}

async fn reconcile_resource(
    resource: &GuardedRookery,
    context: &Context,
) -> Result<Action, ReconcileError> {
    let _timer = context.metrics.time();
    if resource.meta().deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let listed = context.stop.run_until_cancelled(context.owned.ready()).await;
    if !matches!(listed, Some(Ok(()))) {
        // This process no longer leads.
        return Ok(Action::await_change());
    }
    let (outcome, result) = match &resource.0 {
        Err(unreadable) => {
            let rookery = &metadata_only(resource.meta());
            let message = format!("the resource does not match its schema: {}", unreadable.error);
            let degradation = Degradation { reason: "Invalid", message };
            let reconciliation = Reconciliation { rookery, context };
            (
                "invalid",
                reconciliation
                    .update_status(&Applied::default(), Some(degradation), None, &[])
                    .await,
            )
        }
        Ok(rookery) => Reconciliation { rookery, context }.run().await,
    };
    context.metrics.reconciles.with_label_values(&[outcome]).inc();
    result?;
    context.failures.forget(resource);
    Ok(Action::requeue(RESYNC_INTERVAL))
}

/// Schedules the retry of a resource whose reconciliation failed.
pub fn error_policy(
    resource: Arc<GuardedRookery>,
    error: &ReconcileError,
    context: Arc<Context>,
) -> Action {
    let wait = context.failures.next_backoff(&resource);
    warn!(
        namespace = resource.namespace(),
        name = resource.name_any(),
        %error,
        retry_in = ?wait,
        "reconciliation failed"
    );
    Action::requeue(wait)
}

/// Consecutive failures by resource uid, for exponential backoff.
#[derive(Debug, Default)]
pub struct FailureCounts(Mutex<HashMap<String, u32>>);

impl FailureCounts {
    /// Maximum number of resources that are tracked. Beyond it, all counts are reset.
    const MAX: usize = 10_000;

    fn next_backoff(&self, resource: &GuardedRookery) -> Duration {
        let mut failures = self.0.lock();
        if failures.len() >= Self::MAX {
            failures.clear();
        }
        let count = failures.entry(key(resource)).or_default();
        *count = count.saturating_add(1);
        MIN_BACKOFF.saturating_mul(2_u32.saturating_pow(*count - 1)).min(MAX_BACKOFF)
    }

    fn forget(&self, resource: &GuardedRookery) {
        self.0.lock().remove(&key(resource));
    }
}

fn key(resource: &GuardedRookery) -> String {
    resource.uid().unwrap_or_default()
}

/// A resource with `meta` and an empty spec, for the status of one that cannot be parsed.
fn metadata_only(meta: &ObjectMeta) -> Rookery {
    let mut rookery = Rookery::new("", RookerySpec::default());
    rookery.metadata = meta.clone();
    rookery
}

struct Reconciliation<'a> {
    rookery: &'a Rookery,
    context: &'a Context,
}

impl Reconciliation<'_> {
    /// Returns the `outcome` label for the counter, and the result.
    async fn run(&self) -> (&'static str, Result<(), ReconcileError>) {
        let context = self.context;
        let validated = match context.validator.validate(self.rookery).await {
            Ok(validated) => validated,
            Err(invalid) => {
                let degradation = Degradation { reason: "Invalid", message: invalid.to_string() };
                let written =
                    self.update_status(&Applied::default(), Some(degradation), None, &[]).await;
                return ("invalid", written);
            }
        };
        let redis = Some(validated.config.redis.is_some());
        let objects = build(&validated, &context.capabilities);
        let uid = self.rookery.uid().unwrap_or_default();
        let done =
            apply(&context.client, &context.owned, &objects, &uid, validated.min_replicas).await;
        match done {
            Ok(applied) => {
                self.report_changes(&applied).await;
                let written = self
                    .update_status(
                        &applied,
                        self.autoscaling_degraded(),
                        redis,
                        &validated.warnings,
                    )
                    .await;
                (if written.is_ok() { "done" } else { "failed" }, written)
            }
            Err(error) => {
                // While the cluster does not answer, its state is unknown: leave the status as it
                // is.
                if let Some(degradation) = degraded_by(&error)
                    && let Err(error) =
                        self.update_status(&Applied::default(), Some(degradation), redis, &[]).await
                {
                    warn!(%error, "cannot write the status after a failed apply");
                }
                ("failed", Err(error.into()))
            }
        }
    }

    /// Reports autoscaling that gets no metrics from this operator.
    fn autoscaling_degraded(&self) -> Option<Degradation> {
        let autoscaling = &self.rookery.spec.autoscaling;
        if !autoscaling.enabled || autoscaling.metrics != MetricsSource::Builtin {
            return None;
        }
        match &*self.context.serving.borrow() {
            Serving::Foreign { service } => Some(Degradation {
                reason: "MetricsElsewhere",
                message: format!(
                    "custom.metrics.k8s.io is served by {service}, so this operator does not serve \
                     it and nothing scales by connections: provide the metric \
                     rookery_connections from that server and set autoscaling.metrics: external, \
                     or remove that server"
                ),
            }),
            Serving::Unreachable { message } => Some(Degradation {
                reason: "MetricsUnreachable",
                message: format!(
                    "the API server cannot reach the operator's metrics API, so nothing scales \
                     by connections: {message}"
                ),
            }),
            Serving::Ours | Serving::Off { .. } => None,
        }
    }

    async fn update_status(
        &self,
        applied: &Applied,
        degradation: Option<Degradation>,
        redis: Option<bool>,
        warnings: &[String],
    ) -> Result<(), ReconcileError> {
        let context = self.context;
        let name = self.rookery.name_any();
        let namespace = self.rookery.namespace().unwrap_or_default();
        let before = self.rookery.status.as_ref();
        let there = context.owned.get("Deployment", &namespace, &name);
        let status = status::compute(&StatusInputs {
            generation: self.rookery.metadata.generation,
            before,
            deployment: applied.get("Deployment").or(there.as_deref()),
            pods: &context.pods.of(&namespace, &name),
            redis,
            warnings,
            degradation: degradation.clone(),
            now: Timestamp::now(),
        });
        let written = status::write(&context.client, &namespace, &name, before, &status).await;
        if written.map_err(ReconcileError::Status)? {
            context.metrics.status_writes.inc();
            if let Some(degradation) = degradation {
                self.publish_event(EventType::Warning, degradation.reason, degradation.message)
                    .await;
            }
        }
        Ok(())
    }

    async fn report_changes(&self, applied: &Applied) {
        if applied.changed.is_empty() {
            return;
        }
        self.context.metrics.changes.inc_by(applied.changed.len() as u64);
        let changed = applied.changed.join(", ");
        info!(
            namespace = self.rookery.namespace(),
            name = self.rookery.name_any(),
            changed,
            "applied changes"
        );
        self.publish_event(EventType::Normal, "Applied", changed).await;
    }

    /// Publishes an event about the resource. Failure to publish is only logged.
    async fn publish_event(&self, type_: EventType, reason: &str, note: String) {
        let publish_event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(truncate_note(escape::lines(&note))),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        let about = self.rookery.object_ref(&());
        // A new recorder for each event: a shared one repeats the first note of a reason.
        let context = self.context;
        let recorder = Recorder::new(context.client.clone(), context.reporter.clone());
        if let Err(error) = recorder.publish(&publish_event, &about).await {
            warn!(%error, reason, "cannot publish an event");
        }
    }
}

/// Truncates a note to 1,024 bytes, the limit of the Kubernetes API (events.k8s.io/v1, `note`).
fn truncate_note(mut note: String) -> String {
    const MAX: usize = 1024;
    if note.len() > MAX {
        note.truncate(note.floor_char_boundary(MAX - 3));
        note.push('…');
    }
    note
}

/// The failure as a `Degraded` condition; `None` if only the cluster is at fault.
fn degraded_by(error: &ApplyError) -> Option<Degradation> {
    let reason = match error {
        ApplyError::Foreign { .. } => "NameTaken",
        ApplyError::Refused { .. } => "Refused",
        ApplyError::Cluster(_) => return None,
    };
    Some(Degradation { reason, message: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_two_minutes_and_resets_after_a_success() {
        let mut rookery = Rookery::new("chat", Default::default());
        rookery.metadata.uid = Some("1".to_owned());
        let resource = DeserializeGuard(Ok(rookery));
        let failures = FailureCounts::default();
        let waits: Vec<_> = (0..40).map(|_| failures.next_backoff(&resource)).collect();
        assert_eq!(waits[..3], [500, 1000, 2000].map(Duration::from_millis));
        assert_eq!(waits[39], MAX_BACKOFF);
        assert!(waits.is_sorted());
        failures.forget(&resource);
        assert_eq!(failures.next_backoff(&resource), MIN_BACKOFF);
    }

    #[test]
    fn an_unreachable_cluster_does_not_degrade_a_resource() {
        let foreign = ApplyError::Foreign { kind: "Service".to_owned(), name: "chat".to_owned() };
        let degradation = degraded_by(&foreign).unwrap();
        assert!(degradation.message.contains("Service chat"), "{}", degradation.message);
        let silent = kube::Error::Service("no route".into());
        assert_eq!(degraded_by(&ApplyError::Cluster(silent)), None);
    }
}
