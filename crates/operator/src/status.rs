//! The status of a resource: computed here, and written only when it changed.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use super::crd::{ConditionType, Rookery, RookeryStatus};
use super::names;
use super::pods::ServerPod;

/// Inputs of [`compute`].
#[derive(Debug)]
pub struct StatusInputs<'a> {
    /// `metadata.generation` of the resource.
    pub generation: Option<i64>,
    /// The current status of the resource, if it has one.
    pub before: Option<&'a RookeryStatus>,
    /// The Deployment of its servers, if it exists.
    pub deployment: Option<&'a DynamicObject>,
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

/// The figures of a Deployment's status.
#[derive(Debug, Default)]
struct Counts {
    wanted: i32,
    replicas: i32,
    ready: i32,
    updated: i32,
    available: i32,
    /// Whether the Deployment controller has yet to observe the latest generation.
    is_behind: bool,
    /// Message of the condition that reports a stuck rollout.
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
        true => ("False", "RolledOut", "all pods are up to date and available".to_owned()),
        false => {
            let message = format!(
                "{} of {} pods are up to date and available",
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
            ("False", "AsAsked", "everything in the spec is applied".to_owned())
        }
        (None, None) => ("False", "Warnings", inputs.warnings.join("; ")),
    }
}

fn redis_reachable(inputs: &StatusInputs) -> ConditionState {
    if inputs.redis == Some(false) {
        let message = "Redis is not configured: a single server keeps its rooms in memory";
        return ("Unknown", "NotConfigured", message.to_owned());
    }
    let answers = || inputs.pods.iter().filter_map(|pod| Some((&pod.name, pod.redis_up?)));
    let without: Vec<&str> =
        answers().filter(|(_, up)| !up).map(|(name, _)| name.as_str()).collect();
    match (answers().count(), without.as_slice()) {
        (0, _) => {
            ("Unknown", "NoAnswer", "no pod has reported its connection to Redis yet".to_owned())
        }
        (all, []) => ("True", "Connected", format!("{all} pods are connected to Redis")),
        (_, without) => {
            let message = format!("not connected to Redis: {}", without.join(", "));
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
        message: cut(message),
        observed_generation: inputs.generation,
        // Truncated to whole seconds, as the cluster returns it.
        last_transition_time: before.map_or_else(
            || Time(Timestamp::from_second(inputs.now.as_second()).unwrap_or(inputs.now)),
            |c| c.last_transition_time.clone(),
        ),
    }
}

/// Cuts a message to the most bytes that a condition takes (Kubernetes API conventions, "Typical
/// status properties").
fn cut(mut message: String) -> String {
    const MAX: usize = 32_768;
    if message.len() > MAX {
        message.truncate(message.floor_char_boundary(MAX - '…'.len_utf8()));
        message.push('…');
    }
    message
}

#[cfg(test)]
mod tests;
