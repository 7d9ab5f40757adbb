use std::convert::Infallible;
use std::sync::Arc;

use http::{Request, Response};
use http_body_util::BodyExt as _;
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::Value;

use super::*;

/// Format and body of the patches that an API server got.
type Patches = Arc<Mutex<Vec<(String, Value)>>>;

/// An API server whose object does not match its schema. It answers an apply as Kubernetes 1.34
/// does, and another patch with `merged`.
fn cluster(merged: u16) -> (Client, Patches) {
    let patches = Patches::default();
    let log = patches.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let log = log.clone();
        async move {
            let (parts, body) = request.into_parts();
            assert!(parts.uri.path().ends_with("/namespaces/apps/rookeries/chat/status"));
            let body = body.collect().await.unwrap().to_bytes();
            let format = parts.headers["content-type"].to_str().unwrap().to_owned();
            let code = if format.contains("apply") { 500 } else { merged };
            log.lock().push((format, serde_json::from_slice(&body).unwrap()));
            Ok::<_, Infallible>(answer(code))
        }
    });
    (Client::new(service, "apps"), patches)
}

fn answer(code: u16) -> Response<Body> {
    let object = json!({
        "apiVersion": "rookery.dev/v1alpha1", "kind": "Rookery",
        "metadata": { "name": "chat", "namespace": "apps" }, "spec": { "replicas": "two" },
    });
    let message = "failed to create typed live object: .spec.replicas: expected map, got &{two}";
    let failure = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "code": code,
    });
    let body = if code == 200 { object } else { failure };
    Response::builder().status(code).body(Body::from(body.to_string().into_bytes())).unwrap()
}

#[tokio::test]
async fn the_status_of_an_object_that_does_not_match_its_schema_is_merged() {
    let (client, patches) = cluster(200);
    let status = RookeryStatus { ready: "2/2".to_owned(), ..RookeryStatus::default() };
    let written = write(&client, "apps", "chat", None, &status).await.unwrap();
    assert_eq!(written, Written::Done);
    let patches = patches.lock();
    let [(apply, _), (merge, patch)] = patches.as_slice() else { panic!("{patches:?}") };
    assert_eq!(apply, "application/apply-patch+yaml");
    assert_eq!(merge, "application/merge-patch+json");
    assert_eq!(*patch, json!({ "status": status }), "nothing else is touched");
}

#[tokio::test]
async fn a_status_that_is_refused_is_no_failure_and_one_that_gets_no_answer_is() {
    let status = RookeryStatus::default();
    for (code, written) in
        [(422, Some(Written::Refused)), (404, Some(Written::Unchanged)), (500, None), (503, None)]
    {
        let (client, _) = cluster(code);
        let result = write(&client, "apps", "chat", None, &status).await;
        assert_eq!(result.ok(), written, "{code}");
    }
}
