use super::*;
use crate::pods::PodFailure;

fn deployment(wanted: i32, ready: i32, updated: i32, available: i32) -> DynamicObject {
    serde_json::from_value(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "chat", "generation": 3 },
        "spec": { "replicas": wanted },
        "status": {
            "observedGeneration": 3, "replicas": wanted, "readyReplicas": ready,
            "updatedReplicas": updated, "availableReplicas": available,
        },
    }))
    .unwrap()
}

fn pod(name: &str, connections: Option<u64>, redis_up: Option<bool>) -> ServerPod {
    ServerPod {
        namespace: "default".to_owned(),
        name: name.to_owned(),
        instance: "chat".to_owned(),
        ready: true,
        terminating: false,
        connections,
        redis_up,
        ..ServerPod::default()
    }
}

fn inputs<'a>(deployment: Option<&'a DynamicObject>, pods: &'a [ServerPod]) -> StatusInputs<'a> {
    StatusInputs {
        generation: Some(7),
        before: None,
        min_replicas: 2,
        paused: false,
        waiting: None,
        deployment,
        pods,
        redis: Some(true),
        warnings: &[],
        degradation: None,
        now: Timestamp::from_second(1_000).unwrap(),
    }
}

fn of(status: &RookeryStatus, kind: ConditionType) -> &Condition {
    status.conditions.iter().find(|c| c.type_ == kind.name()).unwrap()
}

/// Type, status and reason of each condition, in order.
fn states(status: &RookeryStatus) -> Vec<String> {
    status.conditions.iter().map(|c| format!("{}={} {}", c.type_, c.status, c.reason)).collect()
}

#[test]
fn a_resource_that_waits_for_its_turn_is_ready_and_reconciling() {
    let deployment = deployment(2, 2, 2, 2);
    let pods = [pod("a", Some(3), Some(true)), pod("b", Some(4), Some(true))];
    let inputs = StatusInputs { waiting: Some("others"), ..inputs(Some(&deployment), &pods) };
    let states = states(&compute(&inputs));
    assert_eq!(states[..2], ["Ready=True Ready", "Reconciling=True WaitingForTurn"]);
    assert!(is_rollout_over(&deployment));
}

#[test]
fn a_running_service_is_available_and_not_degraded() {
    let deployment = deployment(2, 2, 2, 2);
    let pods = [pod("a", Some(3), Some(true)), pod("b", Some(4), Some(true))];
    let status = compute(&inputs(Some(&deployment), &pods));
    assert_eq!((status.replicas, status.ready_replicas, status.connections), (2, 2, 7));
    assert_eq!(status.ready, "2/2");
    assert_eq!(status.observed_generation, Some(7));
    assert_eq!(
        states(&status),
        [
            "Ready=True Ready",
            "Reconciling=False Done",
            "Available=True Serving",
            "Degraded=False AsAsked",
            "Progressing=False RolledOut",
            "RedisReachable=True Connected",
            "Stalled=False Working",
            "Warnings=False None",
            "Paused=False Active",
        ]
    );
}

#[test]
fn a_resource_without_a_deployment_is_progressing() {
    let status = compute(&inputs(None, &[]));
    assert_eq!(status.ready, "0/0");
    assert_eq!(
        states(&status),
        [
            "Ready=False RollingOut",
            "Reconciling=True RollingOut",
            "Available=False NoPodReady",
            "Degraded=False AsAsked",
            "Progressing=True RollingOut",
            "RedisReachable=Unknown NoAnswer",
            "Stalled=False Working",
            "Warnings=False None",
            "Paused=False Active",
        ]
    );
}

