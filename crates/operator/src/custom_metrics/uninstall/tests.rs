use serde_json::{Value, json};

use super::super::fake_cluster::{API_SERVICE, Cluster, DEPLOYMENT, NAMESPACE, ROLE, names};
use super::*;

const DELETED: &str = "2026-03-04T05:06:07Z";

#[tokio::test]
async fn an_installed_operator_keeps_the_apiservice_owned_by_its_cluster_role() {
    let cluster = Cluster::new();
    let found = installation(&cluster.client(), &names()).await.unwrap();
    let Installation::Active(owner) = found else { panic!("{found:?}") };
    assert_eq!((owner.kind.as_str(), owner.uid.as_str()), ("ClusterRole", "role-uid"));
    on_shutdown(&cluster.client(), &names()).await;
    assert!(cluster.claims());
}

#[tokio::test]
async fn the_apiservice_is_removed_when_the_operator_is_uninstalled() {
    type Change = fn(&Cluster);
    let ways: [(&str, Change); 7] = [
        ("namespace", |c| {
            c.edit(NAMESPACE, |o| o["metadata"]["deletionTimestamp"] = DELETED.into());
        }),
        ("namespace", |c| drop(c.objects.lock().remove(NAMESPACE))),
        ("Deployment", |c| {
            c.edit(DEPLOYMENT, |o| o["metadata"]["deletionTimestamp"] = DELETED.into());
        }),
        ("Deployment", |c| drop(c.objects.lock().remove(DEPLOYMENT))),
        ("scaled to 0", |c| c.edit(DEPLOYMENT, |o| o["spec"]["replicas"] = 0.into())),
        ("--cluster-role", |c| drop(c.objects.lock().remove(ROLE))),
        ("ClusterRole", |c| {
            c.edit(ROLE, |o| o["metadata"]["deletionTimestamp"] = DELETED.into());
        }),
    ];
    for (part, way) in ways {
        let cluster = Cluster::new();
        way(&cluster);
        let found = installation(&cluster.client(), &names()).await.unwrap();
        assert!(
            matches!(&found, Installation::Uninstalling(why) if why.contains(part)),
            "{found:?}"
        );
        on_shutdown(&cluster.client(), &names()).await;
        assert!(!cluster.claims(), "{part}");
    }
}

#[tokio::test]
async fn an_apiservice_of_another_owner_is_never_removed() {
    let others: [fn(&mut Value); 2] = [
        |object| object["metadata"]["labels"] = json!({}),
        |object| object["spec"]["service"]["namespace"] = "monitoring".into(),
    ];
    for other in others {
        let cluster = Cluster::new();
        cluster.edit(API_SERVICE, other);
        cluster.objects.lock().remove(DEPLOYMENT);
        on_shutdown(&cluster.client(), &names()).await;
        assert!(cluster.claims());
    }
}

#[tokio::test]
async fn uninstalling_leaves_an_apiservice_that_was_taken_over_without_our_owner_reference() {
    let cluster = Cluster::new();
    cluster.edit(API_SERVICE, |object| object["spec"]["service"]["name"] = "adapter".into());
    cluster.objects.lock().remove(ROLE);
    on_shutdown(&cluster.client(), &names()).await;
    let found = cluster.objects.lock()[API_SERVICE].clone();
    assert_eq!(found["metadata"].get("ownerReferences"), None);
    assert_eq!(found["metadata"]["labels"], json!({}));
    assert_eq!(found["spec"]["service"]["name"], "adapter");
}

#[tokio::test(start_paused = true)]
async fn the_last_available_replica_takes_the_apiservice_along() {
    let with = |status: Value| {
        let cluster = Cluster::new();
        cluster.edit(DEPLOYMENT, |object| object["status"] = status);
        cluster
    };
    for (status, remains) in [
        (json!({"observedGeneration": 1}), false),
        (json!({"observedGeneration": 1, "availableReplicas": 1}), true),
        (json!({"observedGeneration": 1, "availableReplicas": 2}), true),
        (json!({}), true),
    ] {
        let cluster = with(status.clone());
        on_shutdown(&cluster.client(), &names()).await;
        assert_eq!(cluster.claims(), remains, "{status}");
    }
}

#[tokio::test]
async fn denied_access_ends_the_removal() {
    for code in [401, 403] {
        let cluster = Cluster { refuses: Some(code), ..Cluster::new() };
        let within = Duration::from_secs(60);
        remove_if_uninstalling(&cluster.client(), &names()).await;
        let removed = tokio::time::timeout(within, remove(&cluster.client(), &names())).await;
        assert!(removed.is_ok() && cluster.claims());
    }
}
