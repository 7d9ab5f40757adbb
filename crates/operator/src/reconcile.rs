//! Reconciles one resource: observe, validate, build, apply, update the status.

mod degradations;
mod events;
mod failure_counts;
mod observation;
mod redis_change;
mod status_write;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::api::DynamicObject;
use kube::runtime::controller::Action;
use kube::runtime::events::{EventType, Reporter};
use kube::{Client, Resource as _, ResourceExt as _};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use self::failure_counts::FailureCounts;
use self::observation::Observation;
use self::turns::Resource;
pub use self::turns::RolloutTurns;

use super::apply::{Applied, Applier, ApplyError, Contests, Replicas, replaces_pods};
use super::build::{Capabilities, build, warnings};
use super::crd::{Rookery, RookerySpec};
use super::custom_metrics::Serving;
use super::guarded::{GuardedRookery, Unreadable};
use super::metrics::OperatorMetrics;
use super::names;
use super::observe::OwnedObjects;
use super::pods::{Pods, ServerPod, explain_pending};
use super::status::{self, Degradation, RefusedStatuses, StatusInputs, StatusWrites};
use super::validate::Validated;
use super::validator::Validator;

/// Deadline of one reconciliation.
const DEADLINE: Duration = Duration::from_secs(60);

/// Interval after which an unchanged resource is reconciled again.
const RESYNC_INTERVAL: Duration = Duration::from_secs(600);

/// Interval after which a resource is looked at again while a pod is pending for a reason that is not
/// in its status: that it stays so is no event of a watch.
const PENDING_INTERVAL: Duration = Duration::from_secs(10);

/// Interval after which a resource that waits for its turn is looked at again.
const TURN_INTERVAL: Duration = Duration::from_secs(15);

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
    /// Which resource's pods are replaced now, after an upgrade of the operator.
    pub turns: RolloutTurns,
    /// What is known about objects that did not stay as they were applied.
    pub contests: Contests,
    /// The last write of each resource's status.
    pub status_writes: StatusWrites,
    /// Which statuses the cluster refuses.
    pub refused: RefusedStatuses,
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
        let namespace = resource.namespace().unwrap_or_default();
        context.metrics.forget(&namespace, &resource.name_any());
        return Ok(Action::await_change());
    }
    let listed = context.stop.run_until_cancelled(context.owned.ready()).await;
    if !matches!(listed, Some(Ok(()))) {
        // This process no longer leads.
        return Ok(Action::await_change());
    }
    let paused = names::is_paused(resource.meta());
    let namespace = resource.namespace().unwrap_or_default();
    context.metrics.set_paused(&namespace, &resource.name_any(), paused);
    let (outcome, result) = match &resource.0 {
        Err(unreadable) => return report_unreadable(unreadable, paused, context).await,
        Ok(rookery) if paused => {
            let observation = Observation { paused: true, ..Observation::default() };
            ("paused", Reconciliation { rookery, context }.update_status(observation).await)
        }
        Ok(rookery) => Reconciliation { rookery, context }.run().await,
    };
    context.metrics.reconciles.with_label_values(&[outcome]).inc();
    let next = result?;
    context.failures.forget(resource.meta());
    Ok(Action::requeue(next))
}

/// Schedules the retry of a resource whose reconciliation failed.
pub fn error_policy(
    resource: Arc<GuardedRookery>,
    error: &ReconcileError,
    context: Arc<Context>,
) -> Action {
    let wait = context.failures.next_backoff(resource.meta());
    warn!(
        namespace = resource.namespace(),
        name = resource.name_any(),
        %error,
        retry_in = ?wait,
        "reconciliation failed"
    );
    Action::requeue(wait)
}

/// The Deployment among the objects of a resource.
fn deployment_of(objects: &[DynamicObject]) -> Option<&DynamicObject> {
    let kind =
        |object: &&DynamicObject| object.types.as_ref().is_some_and(|t| t.kind == "Deployment");
    objects.iter().find(kind)
}