#[test]
fn a_rollout_is_progressing_until_every_pod_is_updated_and_available() {
    for (wanted, ready, updated, available) in [(2, 2, 1, 2), (2, 2, 2, 1), (2, 1, 2, 2)] {
        let deployment = deployment(wanted, ready, updated, available);
        let status = compute(&inputs(Some(&deployment), &[]));
        let expected = if available == 2 && updated == 2 { "False" } else { "True" };
        assert_eq!(of(&status, ConditionType::Progressing).status, expected);
        let expected = if ready == 2 { "True" } else { "False" };
        assert_eq!(of(&status, ConditionType::Available).status, expected, "at least two");
    }
    let mut behind = deployment(2, 2, 2, 2);
    behind.metadata.generation = Some(4);
    let status = compute(&inputs(Some(&behind), &[]));
    assert_eq!(of(&status, ConditionType::Progressing).status, "True");
}

#[test]
fn a_stuck_rollout_or_a_failed_apply_degrades() {
    let mut stuck = deployment(2, 1, 1, 1);
    stuck.data["status"]["conditions"] = json!([{
        "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
        "message": "no progress",
    }]);
    let status = compute(&inputs(Some(&stuck), &[]));
    let degraded = of(&status, ConditionType::Degraded);
    assert_eq!(
        (degraded.reason.as_str(), degraded.message.as_str()),
        ("RolloutStuck", "no progress")
    );

    let degradation = Degradation { reason: "Invalid", message: "spec.x: write y".to_owned() };
    let status =
        compute(&StatusInputs { degradation: Some(degradation), ..inputs(Some(&stuck), &[]) });
    let degraded = of(&status, ConditionType::Degraded);
    assert_eq!((degraded.status.as_str(), degraded.reason.as_str()), ("True", "Invalid"));
}

#[test]
fn a_message_has_no_control_characters_but_line_ends() {
    let message = "spec.x: \u{1b}[2J\nwrite \u{202e}y".to_owned();
    let degradation = Some(Degradation { reason: "Invalid", message });
    let status = compute(&StatusInputs { degradation, ..inputs(None, &[]) });
    let degraded = of(&status, ConditionType::Degraded);
    assert_eq!(degraded.message, "spec.x: \\u{1b}[2J\nwrite \\u{202e}y");
}

#[test]
fn warnings_are_reported_without_degrading() {
    let deployment = deployment(2, 2, 2, 2);
    let warnings = ["a password shows".to_owned(), "no stickiness".to_owned()];
    let status = compute(&StatusInputs { warnings: &warnings, ..inputs(Some(&deployment), &[]) });
    assert_eq!(of(&status, ConditionType::Degraded).status, "False");
    let warned = of(&status, ConditionType::Warnings);
    assert_eq!((warned.status.as_str(), warned.reason.as_str()), ("True", "CheckSettings"));
    assert_eq!(warned.message, "a password shows; no stickiness");
    assert!(status.is_true(ConditionType::Ready));
}

#[test]
fn redis_is_reachable_only_if_every_pod_reports_it() {
    let deployment = deployment(2, 2, 2, 2);
    let pods = [pod("a", Some(0), Some(true)), pod("b", None, Some(false)), pod("c", None, None)];
    let status = compute(&inputs(Some(&deployment), &pods));
    let redis = of(&status, ConditionType::RedisReachable);
    assert_eq!(redis.status, "False");
    assert!(redis.message.ends_with(": b"), "{}", redis.message);
    let status = compute(&StatusInputs { redis: Some(false), ..inputs(Some(&deployment), &[]) });
    assert_eq!(of(&status, ConditionType::RedisReachable).reason, "NotConfigured");
}

#[test]
fn a_condition_keeps_its_last_transition_time_until_it_changes() {
    let two = deployment(2, 2, 2, 2);
    let before = compute(&inputs(Some(&two), &[]));
    let later = Timestamp::from_second(2_000).unwrap();
    let after =
        compute(&StatusInputs { before: Some(&before), now: later, ..inputs(Some(&two), &[]) });
    assert_eq!(after, before, "nothing changed, so nothing is written");

    let none = deployment(2, 0, 2, 0);
    let after =
        compute(&StatusInputs { before: Some(&before), now: later, ..inputs(Some(&none), &[]) });
    let changed = |kind| of(&after, kind).last_transition_time.0 == later;
    assert!(changed(ConditionType::Available) && changed(ConditionType::Progressing));
    assert!(!changed(ConditionType::Degraded));
}

