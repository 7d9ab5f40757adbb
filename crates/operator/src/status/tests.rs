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

fn pod(name: &str, connections: Option<u64>, redis_up: Option<bool>) -> PodCount {
    PodCount {
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

fn seen<'a>(deployment: Option<&'a DynamicObject>, pods: &'a [PodCount]) -> Seen<'a> {
    Seen {
        generation: Some(7),
        before: None,
        deployment,
        pods,
        redis: Some(true),
        warnings: &[],
        trouble: None,
        now: Timestamp::from_second(1_000).unwrap(),
    }
}

fn of(status: &RookeryStatus, kind: ConditionType) -> &Condition {
    status.conditions.iter().find(|c| c.type_ == kind.name()).unwrap()
}

/// Status and reason of Available, Progressing, Degraded and RedisReachable.
fn verdicts(status: &RookeryStatus) -> Vec<String> {
    status.conditions.iter().map(|c| format!("{}={} {}", c.type_, c.status, c.reason)).collect()
}

#[test]
fn a_service_that_runs() {
    let deployment = deployment(2, 2, 2, 2);
    let pods = [pod("a", Some(3), Some(true)), pod("b", Some(4), Some(true))];
    let status = status(&seen(Some(&deployment), &pods));
    assert_eq!((status.replicas, status.ready_replicas, status.connections), (2, 2, 7));
    assert_eq!(status.ready, "2/2");
    assert_eq!(status.observed_generation, Some(7));
    assert_eq!(
        verdicts(&status),
        [
            "Available=True Serving",
            "Progressing=False RolledOut",
            "Degraded=False AsAsked",
            "RedisReachable=True Connected",
        ]
    );
}

#[test]
fn one_without_a_deployment_yet() {
    let status = status(&seen(None, &[]));
    assert_eq!(status.ready, "0/0");
    assert_eq!(
        verdicts(&status),
        [
            "Available=False NoPodReady",
            "Progressing=True RollingOut",
            "Degraded=False AsAsked",
            "RedisReachable=Unknown NoAnswer",
        ]
    );
}

#[test]
fn a_rollout_goes_on_until_every_pod_is_new_and_has_been_ready_for_long_enough() {
    for (wanted, ready, updated, available) in [(2, 2, 1, 2), (2, 2, 2, 1), (2, 1, 2, 2)] {
        let deployment = deployment(wanted, ready, updated, available);
        let status = status(&seen(Some(&deployment), &[]));
        let expected = if available == 2 && updated == 2 { "False" } else { "True" };
        assert_eq!(of(&status, ConditionType::Progressing).status, expected);
        assert_eq!(of(&status, ConditionType::Available).status, "True");
    }
    let mut behind = deployment(2, 2, 2, 2);
    behind.metadata.generation = Some(4);
    let status = status(&seen(Some(&behind), &[]));
    assert_eq!(of(&status, ConditionType::Progressing).status, "True");
}

#[test]
fn a_stuck_rollout_and_a_trouble_degrade() {
    let mut stuck = deployment(2, 1, 1, 1);
    stuck.data["status"]["conditions"] = json!([{
        "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
        "message": "no progress",
    }]);
    let told = status(&seen(Some(&stuck), &[]));
    let degraded = of(&told, ConditionType::Degraded);
    assert_eq!(
        (degraded.reason.as_str(), degraded.message.as_str()),
        ("RolloutStuck", "no progress")
    );

    let trouble = Trouble { reason: "Invalid", message: "spec.x: write y".to_owned() };
    let told = status(&Seen { trouble: Some(trouble), ..seen(Some(&stuck), &[]) });
    let degraded = of(&told, ConditionType::Degraded);
    assert_eq!((degraded.status.as_str(), degraded.reason.as_str()), ("True", "Invalid"));
    assert_eq!(of(&told, ConditionType::Available).status, "True", "the last good state stays");
}

#[test]
fn warnings_are_told_and_degrade_nothing() {
    let deployment = deployment(2, 2, 2, 2);
    let warnings = ["a password shows".to_owned(), "no stickiness".to_owned()];
    let told = status(&Seen { warnings: &warnings, ..seen(Some(&deployment), &[]) });
    let degraded = of(&told, ConditionType::Degraded);
    assert_eq!((degraded.status.as_str(), degraded.reason.as_str()), ("False", "Warnings"));
    assert_eq!(degraded.message, "a password shows; no stickiness");
}

#[test]
fn redis_is_as_the_pods_say() {
    let deployment = deployment(2, 2, 2, 2);
    let pods = [pod("a", Some(0), Some(true)), pod("b", None, Some(false)), pod("c", None, None)];
    let told = status(&seen(Some(&deployment), &pods));
    let redis = of(&told, ConditionType::RedisReachable);
    assert_eq!(redis.status, "False");
    assert!(redis.message.ends_with(": b"), "{}", redis.message);
    let told = status(&Seen { redis: Some(false), ..seen(Some(&deployment), &[]) });
    assert_eq!(of(&told, ConditionType::RedisReachable).reason, "NotConfigured");
}

#[test]
fn a_condition_keeps_the_time_of_its_last_change() {
    let two = deployment(2, 2, 2, 2);
    let before = status(&seen(Some(&two), &[]));
    let later = Timestamp::from_second(2_000).unwrap();
    let after = status(&Seen { before: Some(&before), now: later, ..seen(Some(&two), &[]) });
    assert_eq!(after, before, "nothing changed, so nothing is written");

    let none = deployment(2, 0, 2, 0);
    let after = status(&Seen { before: Some(&before), now: later, ..seen(Some(&none), &[]) });
    let changed = |kind| of(&after, kind).last_transition_time.0 == later;
    assert!(changed(ConditionType::Available) && changed(ConditionType::Progressing));
    assert!(!changed(ConditionType::Degraded));
}
