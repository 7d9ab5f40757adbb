use serde_json::json;

use super::{ALL, build, built, find, validated};
use crate::build::Capabilities;
use crate::crd::Rookery;
use crate::validate::{Defaults, validate};

#[test]
fn keda_gets_a_scaled_object_in_place_of_the_autoscaler() {
    let spec = "{ redis: { url: 'redis://r' }, autoscaling: { metrics: keda, connectionsPerPod: 50,\n\
                outboxBytes: 1000, cpuUtilization: 80, stabilization: 90s } }";
    let objects = built(spec);
    let kinds: Vec<_> = objects.iter().filter_map(|o| o.types.as_ref()).map(|t| &t.kind).collect();
    assert!(!kinds.iter().any(|kind| *kind == "HorizontalPodAutoscaler"), "{kinds:?}");
    let built = &find(&objects, "ScaledObject", "chat")["spec"];
    assert_eq!(built["scaleTargetRef"]["name"], "chat");
    assert_eq!((&built["minReplicaCount"], &built["maxReplicaCount"]), (&json!(2), &json!(10)));
    assert_eq!(
        built["triggers"],
        json!([
            { "type": "external", "metricType": "AverageValue", "metadata": {
                "scalerAddress": "rookery-operator-scaler.operators.svc:9090",
                "rookery": "chat", "connectionsPerPod": "50", "outboxBytes": "1000",
            }},
            { "type": "cpu", "metricType": "Utilization", "metadata": {
                "value": "80", "containerName": "rookery",
            }},
        ])
    );
    let behavior = &built["advanced"]["horizontalPodAutoscalerConfig"]["behavior"];
    assert_eq!(behavior["scaleDown"]["stabilizationWindowSeconds"], 90);
    let without = build(&validated(spec), &Capabilities::default());
    assert_eq!(without.len(), kinds.len() - 4, "nor the three kinds of the Prometheus operator");
}

#[test]
fn the_autoscaler_follows_deliveries_and_outboxes_where_asked() {
    let spec = "autoscaling: { connectionsPerPod: 2000000000, deliveriesPerSecond: 30000, \
                outboxBytes: 67108864, cpuUtilization: 80 }\n\
                config: { limits: { connections: 2000000000 } }";
    let hpa = find(&built(spec), "HorizontalPodAutoscaler", "chat");
    let metrics = hpa["spec"]["metrics"].as_array().unwrap();
    let pods: Vec<_> = metrics
        .iter()
        .filter(|metric| metric["type"] == "Pods")
        .map(|metric| {
            let pods = &metric["pods"];
            let name = pods["metric"]["name"].as_str().unwrap();
            (name, pods["target"]["averageValue"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        pods,
        [
            ("rookery_connections", "2G"),
            ("rookery_deliveries_per_second", "30k"),
            ("rookery_outbox_bytes", "67108864"),
        ]
    );
    assert_eq!(metrics[3]["type"], "ContainerResource");
}

#[test]
fn without_an_operator_there_is_a_warning_that_keda_has_nobody_to_ask() {
    let spec = "autoscaling: { metrics: keda }";
    let is_told = |warnings: &[String]| warnings.iter().any(|text| text.contains("ScaledObject"));
    assert!(!is_told(&validated(spec).warnings));
    let mut resource = Rookery::new("chat", serde_saphyr::from_str(spec).unwrap());
    resource.spec.config.0.insert("auth".to_owned(), json!({ "anonymous": true }));
    let defaults = Defaults { image: "x".to_owned(), ..Defaults::default() };
    let validated = validate(&resource, &defaults).unwrap();
    assert!(is_told(&validated.warnings));
    let kinds: Vec<_> = build(&validated, &ALL).into_iter().filter_map(|o| o.types).collect();
    assert!(!kinds.iter().any(|types| types.kind == "ScaledObject"), "{kinds:?}");
}