fn failing(name: &str, reason: &str) -> ServerPod {
    let failure = PodFailure { reason: reason.to_owned(), message: "container rookery".to_owned() };
    ServerPod { failure: Some(failure), ready: false, ..pod(name, None, None) }
}

#[test]
fn an_invalid_edit_of_a_running_service_is_not_ready_but_available() {
    let deployment = deployment(2, 2, 2, 2);
    let degradation = Degradation { reason: "Invalid", message: "spec.x: write y".to_owned() };
    let status =
        compute(&StatusInputs { degradation: Some(degradation), ..inputs(Some(&deployment), &[]) });
    for kind in [ConditionType::Ready, ConditionType::Stalled, ConditionType::Degraded] {
        assert_eq!(of(&status, kind).message, "spec.x: write y", "{kind:?}");
    }
    assert!(!status.is_true(ConditionType::Ready) && status.is_true(ConditionType::Stalled));
    assert!(status.is_true(ConditionType::Available), "the last valid state still runs");
    assert!(!status.is_true(ConditionType::Reconciling));
}

#[test]
fn a_failing_pod_is_named_with_its_reason_at_once_and_beside_a_stuck_rollout() {
    let pods = [failing("a", "ImagePullBackOff"), failing("b", "CrashLoopBackOff")];
    let mut rolling = deployment(2, 1, 1, 1);
    let status = compute(&inputs(Some(&rolling), &pods));
    let expected = "pod a: ImagePullBackOff: container rookery (and 1 other pod fails)";
    for kind in [ConditionType::Ready, ConditionType::Stalled, ConditionType::Degraded] {
        let found = of(&status, kind);
        assert_eq!((found.reason.as_str(), found.message.as_str()), ("ImagePullBackOff", expected));
    }
    rolling.data["status"]["conditions"] =
        json!([{ "reason": "ProgressDeadlineExceeded", "message": "timed out" }]);
    let status = compute(&inputs(Some(&rolling), &pods[..1]));
    let stuck = of(&status, ConditionType::Degraded);
    assert_eq!(stuck.reason, "RolloutStuck");
    assert_eq!(stuck.message, "timed out; pod a: ImagePullBackOff: container rookery");
}

#[test]
fn a_service_whose_pods_lost_redis_is_not_ready() {
    let deployment = deployment(2, 2, 2, 2);
    let pods = [pod("a", Some(0), Some(false)), pod("b", Some(0), Some(true))];
    let status = compute(&inputs(Some(&deployment), &pods));
    let ready = of(&status, ConditionType::Ready);
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "RedisUnreachable"));
    assert_eq!(ready.message, "not connected to Redis: a");
}

#[test]
fn autoscaling_without_metrics_degrades_a_service_that_is_ready() {
    let deployment = deployment(2, 2, 2, 2);
    let degradation = Degradation { reason: "MetricsElsewhere", message: "nobody".to_owned() };
    let status =
        compute(&StatusInputs { degradation: Some(degradation), ..inputs(Some(&deployment), &[]) });
    assert!(status.is_true(ConditionType::Degraded) && status.is_true(ConditionType::Ready));
    assert!(!status.is_true(ConditionType::Stalled));
}

#[test]
fn fewer_ready_pods_than_the_minimum_are_not_available() {
    let status =
        compute(&StatusInputs { min_replicas: 3, ..inputs(Some(&deployment(4, 2, 4, 2)), &[]) });
    let available = of(&status, ConditionType::Available);
    assert_eq!((available.status.as_str(), available.reason.as_str()), ("False", "TooFewReady"));
    assert_eq!(available.message, "2 of 4 pods are ready; at least 3 must be");
}

