use std::collections::BTreeMap;
use std::convert::Infallible;

use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::*;

const NAMESPACE: &str = "/api/v1/namespaces/system";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/system/deployments/operator";
const ROLE: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles/operator-role";
const API_SERVICE: &str =
    "/apis/apiregistration.k8s.io/v1/apiservices/v1beta2.custom.metrics.k8s.io";

/// Objects by path. A delete succeeds only with the uid of the object as its precondition.
#[derive(Clone)]
struct Cluster {
    objects: Arc<Mutex<BTreeMap<String, Value>>>,
    refuses: Option<u16>,
}

impl Cluster {
    /// An installed operator whose APIService exists.
    fn new() -> Self {
        let label = json!({"app.kubernetes.io/managed-by": "rookery-operator"});
        let service = json!({"namespace": "system", "name": "operator-service", "port": 443});
        let objects = [
            (NAMESPACE, json!({"metadata": {"name": "system"}})),
            (
                DEPLOYMENT,
                json!({
                    "metadata": {"name": "operator"},
                    "spec": {"replicas": 2, "selector": {}, "template": {}},
                }),
            ),
            (ROLE, json!({"metadata": {"name": "operator-role", "uid": "role-uid"}})),
            (
                API_SERVICE,
                json!({
                    "metadata": {"name": "v1beta2", "uid": "service-uid", "labels": label},
                    "spec": {"groupPriorityMinimum": 100, "versionPriority": 200, "service": service},
                }),
            ),
        ];
        let objects = objects.map(|(path, object)| (path.to_owned(), object));
        Cluster { objects: Arc::new(Mutex::new(objects.into())), refuses: None }
    }

    fn edit(&self, path: &str, edit: impl FnOnce(&mut Value)) {
        edit(self.objects.lock().get_mut(path).unwrap());
    }

    fn claims(&self) -> bool {
        self.objects.lock().contains_key(API_SERVICE)
    }

    fn client(&self) -> Client {
        let cluster = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let cluster = cluster.clone();
            async move { Ok::<_, Infallible>(cluster.answer(request).await) }
        });
        Client::new(service, "system")
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let status = |code: u16| {
            let body = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "", "reason": if code == 404 { "NotFound" } else { "Other" }, "code": code,
            });
            (code, body)
        };
        let path = parts.uri.path();
        let mut objects = self.objects.lock();
        let (code, body) = match (self.refuses, objects.get(path).cloned()) {
            (Some(code), _) => status(code),
            (None, None) => status(404),
            (None, Some(object)) if parts.method == Method::DELETE => {
                let options: Value = serde_json::from_slice(&body).unwrap();
                if options["preconditions"]["uid"] == object["metadata"]["uid"] {
                    objects.remove(path);
                    (200, object)
                } else {
                    status(409)
                }
            }
            (None, Some(object)) => (200, object),
        };
        let body = Body::from(serde_json::to_vec(&body).unwrap());
        Response::builder().status(code).body(body).unwrap()
    }
}

fn names() -> ObjectNames {
    ObjectNames {
        namespace: "system".into(),
        service: "operator-service".into(),
        deployment: "operator".into(),
        cluster_role: "operator-role".into(),
    }
}

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
async fn denied_access_ends_the_removal() {
    for code in [401, 403] {
        let cluster = Cluster { refuses: Some(code), ..Cluster::new() };
        let within = Duration::from_secs(60);
        remove_if_uninstalling(&cluster.client(), &names()).await;
        let removed = tokio::time::timeout(within, remove(&cluster.client(), &names())).await;
        assert!(removed.is_ok() && cluster.claims());
    }
}
