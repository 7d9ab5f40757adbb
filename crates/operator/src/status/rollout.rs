//! What a Deployment says about its rollout. Pure.

use kube::api::DynamicObject;
use serde_json::Value;

/// The figures of a Deployment's status.
#[derive(Debug, Default)]
pub(super) struct Rollout {
    /// The image of its pods; empty without a Deployment.
    pub image: String,
    /// The label selector of its pods; empty without a Deployment.
    pub selector: String,
    /// Desired pods.
    pub wanted: i32,
    /// Pods that exist.
    pub replicas: i32,
    /// Pods that are ready.
    pub ready: i32,
    /// Pods of the latest template.
    pub updated: i32,
    /// Pods that have been ready for as long as a rollout requires.
    pub available: i32,
    /// Whether the Deployment controller has yet to observe the latest generation.
    pub is_behind: bool,
    /// Message of the condition that reports a stuck rollout.
    pub stuck: Option<String>,
}

impl Rollout {
    /// Reads a Deployment; one that does not exist yet has yet to be observed.
    pub fn of(deployment: Option<&DynamicObject>) -> Self {
        let Some(deployment) = deployment else {
            return Rollout { is_behind: true, ..Rollout::default() };
        };
        let number = |path: &str| {
            let value = deployment.data.pointer(path).and_then(Value::as_i64).unwrap_or(0);
            i32::try_from(value).unwrap_or(i32::MAX)
        };
        let observed =
            deployment.data.pointer("/status/observedGeneration").and_then(Value::as_i64);
        let conditions = deployment.data.pointer("/status/conditions").and_then(Value::as_array);
        let stuck = conditions.into_iter().flatten().find(|condition| {
            condition["reason"] == "ProgressDeadlineExceeded"
                || (condition["type"] == "ReplicaFailure" && condition["status"] == "True")
        });
        let image = deployment.data.pointer("/spec/template/spec/containers/0/image");
        Rollout {
            image: image.and_then(Value::as_str).unwrap_or_default().to_owned(),
            selector: selector(deployment),
            wanted: number("/spec/replicas"),
            replicas: number("/status/replicas"),
            ready: number("/status/readyReplicas"),
            updated: number("/status/updatedReplicas"),
            available: number("/status/availableReplicas"),
            is_behind: observed < deployment.metadata.generation,
            stuck: stuck
                .map(|c| c["message"].as_str().unwrap_or("the rollout is stuck").to_owned()),
        }
    }

    /// Whether every pod is of the latest template and available.
    pub fn is_complete(&self) -> bool {
        !self.is_behind
            && self.updated == self.wanted
            && self.replicas == self.wanted
            && self.available == self.wanted
    }
}

/// The labels that select the pods, in the form of the scale subresource (Kubernetes API
/// reference, `ScaleStatus.selector`).
fn selector(deployment: &DynamicObject) -> String {
    let labels = deployment.data.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
    let pair = |(key, value): (&String, &Value)| Some(format!("{key}={}", value.as_str()?));
    labels.into_iter().flatten().filter_map(pair).collect::<Vec<_>>().join(",")
}
