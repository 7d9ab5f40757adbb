//! When a Deployment's `replicas` are set: when it is created and, without an autoscaler, when the
//! resource asks for another number. Pure.

use kube::ResourceExt as _;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use crate::names;

/// The number of pods that a resource asks for.
#[derive(Clone, Copy, Debug)]
pub struct Replicas {
    /// `spec.replicas.min`, or its default.
    pub min: i32,
    /// Whether the operator creates an autoscaler, which keeps at least `min`.
    pub autoscaled: bool,
}

/// What to do about a Deployment's `replicas`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// They stay as they are: an autoscaler's or a person's choice.
    Keep,
    /// They become [`Replicas::min`].
    Set,
    /// They stay, and the number that was asked for is recorded, so that no pods are removed when
    /// the autoscaler is switched off.
    Record,
}

impl Replicas {
    /// What to do about `deployment`. Its annotation [`names::INITIAL_REPLICAS`] says what was asked
    /// for last; one without it that has more than the one replica that Kubernetes defaults to was
    /// scaled, and is left alone.
    pub(super) fn change(self, deployment: &DynamicObject) -> Change {
        let asked = deployment.annotations().get(names::INITIAL_REPLICAS);
        match asked {
            None if deployment.data.pointer("/spec/replicas") == Some(&json!(1)) => Change::Set,
            None => Change::Keep,
            Some(asked) if *asked == self.min.to_string() => Change::Keep,
            Some(_) if self.autoscaled => Change::Record,
            Some(_) => Change::Set,
        }
    }

    /// The annotation that records what is asked for.
    pub(super) fn annotations(self) -> Value {
        json!({ names::INITIAL_REPLICAS: self.min.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(replicas: i32, asked: Option<&str>) -> DynamicObject {
        let annotations = match asked {
            Some(asked) => json!({ names::INITIAL_REPLICAS: asked }),
            None => json!({}),
        };
        serde_json::from_value(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "chat", "annotations": annotations },
            "spec": { "replicas": replicas },
        }))
        .unwrap()
    }

    #[test]
    fn replicas_are_set_when_the_deployment_is_new() {
        for autoscaled in [true, false] {
            let two = Replicas { min: 2, autoscaled };
            assert_eq!(two.change(&deployment(1, None)), Change::Set);
            assert_eq!(two.change(&deployment(5, None)), Change::Keep, "it was scaled");
        }
    }

    #[test]
    fn a_new_number_is_applied_without_an_autoscaler_and_left_to_it_otherwise() {
        let asks = |min, autoscaled| Replicas { min, autoscaled }.change(&deployment(2, Some("2")));
        assert_eq!(asks(3, false), Change::Set);
        assert_eq!(asks(1, false), Change::Set);
        assert_eq!(asks(3, true), Change::Record);
        assert_eq!(asks(2, true), Change::Keep);
        assert_eq!(asks(2, false), Change::Keep);
    }

    #[test]
    fn a_deployment_that_somebody_else_scaled_is_left_alone() {
        let two = Replicas { min: 2, autoscaled: false };
        assert_eq!(two.change(&deployment(7, Some("2"))), Change::Keep);
    }
}