#[test]
fn a_paused_resource_keeps_the_generation_that_was_applied_last() {
    let deployment = deployment(2, 2, 2, 2);
    let before = RookeryStatus { observed_generation: Some(6), ..RookeryStatus::default() };
    let status = compute(&StatusInputs {
        before: Some(&before),
        paused: true,
        ..inputs(Some(&deployment), &[])
    });
    assert_eq!(status.observed_generation, Some(6), "generation 7 is not applied");
    assert!(status.is_true(ConditionType::Paused) && status.is_true(ConditionType::Ready));
}

#[test]
fn image_version_and_selector_are_those_of_the_pods() {
    let mut deployment = deployment(2, 2, 2, 2);
    deployment.data["spec"]["selector"] = json!({ "matchLabels": { "a": "b", "c": "d" } });
    deployment.data["spec"]["template"] =
        json!({ "spec": { "containers": [{ "image": "registry.test/rookery:2" }] } });
    let of = |name: &str, version: &str| ServerPod {
        version: Some(version.into()),
        ..pod(name, Some(1), None)
    };
    let pods = [of("a", "0.2.0"), of("b", "0.1.0"), of("c", "0.2.0")];
    let status = compute(&inputs(Some(&deployment), &pods));
    assert_eq!(status.image, "registry.test/rookery:2");
    assert_eq!(status.version, "0.1.0, 0.2.0");
    assert_eq!(status.selector, "a=b,c=d");
}

#[test]
fn an_event_reports_a_problem_once() {
    let deployment = deployment(2, 1, 2, 1);
    let fine = compute(&inputs(Some(&deployment), &[]));
    let pods = [failing("a", "CrashLoopBackOff")];
    let failing = compute(&inputs(Some(&deployment), &pods));
    assert_eq!(fine.new_problem(None), None);
    assert_eq!(failing.new_problem(Some(&fine)).unwrap().0, "CrashLoopBackOff");
    assert_eq!(failing.new_problem(Some(&failing)), None);
    let with = |reason: &str, message: &str| {
        let mut status = failing.clone();
        let degraded = status.conditions.iter_mut().find(|c| c.type_ == "Degraded").unwrap();
        (degraded.reason, degraded.message) = (reason.to_owned(), message.to_owned());
        status
    };
    assert_eq!(with("CrashLoopBackOff", "again").new_problem(Some(&failing)), None);
    let invalid = with("Invalid", "spec.a: b");
    assert!(invalid.new_problem(Some(&failing)).is_some());
    assert_eq!(
        with("Invalid", "spec.c: d").new_problem(Some(&invalid)),
        Some(("Invalid", "spec.c: d"))
    );
}

#[test]
fn a_pod_that_waits_for_a_node_degrades_nothing_until_the_rollout_is_stuck() {
    let mut rolling = deployment(2, 1, 2, 1);
    let pods = [failing("a", "Unschedulable")];
    let status = compute(&inputs(Some(&rolling), &pods));
    assert_eq!(of(&status, ConditionType::Ready).reason, "Unschedulable");
    assert!(!status.is_true(ConditionType::Stalled) && !status.is_true(ConditionType::Degraded));
    assert!(status.is_true(ConditionType::Reconciling));
    rolling.data["status"]["conditions"] =
        json!([{ "reason": "ProgressDeadlineExceeded", "message": "timed out" }]);
    let status = compute(&inputs(Some(&rolling), &pods));
    let stalled = of(&status, ConditionType::Stalled);
    assert_eq!(stalled.message, "timed out; pod a: Unschedulable: container rookery");
}

#[test]
fn what_the_spec_lacks_comes_before_a_failing_pod() {
    let rolling = deployment(2, 1, 2, 1);
    let pods = [failing("a", "CrashLoopBackOff")];
    let degradation = Some(Degradation { reason: "Contested", message: "x".to_owned() });
    let status = compute(&StatusInputs { degradation, ..inputs(Some(&rolling), &pods) });
    assert_eq!(of(&status, ConditionType::Degraded).reason, "Contested");
    assert_eq!(of(&status, ConditionType::Stalled).reason, "CrashLoopBackOff");
}