/// Says in the status why a resource cannot be read. It is looked at again when it or its pods
/// change.
async fn report_unreadable(
    unreadable: &Unreadable,
    paused: bool,
    context: &Context,
) -> Result<Action, ReconcileError> {
    let rookery = &Rookery {
        metadata: unreadable.metadata.clone(),
        spec: RookerySpec::default(),
        status: unreadable.status.clone(),
    };
    let observation =
        Observation { paused, ..Observation::degraded("Invalid", unreadable.message.clone()) };
    let written = Reconciliation { rookery, context }.update_status(observation).await;
    context.metrics.reconciles.with_label_values(&["invalid"]).inc();
    let next = written?;
    context.failures.forget(&unreadable.metadata);
    // Sooner only for what its pods do.
    Ok(if next < RESYNC_INTERVAL { Action::requeue(next) } else { Action::await_change() })
}

struct Reconciliation<'a> {
    rookery: &'a Rookery,
    context: &'a Context,
}

impl Reconciliation<'_> {
    /// Returns the `outcome` label for the counter, and when to look again.
    async fn run(&self) -> (&'static str, Result<Duration, ReconcileError>) {
        let context = self.context;
        let (validated, objects) = match self.desired().await {
            Ok(desired) => desired,
            Err(refused) => return ("invalid", self.update_status(refused).await),
        };
        let mut observation = Observation {
            redis: Some(validated.config.redis.is_some()),
            min_replicas: Some(validated.min_replicas),
            ..Observation::default()
        };
        let uid = self.rookery.uid().unwrap_or_default();
        if let Some(other) = self.waits_for(&uid, &objects) {
            observation.waiting = Some(other);
            observation.warnings = validated.warnings.clone();
            let written = self.update_status(observation).await;
            return ("waiting", written.map(|next| next.min(TURN_INTERVAL)));
        }
        match self.applier(&uid, validated.min_replicas).apply(&objects).await {
            Ok(applied) => {
                self.report_changes(&applied).await;
                observation.degradation = degradations::of_contests(&applied.contested)
                    .or(self.without_metrics(&validated));
                observation.applied = applied;
                observation.warnings = validated.warnings.clone();
                observation.warnings.extend(warnings(&validated, &context.capabilities));
                let written = self.update_status(observation).await;
                (if written.is_ok() { "done" } else { "failed" }, written)
            }
            Err(error) => {
                // While the cluster does not answer, its state is unknown: leave the status as it
                // is.
                if let Some(degradation) = degradations::of_apply_error(&error) {
                    observation.degradation = Some(degradation);
                    if let Err(error) = self.update_status(observation).await {
                        warn!(%error, "cannot write the status after a failed apply");
                    }
                }
                ("failed", Err(error.into()))
            }
        }
    }

    /// The objects that the resource asks for, or why they cannot be applied.
    async fn desired(&self) -> Result<(Arc<Validated>, Vec<DynamicObject>), Observation> {
        let context = self.context;
        let validated = context.validator.validate(self.rookery).await;
        let validated =
            validated.map_err(|invalid| Observation::degraded("Invalid", invalid.to_string()))?;
        let objects = build(&validated, &context.capabilities);
        let namespace = self.rookery.namespace().unwrap_or_default();
        let there = context.owned.get("Deployment", &namespace, &self.rookery.name_any());
        match redis_change::refused(self.rookery.meta(), there.as_deref(), deployment_of(&objects))
        {
            Some(why) => Err(Observation::degraded("RedisChanged", why)),
            None => Ok((validated, objects)),
        }
    }

    /// Why the autoscaler gets no metrics, which is also recorded as a metric.
    fn without_metrics(&self, validated: &Validated) -> Option<Degradation> {
        let autoscaling = &self.rookery.spec.autoscaling;
        let found = degradations::of_autoscaling(
            autoscaling,
            &self.context.serving.borrow(),
            self.context.capabilities.scaled_object,
            validated.scaler_address.is_some(),
        );
        let namespace = self.rookery.namespace().unwrap_or_default();
        let reason = found.as_ref().map(|degradation| degradation.reason);
        self.context.metrics.set_without_metrics(&namespace, &self.rookery.name_any(), reason);
        found
    }

    /// The resource that this one waits for, in a sentence. It waits if the operator's own changes,
    /// and not those of people, would replace its pods while those of another one are replaced.
    fn waits_for(&self, uid: &str, objects: &[DynamicObject]) -> Option<String> {
        let context = self.context;
        let generation = self.rookery.metadata.generation;
        let observed = self.rookery.status.as_ref().and_then(|status| status.observed_generation);
        let (namespace, name) =
            (self.rookery.namespace().unwrap_or_default(), self.rookery.name_any());
        let there = context.owned.get("Deployment", &namespace, &name)?;
        let desired = deployment_of(objects)?;
        if observed != generation || !replaces_pods(desired, &there) {
            return None;
        }
        let is_over = |other: &Resource| {
            let deployment = context.owned.get("Deployment", &other.namespace, &other.name);
            let drains = |pod: &ServerPod| pod.terminating;
            deployment.is_none_or(|deployment| status::is_rollout_over(&deployment))
                && !context.pods.of(&other.namespace, &other.name).iter().any(drains)
        };
        let resource = Resource { namespace, name };
        let other = context.turns.take(uid, resource, is_over, Instant::now()).err()?;
        Some(format!(
            "the operator was upgraded and replaces the pods of one resource at a time; those of \
             {}/{} come first",
            other.namespace, other.name
        ))
    }

    fn applier<'a>(&'a self, uid: &'a str, min: i32) -> Applier<'a> {
        let autoscaled = self.rookery.spec.autoscaling.enabled;
        Applier {
            client: &self.context.client,
            owned: &self.context.owned,
            contests: &self.context.contests,
            uid,
            replicas: Replicas { min, autoscaled },
        }
    }

    /// Writes the status if it changed. Returns when to look again.
    async fn update_status(&self, observation: Observation) -> Result<Duration, ReconcileError> {
        let context = self.context;
        let name = self.rookery.name_any();
        let namespace = self.rookery.namespace().unwrap_or_default();
        let (uid, version) =
            (self.rookery.uid().unwrap_or_default(), self.rookery.resource_version());
        let cached = self.rookery.status.as_ref();
        let before = context.status_writes.current(&uid, version.as_deref(), cached);
        let before = before.as_ref();
        let there = context.owned.get("Deployment", &namespace, &name);
        // A resource that cannot be read keeps what it has.
        let known_min = || context.owned.min_replicas(&namespace, &name);
        let mut pods = context.pods.of(&namespace, &name);
        explain_pending(&context.client, &mut pods, Timestamp::now()).await;
        let status = status::compute(&StatusInputs {
            generation: self.rookery.metadata.generation,
            before,
            deployment: observation.applied.get("Deployment").or(there.as_deref()),
            min_replicas: observation.min_replicas.or_else(known_min).unwrap_or(1),
            paused: observation.paused,
            waiting: observation.waiting.as_deref(),
            pods: &pods,
            redis: observation.redis,
            warnings: &observation.warnings,
            degradation: observation.degradation,
            now: Timestamp::now(),
        });
        let next = match pods.iter().any(|pod| pod.pending_since.is_some()) {
            true => PENDING_INTERVAL,
            false => RESYNC_INTERVAL,
        };
        let wait = context.status_writes.wait(&uid, before, &status, Instant::now());
        if !wait.is_zero() {
            return Ok(next.min(wait));
        }
        self.write_status(before, status).await?;
        Ok(next)
    }

    async fn report_changes(&self, applied: &Applied) {
        if applied.changed.is_empty() {
            return;
        }
        self.context.metrics.changes.inc_by(applied.changed.len() as u64);
        let changed = applied.changed.join(", ");
        let (namespace, name) = (self.rookery.namespace(), self.rookery.name_any());
        info!(namespace, name, changed, "applied changes");
        self.publish_event(EventType::Normal, "Applied", changed).await;
    }

    async fn publish_event(&self, type_: EventType, reason: &str, note: String) {
        let Context { client, reporter, .. } = self.context;
        events::publish(client, reporter, self.rookery, (type_, reason, note)).await;
    }
}
