use super::*;

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
        read_at: None,
        deletion_cost: None,
    }
}

fn inputs<'a>(deployment: Option<&'a DynamicObject>, pods: &'a [ServerPod]) -> StatusInputs<'a> {
    StatusInputs {
        generation: Some(7),
        before: None,
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
            "Available=True Serving",
            "Progressing=False RolledOut",
            "Degraded=False AsAsked",
            "RedisReachable=True Connected",
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
            "Available=False NoPodReady",
            "Progressing=True RollingOut",
            "Degraded=False AsAsked",
            "RedisReachable=Unknown NoAnswer",
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
        assert_eq!(of(&status, ConditionType::Available).status, "True");
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
    assert_eq!(of(&status, ConditionType::Available).status, "True", "the last good state stays");
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
    let degraded = of(&status, ConditionType::Degraded);
    assert_eq!((degraded.status.as_str(), degraded.reason.as_str()), ("False", "Warnings"));
    assert_eq!(degraded.message, "a password shows; no stickiness");
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
