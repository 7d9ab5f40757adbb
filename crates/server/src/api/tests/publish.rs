//! Publishing, one by one and in batches, and requests that are dropped meanwhile.

use bytes::Bytes;
use serde_json::json;
use tower::ServiceExt as _;

use super::*;
use crate::message::Source;
use rookery_protocol::Data;

#[tokio::test]
async fn a_publication_has_every_field_of_its_request() {
    let world = World::new();
    let server = Server::start(&world).await;
    let body = r#"{
        "namespace": "/chat", "rooms": ["a", "b"], "except": "c", "event": "e", "volatile": true, "compress": false,
        "args": [{"z": {"$binary": "AQI="}, "a": null}], "id": "one"
    }"#;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = server.post("/api/publish", body).header("traceparent", trace);
    let got = answer(request.send().await.unwrap(), 200).await;
    assert_eq!(got, json!({"id": "one", "scope": "cluster", "members": 1}));

    let published = world.published.lock();
    let publication = &published[0];
    assert_eq!(&*publication.namespace, "/chat");
    assert_eq!(publication.rooms[..], [Room::from("a"), Room::from("b")]);
    assert_eq!(publication.except[..], [Room::from("c")]);
    assert_eq!(publication.event, "e");
    assert!(publication.volatile && !publication.compress);
    assert_eq!(publication.source, Source::Api);
    assert_eq!(publication.traceparent.as_deref(), Some(trace));
    let binary = Data::Binary(Bytes::from_static(&[1, 2]));
    let object = Data::Object(vec![("z".into(), binary), ("a".into(), Data::Null)]);
    assert_eq!(publication.args[..], [object]);
}

#[tokio::test]
async fn absent_fields_have_defaults_and_ids_are_generated() {
    let world = World::new();
    let server = Server::start(&world).await;
    let body = json!({"room": "r", "event": "e", "except": ["x", "y"]});
    let first = server.ok("/api/publish", body.clone()).await;
    let second = server.ok("/api/publish?namespace=/chat", body).await;
    assert_eq!(first["id"].as_str().unwrap().len(), 32);
    assert_ne!(first["id"], second["id"]);
    let published = world.published.lock();
    assert_eq!(&*published[0].namespace, "/");
    assert_eq!(&*published[1].namespace, "/chat");
    assert_eq!(published[0].except[..], [Room::from("x"), Room::from("y")]);
    assert!(published[0].args.is_empty());
    assert_eq!(*first["id"].as_str().unwrap(), *published[0].id.text());
}

#[tokio::test]
async fn a_batch_has_a_result_for_each_item_in_order() {
    let world = World::new();
    let server = Server::start(&world).await;
    let big = "x".repeat(MAX_PAYLOAD);
    let body = json!([
        {"room": "r", "event": "first"},
        {"room": "r", "event": "connect"},
        "not an object",
        {"room": "r", "event": "again", "id": "i"},
        {"room": "r", "event": "again", "id": "i"},
        {"room": "r", "event": "big", "args": [big]},
        {"room": "r", "event": "last", "namespace": "/chat"},
    ]);
    let got = server.ok("/api/publish/batch", body).await;
    let results = got["results"].as_array().unwrap();
    let members: Vec<_> = results.iter().map(|result| result["members"].as_u64()).collect();
    assert_eq!(members, [Some(1), None, None, Some(2), Some(2), None, Some(3)]);
    let statuses: Vec<_> = results.iter().filter_map(|result| result["status"].as_u64()).collect();
    assert_eq!(statuses, [400, 400, 413]);
    assert_eq!(results[1]["field"], "event");
    assert_eq!(results[5]["field"], "args");
    let published = world.published.lock();
    let events: Vec<_> = published.iter().map(|p| p.event.as_str()).collect();
    assert_eq!(events, ["first", "again", "last"]);
    assert_eq!(&*published[2].namespace, "/chat");
}

#[tokio::test]
async fn a_batch_may_be_empty_or_full() {
    let world = World::new();
    let server = Server::start(&world).await;
    assert_eq!(server.ok("/api/publish/batch", json!([])).await, json!({"results": []}));
    let full = vec![json!({"room": "r", "event": "e"}); 1000];
    let got = server.ok("/api/publish/batch", json!(full)).await;
    assert_eq!(got["results"].as_array().unwrap().len(), 1000);
}

/// Sends a request without a connection, drops it once its publication waits, and lets the
/// publication go on.
async fn drop_half_way(path: &str, body: Value) -> Arc<World> {
    let world = World::held();
    let server = Server::start(&world).await;
    let request = http::Request::post(path).header("content-type", "application/json");
    let request = request.body(axum::body::Body::from(body.to_string())).unwrap();
    let mut response = Box::pin(server.router.clone().oneshot(request));
    tokio::select! {
        response = &mut response => panic!("answered early: {response:?}"),
        () = until("a publication waits", || world.arrived.load(Ordering::Acquire) == 1) => {}
    }
    drop(response);
    world.gate.add_permits(10);
    until("it is published", || !world.published.lock().is_empty()).await;
    world
}

#[tokio::test]
async fn a_dropped_request_still_publishes_to_every_member() {
    drop_half_way("/api/publish", json!({"room": "r", "event": "e"})).await;
}

#[tokio::test]
async fn a_dropped_batch_still_publishes_the_item_in_progress() {
    let item = json!({"room": "r", "event": "e"});
    let world = drop_half_way("/api/publish/batch", json!([item, item])).await;
    // Nobody reads the results: the items after it are not published.
    assert_eq!(world.arrived.load(Ordering::Acquire), 1);
}

#[tokio::test]
async fn an_unpaired_surrogate_is_replaced_as_in_clients_events() {
    let world = World::new();
    let server = Server::start(&world).await;
    let publication = r#"{"room": "r\ud83d", "event": "e\udc00",
        "args": ["\ud83d", {"\ud83d\ud83d\ude00": "\\ud83d\ud83d!"}]}"#;
    for (path, body) in [
        ("/api/publish", publication.to_owned()),
        ("/api/publish/batch", format!("[{publication}]")),
    ] {
        let response = server.post(path, body).send().await.unwrap();
        answer(response, 200).await;
        let published = world.published.lock().pop().unwrap();
        assert_eq!(published.rooms[..], [Room::from("r\u{fffd}")]);
        assert_eq!(published.event, "e\u{fffd}");
        let args: Vec<_> = published.args.iter().map(|arg| arg.to_json()).collect();
        assert_eq!(args, [json!("\u{fffd}"), json!({"\u{fffd}😀": "\\ud83d\u{fffd}!"})]);
    }
    let response = server.post("/api/publish", r#"{"room": "\ud83d", "event": 1}"#).send().await;
    assert_eq!(answer(response.unwrap(), 400).await["field"], "event");
}
