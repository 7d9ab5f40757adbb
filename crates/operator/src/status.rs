//! The status of a resource: computed here, and written only when it changed.

mod conditions;
mod refused;
mod rollout;
mod writes;

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::Status;
use kube::{Client, CustomResourceExt as _};
use rookery_ops::escape;
use serde_json::json;
use tracing::warn;

use self::conditions::ConditionState;
pub use self::refused::RefusedStatuses;
use self::rollout::Rollout;
pub use self::writes::StatusWrites;
use super::crd::{ConditionType, Rookery, RookeryStatus};
use super::names;
use super::pods::ServerPod;
use super::truncate::truncate;

/// The longest message of a condition (Kubernetes API reference, `Condition.message`).
const MAX_MESSAGE_BYTES: usize = 32_768;

/// Inputs of [`compute`].
#[derive(Debug)]
pub struct StatusInputs<'a> {
    /// `metadata.generation` of the resource.
    pub generation: Option<i64>,
    /// The current status of the resource, if it has one.
    pub before: Option<&'a RookeryStatus>,
    /// The Deployment of its servers, if it exists.
    pub deployment: Option<&'a DynamicObject>,
    /// The least number of pods that the spec asks for; 1 while that is unknown.
    pub min_replicas: i32,
    /// Whether the resource's annotation asks to leave everything as it is.
    pub paused: bool,
    /// What it waits for before its pods are replaced, in a sentence.
    pub waiting: Option<&'a str>,
    /// Its server pods.
    pub pods: &'a [ServerPod],
    /// Whether Redis is configured; `None` while the resource is invalid.
    pub redis: Option<bool>,
    /// Warnings about valid but probably unintended settings, one sentence each.
    pub warnings: &'a [String],
    /// What keeps the resource from being fully applied.
    pub degradation: Option<Degradation>,
    /// The current time.
    pub now: Timestamp,
}

/// A reason for the condition `Degraded` to be true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Degradation {
    /// `reason` of the condition, such as `Invalid`.
    pub reason: &'static str,
    /// `message` of the condition: what is wrong and how to fix it.
    pub message: String,
}

/// Computes the status. Pure.
pub fn compute(inputs: &StatusInputs) -> RookeryStatus {
    let rollout = Rollout::of(inputs.deployment);
    let connections = inputs.pods.iter().filter_map(|pod| pod.connections).sum::<u64>();
    let states = conditions::all(inputs, &rollout);
    RookeryStatus {
        replicas: rollout.replicas,
        ready_replicas: rollout.ready,
        ready: format!("{}/{}", rollout.ready, rollout.wanted),
        connections: i64::try_from(connections).unwrap_or(i64::MAX),
        image: rollout.image,
        version: versions(inputs.pods),
        selector: rollout.selector,
        conditions: states.into_iter().map(|(kind, v)| condition(inputs, kind, v)).collect(),
        observed_generation: match inputs.paused {
            true => inputs.before.and_then(|before| before.observed_generation),
            false => inputs.generation,
        },
    }
}

/// Whether every pod of a Deployment is of the latest template and available, or the rollout is
/// stuck.
pub fn is_rollout_over(deployment: &DynamicObject) -> bool {
    let rollout = Rollout::of(Some(deployment));
    rollout.is_complete() || rollout.stuck.is_some()
}

/// The versions that the pods report, such as `0.1.0`, or `0.1.0, 0.2.0` during an upgrade.
fn versions(pods: &[ServerPod]) -> String {
    let all: BTreeSet<&str> = pods.iter().filter_map(|pod| pod.version.as_deref()).collect();
    all.into_iter().collect::<Vec<_>>().join(", ")
}

/// What became of a status.
#[derive(Debug, PartialEq, Eq)]
pub enum Written {
    /// It is written.
    Done,
    /// It is as it was, or the resource is gone.
    Unchanged,
    /// The cluster refuses it, as it would again: a rule of the definition cannot be evaluated for
    /// the resource.
    Refused,
}

/// Writes `status` if it differs from `before`.
///
/// Server-side apply reads the whole object by the definition's schema, and fails for one that does
/// not match it, such as one that is older than the definition. A merge patch does not, so the status
/// is then written by one.
///
/// # Errors
/// If the cluster does not answer, or denies access.
pub async fn write(
    client: &Client,
    namespace: &str,
    name: &str,
    before: Option<&RookeryStatus>,
    status: &RookeryStatus,
) -> kube::Result<Written> {
    if before == Some(status) {
        return Ok(Written::Unchanged);
    }
    // The answer may be an object that cannot be read.
    let kind = Rookery::api_resource();
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind);
    let patch = json!({
        "apiVersion": "rookery.dev/v1alpha1",
        "kind": "Rookery",
        "metadata": { "name": name },
        "status": status,
    });
    let params = PatchParams::apply(names::MANAGER).force();
    let mut written = api.patch_status(name, &params, &Patch::Apply(&patch)).await;
    if let Err(kube::Error::Api(answer)) = &written
        && (is_refused(answer) || is_of_another_schema(answer))
    {
        let (patch, params) = (json!({ "status": status }), manager());
        written = api.patch_status(name, &params, &Patch::Merge(&patch)).await;
    }
    match written {
        Ok(_) => Ok(Written::Done),
        // The resource was deleted in the meantime.
        Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(Written::Unchanged),
        Err(kube::Error::Api(answer)) if is_refused(&answer) => {
            warn!(namespace, name, refused = answer.message, "cannot write a status");
            Ok(Written::Refused)
        }
        Err(error) => Err(error),
    }
}

/// Whether the object is at fault, and not the state of the cluster.
fn is_refused(answer: &Status) -> bool {
    matches!(answer.code, 400 | 422)
}

/// Whether the API server cannot apply anything to the object, as it does not match the definition.
fn is_of_another_schema(answer: &Status) -> bool {
    answer.code == 500 && answer.message.contains("failed to create typed")
}

fn manager() -> PatchParams {
    PatchParams { field_manager: Some(names::MANAGER.to_owned()), ..PatchParams::default() }
}

fn condition(
    inputs: &StatusInputs,
    kind: ConditionType,
    (status, reason, message): ConditionState,
) -> Condition {
    let before = inputs.before.and_then(|before| {
        before.conditions.iter().find(|c| c.type_ == kind.name() && c.status == status)
    });
    Condition {
        type_: kind.name().to_owned(),
        status: status.to_owned(),
        reason,
        message: truncate(escape::lines(&message), MAX_MESSAGE_BYTES),
        observed_generation: inputs.generation,
        // Truncated to whole seconds, as the cluster returns it.
        last_transition_time: before.map_or_else(
            || Time(Timestamp::from_second(inputs.now.as_second()).unwrap_or(inputs.now)),
            |c| c.last_transition_time.clone(),
        ),
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod write_tests;
