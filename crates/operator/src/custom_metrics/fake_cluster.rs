//! An API server for tests: objects by path.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::object_names::ObjectNames;

pub const NAMESPACE: &str = "/api/v1/namespaces/system";
pub const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/system/deployments/operator";
pub const ROLE: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles/operator-role";
pub const API_SERVICE: &str =
    "/apis/apiregistration.k8s.io/v1/apiservices/v1beta2.custom.metrics.k8s.io";

/// Objects by path. Deletes and merge patches succeed only if their preconditions are met.
#[derive(Clone)]
pub struct Cluster {
    pub objects: Arc<Mutex<BTreeMap<String, Value>>>,
    pub refuses: Option<u16>,
}

impl Cluster {
    /// An installed operator whose APIService exists.
    pub fn new() -> Self {
        let label = json!({"app.kubernetes.io/managed-by": "rookery-operator"});
        let service = json!({"namespace": "system", "name": "operator-service", "port": 443});
        let owner = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "name": "operator-role", "uid": "role-uid",
        });
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
                    "metadata": {
                        "name": "v1beta2.custom.metrics.k8s.io",
                        "uid": "service-uid",
                        "labels": label,
                        "ownerReferences": [owner],
                    },
                    "spec": {
                        "group": "custom.metrics.k8s.io", "version": "v1beta2",
                        "groupPriorityMinimum": 100, "versionPriority": 200, "service": service,
                    },
                }),
            ),
        ];
        let objects = objects.map(|(path, object)| (path.to_owned(), object));
        Cluster { objects: Arc::new(Mutex::new(objects.into())), refuses: None }
    }

    pub fn edit(&self, path: &str, edit: impl FnOnce(&mut Value)) {
        edit(self.objects.lock().get_mut(path).unwrap());
    }

    pub fn claims(&self) -> bool {
        self.objects.lock().contains_key(API_SERVICE)
    }

    pub fn client(&self) -> Client {
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
            (None, None) if parts.method == Method::POST => {
                let object: Value = serde_json::from_slice(&body).unwrap();
                let name = object["metadata"]["name"].as_str().unwrap();
                objects.insert(format!("{path}/{name}"), object.clone());
                (201, object)
            }
            (None, None) => status(404),
            (None, Some(object)) if parts.method == Method::DELETE => {
                let options: Value = serde_json::from_slice(&body).unwrap();
                if are_met(&options["preconditions"], &object) {
                    objects.remove(path);
                    (200, object)
                } else {
                    status(409)
                }
            }
            (None, Some(mut object)) if parts.method == Method::PATCH => {
                let patch: Value = serde_json::from_slice(&body).unwrap();
                let seen = &patch["metadata"]["resourceVersion"];
                if seen.is_null() || *seen == object["metadata"]["resourceVersion"] {
                    merge(&mut object, &patch);
                    objects.insert(path.to_owned(), object.clone());
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

pub fn names() -> ObjectNames {
    ObjectNames {
        namespace: "system".into(),
        service: "operator-service".into(),
        deployment: "operator".into(),
        cluster_role: "operator-role".into(),
    }
}

/// Whether the preconditions of a deletion, which may be absent, are met by an object.
fn are_met(preconditions: &Value, object: &Value) -> bool {
    let is_met = |key: &str| {
        let required = preconditions.get(key).filter(|required| !required.is_null());
        required.is_none_or(|required| *required == object["metadata"][key])
    };
    is_met("uid") && is_met("resourceVersion")
}

/// A JSON merge patch (RFC 7386).
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        match value {
            Value::Null => drop(target.as_object_mut().unwrap().remove(key)),
            value => merge(&mut target[key], value),
        }
    }
}
