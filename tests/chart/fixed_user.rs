//! Which user the pods have.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{helm_is_missing, objects, succeeded, template, template_of};

/// What pods an object has, or is.
fn pod(object: &Value) -> Option<&Value> {
    match object["kind"].as_str() {
        Some("Pod") => Some(&object["spec"]),
        _ => object.pointer("/spec/template/spec"),
    }
}

#[test]
fn without_a_fixed_user_the_cluster_chooses_that_of_every_pod() {
    if helm_is_missing() {
        return;
    }
    let service = "anonymous=true,redis.demo=true";
    let standalone =
        "anonymous=true,redis.demo=true,rookery.standalone=true,autoscaling.enabled=false";
    let mut seen = BTreeSet::new();
    for (chart, sets) in [
        ("rookery", format!("{service},fixedUser=false")),
        ("rookery", format!("{service},podTemplate.fixedUser=false")),
        ("rookery", format!("{standalone},fixedUser=false")),
        ("rookery-operator", "fixedUser=false".to_owned()),
    ] {
        for object in objects(&succeeded(&template_of(chart, "chat", &["--set", &sets]))) {
            if object["kind"] == "Rookery" {
                assert_eq!(object["spec"]["podTemplate"]["fixedUser"], false, "{sets}");
            }
            let Some(pod) = pod(&object) else { continue };
            let (kind, name) = (object["kind"].as_str().unwrap(), &object["metadata"]["name"]);
            seen.insert(format!("{kind} {}", name.as_str().unwrap()));
            let said = pod.to_string();
            for field in ["runAsUser", "runAsGroup", "fsGroup"] {
                assert!(!said.contains(field), "{sets}: {field} of {kind} {name}");
            }
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{kind} {name}");
        }
    }
    for name in [
        "Pod chat-doctor",
        "Deployment chat-redis",
        "Deployment chat",
        "Deployment chat-rookery-operator",
    ] {
        assert!(seen.contains(name), "{seen:?}");
    }
    let own = format!("{service},fixedUser=false,podTemplate.fixedUser=true");
    let objects = objects(&succeeded(&template(&["--set", &own])));
    let redis = objects
        .iter()
        .filter(|object| pod(object).is_some())
        .find(|object| object["metadata"]["name"] == "chat-redis");
    assert_eq!(pod(redis.unwrap()).unwrap()["securityContext"]["runAsUser"], 65532);
}
