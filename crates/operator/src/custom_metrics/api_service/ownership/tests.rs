use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::json;

use super::super::object::desired;
use super::*;

fn names() -> ObjectNames {
    ObjectNames {
        namespace: "system".into(),
        service: "rookery-operator".into(),
        deployment: "rookery-operator".into(),
        cluster_role: "rookery-operator".into(),
    }
}

fn wanted() -> APIService {
    desired(&names(), OwnerReference::default(), "bundle".into())
}

fn of(name: &str, version: &str, service: &str) -> APIService {
    let mut found = wanted();
    found.metadata.name = Some(name.into());
    found.metadata.labels = None;
    let spec = found.spec.as_mut().unwrap();
    spec.version = Some(version.into());
    spec.service.as_mut().unwrap().name = Some(service.into());
    found
}

fn seen(all: impl IntoIterator<Item = APIService>) -> BTreeMap<String, APIService> {
    all.into_iter().map(|found| (found.name_any(), found)).collect()
}

#[test]
fn a_free_group_is_claimed_and_kept_up_to_date() {
    assert_eq!(next_action(&seen([]), &wanted(), &names()), Action::Create);
    assert_eq!(next_action(&seen([wanted()]), &wanted(), &names()), Action::UpToDate(&wanted()));
    let mut edited = wanted();
    edited.spec.as_mut().unwrap().group_priority_minimum = 7;
    let all = seen([edited.clone()]);
    assert_eq!(next_action(&all, &wanted(), &names()), Action::Update(&edited));
    let rotated = desired(&names(), OwnerReference::default(), "other bundle".into());
    let all = seen([wanted()]);
    assert_eq!(next_action(&all, &rotated, &names()), Action::Update(&wanted()));
}

#[test]
fn any_version_of_another_owner_is_left_alone_and_ours_is_deleted() {
    let other = of("v1beta1.custom.metrics.k8s.io", "v1beta1", "adapter");
    let all = seen([other.clone()]);
    let service = "system/adapter".to_owned();
    let action = Action::Yield { service: service.clone(), ours: None, taken: None };
    assert_eq!(next_action(&all, &wanted(), &names()), action);
    let all = seen([other, wanted()]);
    let action = Action::Yield { service, ours: Some(&all[NAME]), taken: None };
    assert_eq!(next_action(&all, &wanted(), &names()), action);
}

#[test]
fn an_apiservice_taken_over_by_another_is_not_taken_back() {
    let mut taken = of(NAME, "v1beta2", "adapter");
    taken.metadata.labels = wanted().metadata.labels;
    let all = seen([taken.clone()]);
    let taken = Some(&all[NAME]);
    let action = Action::Yield { service: "system/adapter".into(), ours: None, taken };
    assert_eq!(next_action(&all, &wanted(), &names()), action);
    let mut unlabelled = of(NAME, "v1beta2", "rookery-operator");
    unlabelled.metadata.owner_references = None;
    let all = seen([unlabelled]);
    let action = next_action(&all, &wanted(), &names());
    assert!(matches!(action, Action::Yield { ours: None, taken: None, .. }), "{action:?}");
}

#[test]
fn what_is_released_loses_our_metadata_and_nothing_else() {
    let mut taken = of(NAME, "v1beta2", "adapter");
    let ours = OwnerReference {
        kind: "ClusterRole".into(),
        name: names().cluster_role,
        uid: "gone already".into(),
        ..OwnerReference::default()
    };
    let theirs = OwnerReference { name: "adapter".into(), ..ours.clone() };
    taken.metadata.owner_references = Some(vec![ours.clone(), theirs.clone()]);
    taken.metadata.resource_version = Some("7".into());
    let labels = [(names::MANAGED_BY, names::MANAGER), (names::NAME, "adapter"), ("a", "b")];
    taken.metadata.labels = Some(labels.map(|(k, v)| (k.into(), v.into())).into());
    assert!(is_taken(&taken, &names()));
    let patch = release_patch(&taken, &names());
    assert_eq!(
        patch,
        json!({"metadata": {
            "uid": null,
            "resourceVersion": "7",
            "ownerReferences": [theirs],
            "labels": {(names::MANAGED_BY): null},
        }})
    );
    taken.metadata.owner_references = Some(vec![ours]);
    taken.metadata.labels = Some([("a".into(), "b".into())].into());
    assert!(is_taken(&taken, &names()), "the owner reference alone deletes it");
    assert_eq!(release_patch(&taken, &names())["metadata"]["ownerReferences"], Value::Null);
    taken.metadata.owner_references = Some(vec![theirs]);
    assert!(!is_taken(&taken, &names()));
}

