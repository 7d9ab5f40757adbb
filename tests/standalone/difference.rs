//! The difference between the chart's own objects and the operator's.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::release::Object;

/// Who manages an object: `Helm` or `rookery-operator`.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// Where the two differ, a line each. What may differ, and is left out of the comparison:
///
/// - the label `helm.sh/chart`, and the value of `app.kubernetes.io/managed-by`;
/// - the operator's annotations `rookery.dev/applied` and `rookery.dev/redis`;
/// - the value of `rookery.dev/config-checksum`: each hashes its own text of the configuration, and another
///   test sees that both change together;
/// - how the ConfigMap's YAML is written;
/// - `replicas` of the Deployment, which the operator applies apart from the rest;
/// - the autoscaler: the chart has none where there is nothing to scale, a ScaledObject in its place
///   where KEDA scales, and no number of connections in it where only the CPU is followed.
pub fn difference(
    found: &BTreeMap<String, Object>,
    expected: &BTreeMap<String, Object>,
) -> Vec<String> {
    let mut problems = Vec::new();
    let names: BTreeSet<_> = found.keys().chain(expected.keys()).collect();
    for name in names {
        match (found.get(name), expected.get(name)) {
            (Some(found), Some(expected)) => {
                let (mut found, mut expected) = (comparable(found), comparable(expected));
                if found["kind"] == "HorizontalPodAutoscaler" {
                    follow_the_same(&mut found, &mut expected);
                }
                compare(name, &found, &expected, &mut problems);
            }
            (Some(_), None) if name.starts_with("ScaledObject ") => {}
            (None, Some(_)) if name.starts_with("HorizontalPodAutoscaler ") => {}
            (Some(_), None) => problems.push(format!("{name} is only the chart's")),
            _ => problems.push(format!("{name} is only the operator's")),
        }
    }
    problems
}

fn comparable(object: &Object) -> Value {
    let mut value = object.value.clone();
    remove(&mut value, "/metadata/labels", "helm.sh/chart");
    remove(&mut value, "/metadata/labels", MANAGED_BY);
    remove(&mut value, "/metadata/annotations", "rookery.dev/applied");
    remove(&mut value, "/metadata/annotations", "rookery.dev/redis");
    if value["metadata"]["annotations"].as_object().is_some_and(serde_json::Map::is_empty) {
        remove(&mut value, "/metadata", "annotations");
    }
    if value["kind"] == "Deployment" {
        remove(&mut value, "/spec", "replicas");
        remove(&mut value, "/spec/template/metadata/labels", MANAGED_BY);
        let annotations = &mut value["spec"]["template"]["metadata"]["annotations"];
        let checksum = annotations["rookery.dev/config-checksum"].take();
        assert_eq!(checksum.as_str().map(str::len), Some(32), "{checksum}");
    }
    if value["kind"] == "ConfigMap" {
        let text = value["data"]["rookery.yaml"].take();
        value["data"]["rookery.yaml"] = serde_saphyr::from_str(text.as_str().unwrap()).unwrap();
    }
    value
}

fn follow_the_same(found: &mut Value, expected: &mut Value) {
    let metrics = |of: &mut Value| of["spec"]["metrics"].as_array().unwrap().clone();
    let chosen = metrics(found);
    if chosen.len() == 1 && chosen[0]["type"] == "ContainerResource" {
        let all = metrics(expected);
        expected["spec"]["metrics"] =
            all.into_iter().filter(|metric| metric["type"] != "Pods").collect();
    }
}

fn remove(value: &mut Value, at: &str, key: &str) {
    if let Some(map) = value.pointer_mut(at).and_then(Value::as_object_mut) {
        map.remove(key);
    }
}

fn compare(at: &str, found: &Value, expected: &Value, problems: &mut Vec<String>) {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            let keys: BTreeSet<_> = found.keys().chain(expected.keys()).collect();
            for key in keys {
                let of = |map: &serde_json::Map<_, _>| map.get(key).cloned().unwrap_or_default();
                compare(&format!("{at}.{key}"), &of(found), &of(expected), problems);
            }
        }
        (Value::Array(found), Value::Array(expected)) if found.len() == expected.len() => {
            for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
                compare(&format!("{at}[{i}]"), found, expected, problems);
            }
        }
        _ if found == expected => {}
        _ => problems.push(format!("{at}: the chart has {found}, the operator {expected}")),
    }
}
