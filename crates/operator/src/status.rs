//! What the operator says of a resource: computed here, written only when it differs.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use super::crd::{ConditionType, Rookery, RookeryStatus};
use super::names;
use super::pods::ServerPod;

/// What a status is computed from.
#[derive(Debug)]
pub struct StatusInputs<'a> {
    /// The resource's generation.
    pub generation: Option<i64>,
    /// Its status as it was.
    pub before: Option<&'a RookeryStatus>,
    /// Its Deployment, where there is one.
    pub deployment: Option<&'a DynamicObject>,
    /// Its pods.
    pub pods: &'a [ServerPod],
    /// Whether its servers have a Redis; unknown where the resource is not valid.
    pub redis: Option<bool>,
    /// What may be had but is probably not meant; a sentence each.
    pub warnings: &'a [String],
    /// What of it cannot be had.
    pub degradation: Option<Degradation>,
    /// Now.
    pub now: Timestamp,
}

/// Something that was asked for and cannot be had: the condition `Degraded`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Degradation {
    /// One word, as conditions have it: `Invalid`.
    pub reason: &'static str,
    /// A sentence with the fix.
    pub message: String,
}

/// The status that `inputs` makes.
pub fn compute(inputs: &StatusInputs) -> RookeryStatus {
    let counts = Counts::of(inputs.deployment);
    let connections = inputs.pods.iter().filter_map(|pod| pod.connections).sum::<u64>();
    let states = [
        (ConditionType::Available, available(&counts)),
        (ConditionType::Progressing, progressing(&counts)),
        (ConditionType::Degraded, degraded(inputs, &counts)),
        (ConditionType::RedisReachable, redis_reachable(inputs)),
    ];
    RookeryStatus {
        replicas: counts.replicas,
        ready_replicas: counts.ready,
        ready: format!("{}/{}", counts.ready, counts.wanted),
        connections: i64::try_from(connections).unwrap_or(i64::MAX),
        conditions: states.into_iter().map(|(kind, v)| condition(inputs, kind, v)).collect(),
        observed_generation: inputs.generation,
    }
}

/// Writes `status` where it differs from what the resource has; whether it wrote.
///
/// # Errors
/// When the cluster does not take it.
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
        // It was deleted meanwhile.
        Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(false),
        Err(error) => Err(error),
    }
}

/// What a Deployment says of its pods.
#[derive(Debug, Default)]
struct Counts {
    wanted: i32,
    replicas: i32,
    ready: i32,
    updated: i32,
    available: i32,
    /// The Deployment's controller has not yet seen its last change.
    is_behind: bool,
    /// What it says of a rollout that is stuck.
    stuck: Option<String>,
}

impl Counts {
    fn of(deployment: Option<&DynamicObject>) -> Self {
        let Some(deployment) = deployment else {
            return Counts { is_behind: true, ..Counts::default() };
        };
        let number = |path: &str| {
            let value = deployment.data.pointer(path).and_then(Value::as_i64).unwrap_or(0);
            i32::try_from(value).unwrap_or(i32::MAX)
        };
        let inputs = deployment.data.pointer("/status/observedGeneration").and_then(Value::as_i64);
        let conditions = deployment.data.pointer("/status/conditions").and_then(Value::as_array);
        let stuck = conditions.into_iter().flatten().find(|condition| {
            condition["reason"] == "ProgressDeadlineExceeded"
                || (condition["type"] == "ReplicaFailure" && condition["status"] == "True")
        });
        Counts {
            wanted: number("/spec/replicas"),
            replicas: number("/status/replicas"),
            ready: number("/status/readyReplicas"),
            updated: number("/status/updatedReplicas"),
            available: number("/status/availableReplicas"),
            is_behind: inputs < deployment.metadata.generation,
            stuck: stuck
                .map(|c| c["message"].as_str().unwrap_or("the rollout is stuck").to_owned()),
        }
    }
}

/// A condition's status, reason and message.
type ConditionState = (&'static str, &'static str, String);

fn available(counts: &Counts) -> ConditionState {
    let message = format!("{} of {} pods are ready", counts.ready, counts.wanted);
    match counts.ready {
        0 => ("False", "NoPodReady", message),
        _ => ("True", "Serving", message),
    }
}

fn progressing(counts: &Counts) -> ConditionState {
    let rolled_out = !counts.is_behind
        && counts.updated == counts.wanted
        && counts.replicas == counts.wanted
        && counts.available == counts.wanted;
    match rolled_out {
        true => ("False", "RolledOut", "every pod is as the resource asks".to_owned()),
        false => {
            let message = format!(
                "{} of {} pods are as the resource asks and ready for long enough",
                counts.available.min(counts.updated),
                counts.wanted
            );
            ("True", "RollingOut", message)
        }
    }
}

fn degraded(inputs: &StatusInputs, counts: &Counts) -> ConditionState {
    match (&inputs.degradation, &counts.stuck) {
        (Some(degradation), _) => ("True", degradation.reason, degradation.message.clone()),
        (None, Some(stuck)) => ("True", "RolloutStuck", stuck.clone()),
        (None, None) if inputs.warnings.is_empty() => {
            ("False", "AsAsked", "all that was asked for is there".to_owned())
        }
        (None, None) => ("False", "Warnings", inputs.warnings.join("; ")),
    }
}

fn redis_reachable(inputs: &StatusInputs) -> ConditionState {
    if inputs.redis == Some(false) {
        let message = "redis is not configured: one server, in memory";
        return ("Unknown", "NotConfigured", message.to_owned());
    }
    let answers = || inputs.pods.iter().filter_map(|pod| Some((&pod.name, pod.redis_up?)));
    let without: Vec<&str> =
        answers().filter(|(_, up)| !up).map(|(name, _)| name.as_str()).collect();
    match (answers().count(), without.as_slice()) {
        (0, _) => ("Unknown", "NoAnswer", "no pod has told its state yet".to_owned()),
        (all, []) => ("True", "Connected", format!("{all} pods are connected to Redis")),
        (_, without) => {
            let message = format!("no connection to Redis: {}", without.join(", "));
            ("False", "Disconnected", message)
        }
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
        reason: reason.to_owned(),
        message,
        observed_generation: inputs.generation,
        // Kept in whole seconds, as the cluster hands it back.
        last_transition_time: before.map_or_else(
            || Time(Timestamp::from_second(inputs.now.as_second()).unwrap_or(inputs.now)),
            |c| c.last_transition_time.clone(),
        ),
    }
}

#[cfg(test)]
mod tests;