#[test]
fn an_apiservice_of_an_earlier_installation_is_taken_over() {
    let mut left = wanted();
    left.spec.as_mut().unwrap().service.as_mut().unwrap().namespace = Some("old".into());
    let conditions = json!([{
        "type": "Available", "status": "False", "reason": "ServiceNotFound",
    }]);
    left.status = Some(serde_json::from_value(json!({"conditions": conditions})).unwrap());
    left.metadata.managed_fields = Some(vec![writer(names::MANAGER)]);
    let all = seen([left.clone()]);
    assert_eq!(next_action(&all, &wanted(), &names()), Action::Update(&left));
}

/// A manager of the field `spec.service.name`.
fn writer(manager: &str) -> ManagedFieldsEntry {
    let fields = json!({"f:spec": {"f:service": {"f:name": {}}}});
    serde_json::from_value(json!({"manager": manager, "operation": "Update", "fieldsV1": fields}))
        .unwrap()
}

#[test]
fn an_apiservice_that_routes_to_a_server_which_does_not_exist_yet_is_not_taken_back() {
    for writers in [vec![writer("kubectl")], vec![writer(names::MANAGER), writer("helm")], vec![]] {
        let mut taken = wanted();
        taken.spec.as_mut().unwrap().service.as_mut().unwrap().name = Some("adapter".into());
        let conditions = json!([{
            "type": "Available", "status": "False", "reason": "ServiceNotFound",
        }]);
        taken.status = Some(serde_json::from_value(json!({"conditions": conditions})).unwrap());
        taken.metadata.managed_fields = Some(writers);
        let all = seen([taken.clone()]);
        let action = next_action(&all, &wanted(), &names());
        assert!(matches!(action, Action::Yield { ours: None, taken: Some(_), .. }), "{action:?}");
    }
}

#[test]
fn an_unreachable_apiservice_is_reported_after_a_grace_period() {
    let mut ours = wanted();
    let at = |second| Timestamp::from_second(second).unwrap();
    assert_eq!(availability(&ours, at(0)), Serving::Ours);
    let conditions = json!([{
        "type": "Available", "status": "False", "message": "timeout",
        "lastTransitionTime": "1970-01-01T00:00:10Z",
    }]);
    ours.status = Some(serde_json::from_value(json!({"conditions": conditions})).unwrap());
    assert!(matches!(availability(&ours, at(20)), Serving::Off { .. }), "it may take a while");
    let told = Serving::Unreachable { message: "timeout".into() };
    assert_eq!(availability(&ours, at(30)), told);
}

#[test]
fn the_apiservice_of_another_rookery_operator_is_left_as_it_is() {
    let mut other = of(NAME, "v1beta2", "canary");
    other.metadata.labels = wanted().metadata.labels;
    other.metadata.owner_references = Some(vec![OwnerReference {
        kind: ClusterRole::KIND.into(),
        name: "canary-metrics-api".into(),
        ..OwnerReference::default()
    }]);
    let all = seen([other]);
    let action = Action::Yield { service: "system/canary".into(), ours: None, taken: None };
    assert_eq!(next_action(&all, &wanted(), &names()), action);
}
