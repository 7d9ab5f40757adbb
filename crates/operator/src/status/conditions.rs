//! The conditions of a resource. Pure.

use super::StatusInputs;
use super::rollout::Rollout;
use crate::crd::{ConditionType, SPEC_REASONS};
use crate::pods::PodFailure;

/// A condition's status, reason and message.
pub(super) type ConditionState = (&'static str, String, String);

/// Computes all conditions, in their order.
pub(super) fn all(
    inputs: &StatusInputs,
    rollout: &Rollout,
) -> Vec<(ConditionType, ConditionState)> {
    let progressing = progressing(rollout);
    let stalled = stalled(inputs, rollout);
    let redis = redis_reachable(inputs);
    vec![
        (ConditionType::Ready, ready(inputs, &stalled, &progressing, &redis, rollout)),
        (ConditionType::Reconciling, reconciling(inputs, &stalled, &progressing)),
        (ConditionType::Available, available(inputs, rollout)),
        (ConditionType::Degraded, degraded(inputs, &stalled)),
        (ConditionType::Progressing, progressing),
        (ConditionType::RedisReachable, redis),
        (ConditionType::Stalled, stalled),
        (ConditionType::Warnings, warnings(inputs)),
        (ConditionType::Paused, paused(inputs)),
    ]
}

fn state(status: &'static str, reason: &str, message: impl Into<String>) -> ConditionState {
    (status, reason.to_owned(), message.into())
}

/// Everything is as the spec says. `kubectl wait`, Flux and Argo CD read it.
fn ready(
    inputs: &StatusInputs,
    stalled: &ConditionState,
    progressing: &ConditionState,
    redis: &ConditionState,
    rollout: &Rollout,
) -> ConditionState {
    if let ("True", reason, message) = stalled {
        return state("False", reason, message);
    }
    if let ("True", reason, message) = progressing {
        return match failure_of(inputs, |_| true) {
            Some((failure, said)) => state("False", &failure.reason, said),
            None => state("False", reason, message),
        };
    }
    if let ("False", _, message) = redis {
        return state("False", "RedisUnreachable", message);
    }
    state("True", "Ready", format!("all {} pods are ready", rollout.wanted))
}

/// The operator or the cluster is working towards the spec (kstatus, "Conditions").
fn reconciling(
    inputs: &StatusInputs,
    stalled: &ConditionState,
    progressing: &ConditionState,
) -> ConditionState {
    match (stalled.0, progressing.0, inputs.waiting) {
        ("True", ..) => state("False", "Stalled", "waiting for a change: see Stalled"),
        (_, "True", _) => progressing.clone(),
        (.., Some(waiting)) => state("True", "WaitingForTurn", waiting),
        _ => state("False", "Done", "nothing is being changed"),
    }
}

/// The spec does not take effect, or its pods fail, until somebody acts (kstatus, "Conditions").
fn stalled(inputs: &StatusInputs, rollout: &Rollout) -> ConditionState {
    if let Some(degradation) =
        inputs.degradation.as_ref().filter(|d| SPEC_REASONS.contains(&d.reason))
    {
        return state("True", degradation.reason, &degradation.message);
    }
    let lasting = failure_of(inputs, |failure| rollout.stuck.is_some() || !failure.may_pass());
    match (&rollout.stuck, lasting) {
        (Some(stuck), Some((_, said))) => state("True", "RolloutStuck", format!("{stuck}; {said}")),
        (Some(stuck), None) => state("True", "RolloutStuck", stuck),
        (None, Some((failure, said))) => state("True", &failure.reason, said),
        _ => state("False", "Working", "nothing keeps the spec from taking effect"),
    }
}

/// The first failing pod of those that count, and a sentence about it and how many others there
/// are.
fn failure_of<'p>(
    inputs: &StatusInputs<'p>,
    counts: impl Fn(&PodFailure) -> bool,
) -> Option<(&'p PodFailure, String)> {
    let failing = inputs.pods.iter().filter_map(|pod| Some((&pod.name, pod.failure.as_ref()?)));
    let mut failing = failing.filter(|(_, failure)| counts(failure));
    let (name, failure) = failing.next()?;
    let others = match failing.count() {
        0 => String::new(),
        1 => " (and 1 other pod fails)".to_owned(),
        n => format!(" (and {n} other pods fail)"),
    };
    Some((failure, format!("pod {name}: {}: {}{others}", failure.reason, failure.message)))
}

fn available(inputs: &StatusInputs, rollout: &Rollout) -> ConditionState {
    let least = inputs.min_replicas.max(1);
    match rollout.ready {
        0 => state("False", "NoPodReady", format!("0 of {} pods are ready", rollout.wanted)),
        ready if ready < least => {
            let message =
                format!("{ready} of {} pods are ready; at least {least} must be", rollout.wanted);
            state("False", "TooFewReady", message)
        }
        ready => state("True", "Serving", format!("{ready} of {} pods are ready", rollout.wanted)),
    }
}

fn progressing(rollout: &Rollout) -> ConditionState {
    match rollout.is_complete() {
        true => state("False", "RolledOut", "all pods are up to date and available"),
        false => {
            let message = format!(
                "{} of {} pods are up to date and available",
                rollout.available.min(rollout.updated),
                rollout.wanted
            );
            state("True", "RollingOut", message)
        }
    }
}

fn degraded(inputs: &StatusInputs, stalled: &ConditionState) -> ConditionState {
    match (&inputs.degradation, stalled.0) {
        (Some(degradation), _) => state("True", degradation.reason, &degradation.message),
        (None, "True") => stalled.clone(),
        (None, _) => state("False", "AsAsked", "everything in the spec is applied"),
    }
}

fn redis_reachable(inputs: &StatusInputs) -> ConditionState {
    if inputs.redis == Some(false) {
        let message = "Redis is not configured: a single server keeps its rooms in memory";
        return state("Unknown", "NotConfigured", message);
    }
    let answers = || inputs.pods.iter().filter_map(|pod| Some((&pod.name, pod.redis_up?)));
    let without: Vec<&str> =
        answers().filter(|(_, up)| !up).map(|(name, _)| name.as_str()).collect();
    match (answers().count(), without.as_slice()) {
        (0, _) => state("Unknown", "NoAnswer", "no pod has reported its connection to Redis yet"),
        (all, []) => state("True", "Connected", format!("{all} pods are connected to Redis")),
        (_, without) => state(
            "False",
            "Disconnected",
            format!("not connected to Redis: {}", without.join(", ")),
        ),
    }
}

fn warnings(inputs: &StatusInputs) -> ConditionState {
    match inputs.warnings {
        [] => state("False", "None", "no setting looks unintended"),
        warnings => state("True", "CheckSettings", warnings.join("; ")),
    }
}

fn paused(inputs: &StatusInputs) -> ConditionState {
    match inputs.paused {
        true => state(
            "True",
            "Annotation",
            "rookery.dev/reconcile is paused: changes of the spec and of the objects are not \
             applied; remove the annotation to go on",
        ),
        false => state("False", "Active", "changes are applied"),
    }
}
