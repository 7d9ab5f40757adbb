//! What a key may do: its scopes, rooms and namespaces.

use serde_json::json;

use super::*;
use crate::api::openapi;

const PUBLISH: &str = "publish-0123456789";
const MEMBERS: &str = "members-0123456789";
const ORDERS: &str = "orders-0123456789";
const CHAT: &str = "chat-0123456789abc";

async fn start(world: &Arc<World>) -> Server {
    let text = format!(
        "ci:{KEY}\n\
         # a comment\n\
         shop:{PUBLISH} publish\n\
         board:{MEMBERS} members\n\
         orders:{ORDERS} admin rooms=orders:*,lobby\n\
         chat:{CHAT} publish members admin namespaces=/chat\n"
    );
    Server::with(world, Setup { access: access(&text), ..Setup::default() }).await
}

/// Method, path, body.
type Call = (&'static str, &'static str, Value);

fn calls() -> Vec<(Call, Option<&'static str>)> {
    let publication = json!({"room": "r", "event": "e"});
    let none = Value::Null;
    vec![
        (("post", "/api/publish", publication.clone()), Some("publish")),
        (("post", "/api/publish/batch", json!([publication])), Some("publish")),
        (("get", "/api/rooms", none.clone()), Some("members")),
        (("get", "/api/rooms/a%2F1", none.clone()), Some("members")),
        (("get", "/api/rooms/a%2F1/latency", none.clone()), Some("members")),
        (("get", "/api/rooms/doc:1/presence", none.clone()), Some("members")),
        (("get", "/api/latency", none.clone()), Some("members")),
        (("get", "/api/status", none.clone()), Some("members")),
        (("post", "/api/rooms/r/join", json!({"user": "ada"})), Some("admin")),
        (("post", "/api/rooms/r/leave", json!({"user": "ada"})), Some("admin")),
        (("post", "/api/disconnect", json!({"user": "ada"})), Some("admin")),
        (
            ("post", "/api/explain", json!({"user": "a", "room": "r", "action": "join"})),
            Some("admin"),
        ),
        (("get", "/api/openapi.json", none), None),
    ]
}

async fn send(server: &Server, key: &str, call: &Call) -> Response {
    let (method, path, body) = call;
    let request =
        if *method == "get" { server.get(path) } else { server.post(path, body.to_string()) };
    request.bearer_auth(key).send().await.unwrap()
}

/// The problem document of a request that must be refused with 403.
async fn refused(server: &Server, key: &str, call: Call) -> Value {
    let response = send(server, key, &call).await;
    assert_eq!(response.headers()["content-type"], "application/problem+json", "{call:?}");
    let problem = answer(response, 403).await;
    assert_eq!(problem["code"], "forbidden", "{problem}");
    problem
}

async fn allowed(server: &Server, key: &str, call: Call) -> Value {
    answer(send(server, key, &call).await, 200).await
}

#[tokio::test]
async fn a_key_opens_only_the_routes_of_its_scopes() {
    let world = World::new();
    let server = start(&world).await;
    for (call, scope) in calls() {
        for (key, own) in [(PUBLISH, "publish"), (MEMBERS, "members"), (KEY, "admin")] {
            if own == "admin" || scope.is_none_or(|scope| scope == own) {
                allowed(&server, key, call.clone()).await;
                continue;
            }
            let problem = refused(&server, key, call.clone()).await;
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains(&format!("`{}`", scope.unwrap())), "{detail}");
        }
    }
    let changes = world.changes.lock().len();
    assert_eq!((changes, world.published.lock().len()), (3, 4));
    for path in ["/api/nothing", "/api/publish/x"] {
        let unknown = server.get(path).bearer_auth(PUBLISH).send().await.unwrap();
        answer(unknown, 404).await;
    }
    let wrong_method = server.get("/api/disconnect").bearer_auth(KEY).send().await.unwrap();
    answer(wrong_method, 405).await;
}

#[test]
fn the_description_names_the_scope_of_every_route() {
    let document: Value = serde_json::to_value(openapi::document()).unwrap();
    let described: usize =
        document["paths"].as_object().unwrap().values().map(|i| i.as_object().unwrap().len()).sum();
    assert_eq!(described, calls().len());
    for ((method, path, _), scope) in calls() {
        let path = match path.strip_prefix("/api/rooms/") {
            Some(rest) => match rest.split_once('/') {
                Some((_, action)) => format!("/api/rooms/{{room}}/{action}"),
                None => "/api/rooms/{room}".to_owned(),
            },
            None => path.to_owned(),
        };
        let security = &document["paths"][&path][method]["security"];
        let roles: Vec<&str> = scope.into_iter().collect();
        assert_eq!(*security, json!([{"key": roles}]), "{method} {path}");
    }
}

