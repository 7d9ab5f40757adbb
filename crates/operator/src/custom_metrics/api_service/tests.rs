use serde_json::{Value, json};

use super::super::fake_cluster::{API_SERVICE, Cluster, names};
use super::*;

fn controller(cluster: &Cluster) -> ApiServiceController {
    let serving = watch::Sender::new(Serving::Off { reason: "unknown".to_owned() });
    ApiServiceController {
        client: cluster.client(),
        names: Arc::new(names()),
        serving,
        seen: BTreeMap::new(),
        listed: true,
    }
}

/// Delivers the APIServices of the cluster to the controller, and returns what it then reports.
async fn check(
    controller: &mut ApiServiceController,
    cluster: &Cluster,
    is_ready: bool,
) -> Serving {
    controller.seen.clear();
    let found: Vec<Value> = cluster.objects.lock().values().cloned().collect();
    for object in found {
        if let Ok(found) = serde_json::from_value::<APIService>(object) {
            controller.apply_event(Event::Apply(found));
        }
    }
    let api = Api::all(cluster.client());
    controller.check(&api, "bundle".to_owned(), is_ready).await.unwrap();
    controller.serving.borrow().clone()
}

/// The APIService of another adapter, as its chart applies it.
fn other(version: &str) -> Value {
    json!({
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": format!("{version}.custom.metrics.k8s.io"), "uid": "theirs"},
        "spec": {
            "group": "custom.metrics.k8s.io", "version": version,
            "groupPriorityMinimum": 100, "versionPriority": 100,
            "service": {"namespace": "custom-metrics", "name": "adapter"},
        },
    })
}

fn path(version: &str) -> String {
    API_SERVICE.replace("v1beta2", version)
}

#[tokio::test]
async fn another_adapter_keeps_the_group_in_either_order_of_installation() {
    for version in ["v1beta1", "v1beta2"] {
        // Theirs first: ours is never created.
        let cluster = Cluster::new();
        cluster.objects.lock().remove(API_SERVICE);
        cluster.objects.lock().insert(path(version), other(version));
        let mut controller = controller(&cluster);
        let foreign = Serving::Foreign { service: "custom-metrics/adapter".to_owned() };
        assert_eq!(check(&mut controller, &cluster, true).await, foreign);
        assert_eq!(cluster.objects.lock()[&path(version)], other(version));
        let names: Vec<String> =
            cluster.objects.lock().keys().filter(|p| p.contains("apiservices")).cloned().collect();
        assert_eq!(names, [path(version)]);
    }
    // Ours first: ours is removed, theirs stays.
    let cluster = Cluster::new();
    cluster.objects.lock().insert(path("v1beta1"), other("v1beta1"));
    let mut controller = controller(&cluster);
    assert!(matches!(check(&mut controller, &cluster, true).await, Serving::Foreign { .. }));
    assert!(!cluster.claims());
    assert_eq!(cluster.objects.lock()[&path("v1beta1")], other("v1beta1"));
}

#[tokio::test]
async fn a_takeover_of_our_apiservice_strips_what_we_wrote_and_changes_nothing_else() {
    let cluster = Cluster::new();
    cluster.edit(API_SERVICE, |object| {
        let ours = object["metadata"].clone();
        *object = other("v1beta2");
        object["metadata"] = ours;
        object["metadata"]["labels"]["app"] = "adapter".into();
        object["metadata"]["resourceVersion"] = "5".into();
    });
    let mut controller = controller(&cluster);
    assert!(matches!(check(&mut controller, &cluster, true).await, Serving::Foreign { .. }));
    let found = cluster.objects.lock()[API_SERVICE].clone();
    assert_eq!(found["metadata"].get("ownerReferences"), None);
    assert_eq!(found["metadata"]["labels"], json!({"app": "adapter"}));
    assert_eq!(found["spec"], other("v1beta2")["spec"]);
    check(&mut controller, &cluster, true).await;
    assert_eq!(cluster.objects.lock()[API_SERVICE], found);
}

#[tokio::test]
async fn an_apiservice_that_changed_after_it_was_seen_is_not_deleted() {
    let cluster = Cluster::new();
    let seen: APIService =
        serde_json::from_value(cluster.objects.lock()[API_SERVICE].clone()).unwrap();
    let mut seen = seen;
    seen.metadata.resource_version = Some("4".to_owned());
    cluster.edit(API_SERVICE, |object| object["metadata"]["resourceVersion"] = "5".into());
    let api = Api::all(cluster.client());
    assert!(is_conflict(&delete(&api, &seen).await.unwrap_err()));
    assert!(cluster.claims());
    remove(&cluster.client(), &names()).await.unwrap();
    assert!(!cluster.claims());
}

#[tokio::test]
async fn the_apiservice_is_created_only_once_this_replica_can_serve_it() {
    let cluster = Cluster::new();
    cluster.objects.lock().remove(API_SERVICE);
    let mut controller = controller(&cluster);
    assert!(matches!(check(&mut controller, &cluster, false).await, Serving::Off { .. }));
    assert!(!cluster.claims());
    assert_eq!(check(&mut controller, &cluster, true).await, Serving::Ours);
    assert!(cluster.claims());
}
