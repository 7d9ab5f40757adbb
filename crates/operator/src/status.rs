//! The status of a resource: computed here, and written only when it changed.

mod conditions;
mod rollout;
mod writes;

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use rookery_ops::escape;
use serde_json::json;

use self::conditions::ConditionState;
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

/// Writes `status` if it differs from `before`. Returns whether it wrote.
///
/// # Errors
/// If the cluster refuses the write.
pub async fn write(
    client: &Client,
    namespace: &str,
    name: &str,
    before: Option<&RookeryStatus>,
    status: &RookeryStatus,
) -> kube::Result<bool> {
    if before == Some(status) {
        return Ok(false);
    }
    let api: Api<Rookery> = Api::namespaced(client.clone(), namespace);
    let patch = json!({
        "apiVersion": "rookery.dev/v1alpha1",
        "kind": "Rookery",
        "metadata": { "name": name },
        "status": status,
    });
    let params = PatchParams::apply(names::MANAGER).force();
    match api.patch_status(name, &params, &Patch::Apply(&patch)).await {
        Ok(_) => Ok(true),
        // The resource was deleted in the meantime.
        Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(false),
        Err(error) => Err(error),
    }
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
