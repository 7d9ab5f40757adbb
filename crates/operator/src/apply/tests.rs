use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::*;

fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).unwrap()
}

fn service(hash: &str, port: u16) -> DynamicObject {
    object(json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "chat", "annotations": { names::APPLIED: hash } },
        "spec": { "ports": [{ "port": port }], "selector": { "a": "b" } },
    }))
}

#[test]
fn fields_that_the_cluster_defaults_do_not_count_as_a_difference() {
    let mut there = service("1", 80);
    there.data["spec"]["clusterIP"] = json!("10.0.0.1");
    there.data["spec"]["ports"][0]["protocol"] = json!("TCP");
    there.annotations_mut().insert("other".to_owned(), "x".to_owned());
    assert!(matches_desired(&service("1", 80), &there));
}

#[test]
fn every_hand_edit_is_a_difference() {
    let edits: [fn(&mut DynamicObject); 6] = [
        |o| o.data["spec"]["selector"]["c"] = json!("d"),
        |o| o.data["spec"]["ports"][0]["port"] = json!(81),
        |o| o.data["spec"]["ports"] = json!([{ "port": 80 }, { "port": 81 }]),
        |o| o.data["spec"]["selector"] = json!({}),
        |o| o.metadata.annotations = None,
        |o| o.data["spec"] = Value::Null,
    ];
    for edit in edits {
        let mut there = service("1", 80);
        edit(&mut there);
        assert!(!matches_desired(&service("1", 80), &there), "{there:?}");
    }
    assert!(!matches_desired(&service("2", 80), &service("1", 80)), "applied from another");
}

#[test]
fn an_item_added_to_a_list_is_removed() {
    let desired = service("1", 80).data;
    let mut there = desired.clone();
    there["spec"]["ports"][0]["protocol"] = json!("TCP");
    assert_eq!(removal_patch(&desired, &there), None);
    there["spec"]["ports"].as_array_mut().unwrap().push(json!({ "port": 81 }));
    let patch = json!({ "spec": { "ports": [{ "port": 80 }] } });
    assert_eq!(removal_patch(&desired, &there), Some(patch));
}

#[test]
fn a_file_added_to_a_config_map_is_removed() {
    let config_map = |data: Value| {
        object(json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "chat" },
            "data": data,
        }))
    };
    let desired = config_map(json!({ "rookery.yaml": "a" }));
    let there = config_map(json!({ "rookery.yaml": "a", "more": "b" }));
    assert!(!matches_desired(&desired, &there));
    let patch = json!({ "data": { "more": null } });
    assert_eq!(removal_patch(&desired.data, &there.data), Some(patch));
    assert_eq!(removal_patch(&desired.data, &desired.data), None);
}

#[test]
fn fields_that_are_never_applied_are_removed() {
    let desired = object(json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "chat" },
        "spec": { "template": { "spec": { "containers": [] } } },
    }));
    let mut there = desired.clone();
    there.data["spec"]["paused"] = json!(false);
    assert!(matches_desired(&desired, &there));
    there.data["spec"]["paused"] = json!(true);
    there.data["spec"]["template"]["spec"]["hostNetwork"] = json!(true);
    assert!(!matches_desired(&desired, &there));
    let patch = json!({
        "spec": { "paused": null, "template": { "spec": { "hostNetwork": null } } },
    });
    assert_eq!(removal_patch(&desired.data, &there.data), Some(patch));
}

#[test]
fn an_object_of_another_owner_is_left_alone() {
    let mut there = service("1", 80);
    assert!(!is_owned_by_another(&there, "a"));
    let owner = |uid: &str| OwnerReference { uid: uid.to_owned(), ..OwnerReference::default() };
    there.metadata.owner_references = Some(vec![owner("b")]);
    assert!(is_owned_by_another(&there, "a"));
    there.metadata.owner_references = Some(vec![owner("b"), owner("a")]);
    assert!(!is_owned_by_another(&there, "a"));
}

#[test]
fn an_object_being_deleted_is_applied_again() {
    let mut there = service("1", 80);
    let long_ago = k8s_openapi::jiff::Timestamp::UNIX_EPOCH;
    there.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(long_ago));
    assert!(!matches_desired(&service("1", 80), &there));
}

#[test]
fn pods_are_replaced_where_what_was_built_has_another_template() {
    let deployment = |hash: &str, image: &str, surge: u32| {
        object(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "chat", "annotations": { names::APPLIED: hash } },
            "spec": { "strategy": surge, "template": { "containers": [{ "image": image }] } },
        }))
    };
    let mut there = deployment("1", "a", 1);
    there.data["spec"]["template"]["dnsPolicy"] = json!("ClusterFirst");
    assert!(!replaces_pods(&deployment("1", "a", 1), &there));
    assert!(!replaces_pods(&deployment("2", "a", 2), &there), "only the strategy is another");
    assert!(replaces_pods(&deployment("2", "b", 1), &there));
    assert!(!replaces_pods(&deployment("1", "b", 1), &there), "somebody edited it");
}
