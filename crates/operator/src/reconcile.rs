//! One resource, from what is asked for to what there is: observe, validate, build, apply,
//! status.

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
use super::validate::{Defaults, validate};

/// A resource as it was read: one that does not have the shape of its definition must not stop
/// the others from being read.
pub type GuardedRookery = DeserializeGuard<Rookery>;

/// How long a reconciliation may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// When a resource is looked at again though nothing has changed.
const RESYNC_INTERVAL: Duration = Duration::from_secs(600);

/// The first wait after a failure; it doubles with each.
const MIN_BACKOFF: Duration = Duration::from_millis(500);

/// The longest wait after a failure.
const MAX_BACKOFF: Duration = Duration::from_secs(120);

/// What a reconciliation works with. Shared by all of a scope.
pub struct Context {
    /// The cluster.
    pub client: Client,
    /// What there is.
    pub owned: OwnedObjects,
    /// The servers' connections.
    pub pods: Pods,
    /// Who serves the custom metrics.
    pub serving: watch::Receiver<Serving>,
    /// Which optional kinds the cluster has.
    pub capabilities: Capabilities,
    /// What resources have that name none.
    pub defaults: Defaults,
    /// Who tells of what happens, on the resource.
    pub reporter: Reporter,
    /// Counts it.
    pub metrics: OperatorMetrics,
    /// Cancelled when this process stops to lead.
    pub stop: CancellationToken,
    /// How often each resource has failed in a row.
    pub failures: FailureCounts,
}

/// Why a reconciliation failed; it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// An object could not be brought into the cluster.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// It took too long; the cluster does not answer.
    #[error("not done within a minute: the cluster does not answer, or is slow")]
    Deadline,
    /// The status could not be written.
    #[error("the status cannot be written: {0}")]
    Status(kube::Error),
}

/// Brings the cluster to what `resource` asks for, and says in its status what came of it.
///
/// # Errors
/// When the cluster does not answer, or does not take an object.
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
        // This process stops to lead.
        return Ok(Action::await_change());
    }
    let (outcome, result) = match &resource.0 {
        Err(unreadable) => {
            let rookery = &metadata_only(resource.meta());
            let message = format!("it cannot be read: {}", unreadable.error);
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

/// When a resource is tried again that has failed.
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
        again_in = ?wait,
        "a resource could not be reconciled"
    );
    Action::requeue(wait)
}

/// How often each resource has failed in a row, for the exponential wait.
#[derive(Debug, Default)]
pub struct FailureCounts(Mutex<HashMap<String, u32>>);

impl FailureCounts {
    /// As many resources as this are remembered; beyond it, all begin anew.
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

/// A resource that has only its name, for saying something of one that cannot be read.
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
    /// The outcome for the counter, and how it went.
    async fn run(&self) -> (&'static str, Result<(), ReconcileError>) {
        let context = self.context;
        let validated = match validate(self.rookery, &context.defaults) {
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
                // What a cluster that does not answer has of it is not known, so nothing is said.
                if let Some(degradation) = degraded_by(&error)
                    && let Err(error) =
                        self.update_status(&Applied::default(), Some(degradation), redis, &[]).await
                {
                    warn!(%error, "nor could its status be written");
                }
                ("failed", Err(error.into()))
            }
        }
    }

    /// Autoscaling that nobody feeds is said where people look.
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
                     it and nothing scales by connections: teach that server the metric \
                     rookery_connections and set autoscaling.metrics: external, or remove it"
                ),
            }),
            Serving::Unreachable { message } => Some(Degradation {
                reason: "MetricsUnreachable",
                message: format!(
                    "the API server does not get through to the operator's metrics API, so \
                     nothing scales by connections: {message}"
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
            "applied"
        );
        self.publish_event(EventType::Normal, "Applied", changed).await;
    }

    /// An event is a courtesy: one that cannot be published is logged.
    async fn publish_event(&self, type_: EventType, reason: &str, note: String) {
        let publish_event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(truncate_note(note)),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        let about = self.rookery.object_ref(&());
        // A recorder of its own for each: one repeats the first note for all of a reason.
        let context = self.context;
        let recorder = Recorder::new(context.client.clone(), context.reporter.clone());
        if let Err(error) = recorder.publish(&publish_event, &about).await {
            warn!(%error, reason, "an event could not be published");
        }
    }
}

/// A note of at most 1,024 bytes (Kubernetes API reference, events.k8s.io/v1, `note`).
fn truncate_note(mut note: String) -> String {
    const MAX: usize = 1024;
    if note.len() > MAX {
        note.truncate(note.floor_char_boundary(MAX - 3));
        note.push('…');
    }
    note
}

/// What people must do about a failure; a cluster that does not answer is not theirs.
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
    fn waits_double_up_to_two_minutes_and_begin_anew_after_a_success() {
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
    fn a_cluster_that_does_not_answer_is_nobodys_mistake() {
        let foreign = ApplyError::Foreign { kind: "Service".to_owned(), name: "chat".to_owned() };
        let degradation = degraded_by(&foreign).unwrap();
        assert!(degradation.message.contains("Service chat"), "{}", degradation.message);
        let silent = kube::Error::Service("no route".into());
        assert_eq!(degraded_by(&ApplyError::Cluster(silent)), None);
    }
}