#[tokio::test]
async fn a_key_with_rooms_reaches_no_other_room() {
    let world = World::new();
    let server = start(&world).await;
    let publication = |rooms: Value| json!({"rooms": rooms, "event": "e"});
    for rooms in [json!(["orders:1"]), json!(["lobby", "orders:"])] {
        allowed(&server, ORDERS, ("post", "/api/publish", publication(rooms))).await;
    }
    for (rooms, field) in [
        (json!(["lobby", "orders"]), "rooms[1]"),
        (json!(["podAAAAAxxxxxxxxxxxx"]), "rooms[0]"),
        (json!(["LOBBY"]), "rooms[0]"),
    ] {
        let problem = refused(&server, ORDERS, ("post", "/api/publish", publication(rooms))).await;
        assert_eq!(problem["field"], field);
        assert!(problem["detail"].as_str().unwrap().contains("rooms="), "{problem}");
    }
    let one = json!({"room": "other", "event": "e"});
    let problem = refused(&server, ORDERS, ("post", "/api/publish", one)).await;
    assert_eq!(problem["field"], "room");
    assert_eq!(world.published.lock().len(), 2);

    let none = Value::Null;
    for path in ["/api/rooms?prefix=orders:", "/api/rooms/lobby", "/api/rooms/orders%3A1"] {
        allowed(&server, ORDERS, ("get", path, none.clone())).await;
    }
    for path in ["/api/rooms", "/api/rooms?prefix=lobby", "/api/rooms/r", "/api/latency"] {
        refused(&server, ORDERS, ("get", path, none.clone())).await;
    }
    refused(&server, ORDERS, ("get", "/api/rooms/r/latency", none)).await;
    refused(&server, ORDERS, ("post", "/api/rooms/r/join", json!({"user": "ada"}))).await;
    refused(&server, ORDERS, ("post", "/api/rooms/r/leave", json!({"user": "ada"}))).await;
    allowed(&server, ORDERS, ("post", "/api/rooms/orders:9/join", json!({"user": "ada"}))).await;
    for members in [json!({"user": "ada"}), json!({"member": "m"}), json!({"room": "r"})] {
        refused(&server, ORDERS, ("post", "/api/disconnect", members)).await;
    }
    allowed(&server, ORDERS, ("post", "/api/disconnect", json!({"room": "lobby"}))).await;
    let explain = json!({"user": "ada", "room": "r", "action": "join"});
    refused(&server, ORDERS, ("post", "/api/explain", explain)).await;
}

#[tokio::test]
async fn a_key_with_namespaces_reaches_no_other_namespace() {
    let world = World::new();
    let server = start(&world).await;
    let (mut here, mut there) = (json!({"room": "r", "event": "e"}), json!({"user": "ada"}));
    refused(&server, CHAT, ("post", "/api/publish", here.clone())).await;
    refused(&server, CHAT, ("post", "/api/rooms/r/join", there.clone())).await;
    for path in ["/api/rooms", "/api/rooms/r", "/api/latency", "/api/latency?namespace=/"] {
        let problem = refused(&server, CHAT, ("get", path, Value::Null)).await;
        assert_eq!(problem["field"], "namespace", "{path}");
    }
    (here["namespace"], there["namespace"]) = (json!("/chat"), json!("/chat"));
    allowed(&server, CHAT, ("post", "/api/publish", here)).await;
    allowed(&server, CHAT, ("post", "/api/rooms/r/join", there.clone())).await;
    allowed(&server, CHAT, ("get", "/api/latency?namespace=/chat", Value::Null)).await;
    let problem = refused(&server, CHAT, ("post", "/api/disconnect", there.clone())).await;
    assert_eq!(problem["field"], "close");
    there["close"] = json!(false);
    allowed(&server, CHAT, ("post", "/api/disconnect", there)).await;
}

#[tokio::test]
async fn each_item_of_a_batch_is_judged_on_its_own() {
    let world = World::new();
    let server = start(&world).await;
    let items = json!([
        {"room": "orders:1", "event": "e"},
        {"room": "other", "event": "e"},
        {"rooms": ["lobby", "other"], "event": "e", "id": "a"},
        {"room": "lobby", "event": "e", "id": "a"},
    ]);
    let got = allowed(&server, ORDERS, ("post", "/api/publish/batch", items)).await;
    let results = got["results"].as_array().unwrap();
    let statuses: Vec<Option<u64>> = results.iter().map(|item| item["status"].as_u64()).collect();
    assert_eq!(statuses, [None, Some(403), Some(403), None]);
    assert_eq!((&results[1]["field"], &results[2]["field"]), (&json!("room"), &json!("rooms[1]")));
    assert_eq!(world.published.lock().len(), 2);
}

#[tokio::test]
async fn refusals_are_counted() {
    let server = start(&World::new()).await;
    refused(&server, MEMBERS, ("post", "/api/publish", json!({"room": "r", "event": "e"}))).await;
    refused(&server, ORDERS, ("get", "/api/rooms", Value::Null)).await;
    let text = server.get("/metrics").send().await.unwrap().text().await.unwrap();
    assert!(text.contains("rookery_rejected_total{reason=\"forbidden\"} 2"), "{text}");
}
