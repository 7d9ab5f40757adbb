use serde_json::json;

use super::super::fake_cluster::{API_SERVICE, Cluster, names};
use super::*;

const SECRET: &str = "/api/v1/namespaces/system/secrets/rookery-operator-metrics-api";

fn cluster() -> Cluster {
    let cluster = Cluster::new();
    cluster.objects.lock().insert(SECRET.to_owned(), json!({"metadata": {"name": "certificates"}}));
    cluster
}

#[tokio::test]
async fn what_an_earlier_run_left_is_removed() {
    let cluster = cluster();
    remove(&cluster.client(), &names()).await.unwrap();
    assert!(!cluster.claims() && !cluster.objects.lock().contains_key(SECRET));
    remove(&cluster.client(), &names()).await.unwrap();
}

#[tokio::test]
async fn the_apiservice_of_another_server_stays() {
    let cluster = cluster();
    cluster.edit(API_SERVICE, |object| {
        object["spec"]["service"]["name"] = "adapter".into();
        object["metadata"]["labels"] = json!({"app": "adapter"});
        object["metadata"].as_object_mut().unwrap().remove("ownerReferences");
    });
    let before = cluster.objects.lock()[API_SERVICE].clone();
    remove(&cluster.client(), &names()).await.unwrap();
    assert_eq!(cluster.objects.lock()[API_SERVICE], before);
}

#[tokio::test]
async fn a_denial_ends_the_removal() {
    let cluster = Cluster { refuses: Some(403), ..cluster() };
    remove(&cluster.client(), &names()).await.unwrap();
    let cluster = Cluster { refuses: Some(500), ..cluster };
    assert!(remove(&cluster.client(), &names()).await.is_err());
}
