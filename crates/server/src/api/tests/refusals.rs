//! Invalid requests: each is a problem document that names the field.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::StreamBody;
use hyper::body::Frame;
use serde_json::json;

use super::*;

/// Path, body, status, `field`, `code`.
type Case = (&'static str, String, u16, Option<&'static str>, Option<&'static str>);

const BAD: Option<&str> = Some("bad_request");
const ROOM: Option<&str> = Some("room_invalid");

fn publish_cases() -> Vec<Case> {
    let long = "r".repeat(256);
    let many = vec!["r"; 1001];
    let bodies = [
        ("", None, BAD),
        ("  \n", None, BAD),
        ("[]", None, BAD),
        (r#"["/", "r"]"#, None, BAD),
        ("null", None, BAD),
        ("17", None, BAD),
        (r#""text""#, None, BAD),
        ("{", None, BAD),
        (r#"{"room": "r",}"#, None, BAD),
        (r#"{"room": "r", "event": "e"} {}"#, None, BAD),
        (r#"{room: "r", "event": "e"}"#, None, BAD),
        (r#"{"event": "e"}"#, Some("room"), BAD),
        (r#"{"room": null, "event": "e"}"#, Some("room"), BAD),
        (r#"{"room": "r", "rooms": ["s"], "event": "e"}"#, Some("rooms"), BAD),
        (r#"{"room": "", "event": "e"}"#, Some("room"), ROOM),
        (r#"{"room": 5, "event": "e"}"#, Some("room"), BAD),
        (r#"{"room": ["r"], "event": "e"}"#, Some("room"), BAD),
        (r#"{"rooms": [], "event": "e"}"#, Some("rooms"), ROOM),
        (r#"{"rooms": "r", "event": "e"}"#, Some("rooms"), BAD),
        (r#"{"rooms": ["a", ""], "event": "e"}"#, Some("rooms[1]"), ROOM),
        (r#"{"rooms": ["a", "b", 3], "event": "e"}"#, Some("rooms[2]"), BAD),
        (r#"{"room": "r", "except": "", "event": "e"}"#, Some("except"), ROOM),
        (r#"{"room": "r", "except": ["a", ""], "event": "e"}"#, Some("except[1]"), ROOM),
        (r#"{"room": "r", "except": 1, "event": "e"}"#, Some("except"), BAD),
        (r#"{"room": "r", "except": [1], "event": "e"}"#, Some("except[0]"), BAD),
        (r#"{"room": "r"}"#, Some("event"), BAD),
        (r#"{"room": "r", "event": ""}"#, Some("event"), BAD),
        (r#"{"room": "r", "event": 1}"#, Some("event"), BAD),
        (r#"{"room": "r", "event": null}"#, Some("event"), BAD),
        (r#"{"room": "r", "event": "connect"}"#, Some("event"), BAD),
        (r#"{"room": "r", "event": "connect_error"}"#, Some("event"), BAD),
        (r#"{"room": "r", "event": "disconnect"}"#, Some("event"), BAD),
        (r#"{"room": "r", "event": "disconnecting"}"#, Some("event"), BAD),
        (r#"{"room": "r", "event": "newListener"}"#, Some("event"), BAD),
        (r#"{"room": "r", "event": "removeListener"}"#, Some("event"), BAD),
        (r#"{"room": "r", "event": "e", "event": "f"}"#, Some("event"), BAD),
        (r#"{"room": "r", "event": "e", "args": {}}"#, Some("args"), BAD),
        (r#"{"room": "r", "event": "e", "args": null}"#, Some("args"), BAD),
        (r#"{"room": "r", "event": "e", "args": [0, {"$binary": "?"}]}"#, Some("args[1]"), BAD),
        (r#"{"room": "r", "event": "e", "args": [{"a": {"$binary": 1}}]}"#, Some("args[0].a"), BAD),
        (
            r#"{"room": "r", "event": "e", "args": [{"$binary": ""}, {"x": [{"_placeholder": true}]}]}"#,
            Some("args[1].x[0]"),
            BAD,
        ),
        (r#"{"room": "r", "event": "e", "volatile": "yes"}"#, Some("volatile"), BAD),
        (r#"{"room": "r", "event": "e", "id": ""}"#, Some("id"), BAD),
        (r#"{"room": "r", "event": "e", "id": 7}"#, Some("id"), BAD),
        (r#"{"room": "r", "event": "e", "namespace": "/none"}"#, Some("namespace"), BAD),
        (r#"{"room": "r", "event": "e", "namespace": "chat"}"#, Some("namespace"), BAD),
        (r#"{"room": "r", "event": "e", "namespace": ""}"#, Some("namespace"), BAD),
        (r#"{"room": "r", "event": "e", "data": 1}"#, Some("data"), BAD),
    ];
    let mut cases: Vec<Case> = bodies
        .map(|(body, field, code)| ("/api/publish", body.to_owned(), 400, field, code))
        .into();
    let made = [
        (json!({"room": long, "event": "e"}), "room", ROOM),
        (json!({"rooms": ["r", long], "event": "e"}), "rooms[1]", ROOM),
        (json!({"rooms": many, "event": "e"}), "rooms", BAD),
        (json!({"room": "r", "except": many, "event": "e"}), "except", BAD),
        (json!({"room": "r", "event": "e", "id": "i".repeat(201)}), "id", BAD),
    ];
    cases.extend(
        made.map(|(body, field, code)| ("/api/publish", body.to_string(), 400, Some(field), code)),
    );
    let deep = format!(r#"{{"room": "r", "event": "e", "args": [{}"#, "[".repeat(200));
    cases.push(("/api/publish", deep, 400, None, BAD));
    cases
}

fn other_cases() -> Vec<Case> {
    let items = vec![json!({"room": "r", "event": "e"}); 1001];
    let mut cases: Vec<Case> = vec![
        ("/api/publish/batch", json!(items).to_string(), 400, None, BAD),
        ("/api/publish/batch", "{}".to_owned(), 400, None, BAD),
        ("/api/publish/batch", "[{]".to_owned(), 400, None, BAD),
    ];
    let bodies = [
        ("/api/publish?namespace=/none", r#"{"room": "r", "event": "e"}"#, "namespace", BAD),
        (
            "/api/publish?namespace=/chat",
            r#"{"room": "r", "event": "e", "namespace": "/"}"#,
            "namespace",
            BAD,
        ),
        ("/api/publish?room=r", r#"{"event": "e"}"#, "room", BAD),
        ("/api/publish?namespace=/&namespace=/", r#"{"room": "r"}"#, "namespace", BAD),
        ("/api/rooms/r/join", "{}", "user", BAD),
        ("/api/rooms/r/join", r#"{"user": "u", "member": "m"}"#, "member", BAD),
        ("/api/rooms/r/join", r#"{"user": ""}"#, "user", BAD),
        ("/api/rooms/r/join", r#"{"room": "s"}"#, "room", BAD),
        ("/api/rooms/r/leave", r#"{"member": ""}"#, "member", BAD),
        ("/api/rooms/r/leave", r#"{"member": ["m"]}"#, "member", BAD),
        ("/api/rooms/r/leave", r#"{"user": "u", "namespace": "/none"}"#, "namespace", BAD),
        ("/api/rooms/%FF/join", r#"{"user": "u"}"#, "room", ROOM),
        ("/api/disconnect", "{}", "user", BAD),
        ("/api/disconnect", r#"{"room": ""}"#, "room", ROOM),
        ("/api/disconnect", r#"{"user": "u", "room": "r"}"#, "room", BAD),
        ("/api/explain", r#"{"room": "r", "action": "join"}"#, "claims", BAD),
        (
            "/api/explain",
            r#"{"user": "u", "claims": {}, "room": "r", "action": "join"}"#,
            "user",
            BAD,
        ),
        ("/api/explain", r#"{"claims": [], "room": "r", "action": "join"}"#, "claims", BAD),
        ("/api/explain", r#"{"user": "u", "action": "join"}"#, "room", BAD),
        ("/api/explain", r#"{"user": "u", "room": "", "action": "join"}"#, "room", ROOM),
        ("/api/explain", r#"{"user": "u", "room": "r"}"#, "action", BAD),
        ("/api/explain", r#"{"user": "u", "room": "r", "action": "leave"}"#, "action", BAD),
    ];
    cases.extend(
        bodies.map(|(path, body, field, code)| (path, body.to_owned(), 400, Some(field), code)),
    );
    cases
}

#[tokio::test]
async fn invalid_bodies_are_problems_that_name_the_field() {
    let world = World::new();
    let server = Server::start(&world).await;
    for (path, body, status, field, code) in publish_cases().into_iter().chain(other_cases()) {
        let response = server.post(path, body.clone()).send().await.unwrap();
        let shown: String = body.chars().take(120).collect();
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{shown}");
        let problem = answer(response, status).await;
        assert_eq!(problem["status"], status, "{shown}");
        assert_eq!(problem["type"], "about:blank", "{shown}");
        assert_eq!(problem["title"], "Bad Request", "{shown}");
        assert_eq!(problem["field"].as_str(), field, "{path} {shown}: {problem}");
        assert_eq!(problem["code"].as_str(), code, "{path} {shown}: {problem}");
        assert!(problem["detail"].as_str().unwrap().len() > 10, "{shown}: {problem}");
    }
    assert!(world.published.lock().is_empty() && world.changes.lock().is_empty());
}

#[tokio::test]
async fn invalid_queries_and_paths_are_problems_that_name_the_parameter() {
    let server = Server::start(&World::new()).await;
    let long = format!("/api/rooms/{}", "r".repeat(256));
    for (path, field) in [
        ("/api/rooms?prefx=a", "prefx"),
        ("/api/rooms?prefix=a&prefix=b", "prefix"),
        ("/api/rooms?namespace=/none", "namespace"),
        ("/api/rooms/r?prefix=a", "prefix"),
        ("/api/rooms/r/latency?namespace=none", "namespace"),
        ("/api/rooms/%C3", "room"),
        (&long, "room"),
    ] {
        let response = server.get(path).send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{path}");
        assert_eq!(answer(response, 400).await["field"], field, "{path}");
    }
}

#[tokio::test]
async fn syntax_errors_give_line_and_column() {
    let server = Server::start(&World::new()).await;
    let body = "{\n  \"room\": \"r\",\n  \"event\" \"e\"\n}";
    let problem = answer(server.post("/api/publish", body).send().await.unwrap(), 400).await;
    assert!(problem["detail"].as_str().unwrap().contains("line 3 column 11"), "{problem}");
    let latin = b"{\"room\": \"caf\xe9\", \"event\": \"e\"}".to_vec();
    let problem = answer(server.post("/api/publish", latin).send().await.unwrap(), 400).await;
    assert!(problem["detail"].as_str().unwrap().contains("offset 13"), "{problem}");
}

#[tokio::test]
async fn only_json_is_accepted_with_any_media_type_parameters() {
    let server = Server::start(&World::new()).await;
    let body = r#"{"room": "r", "event": "e"}"#;
    let send = |media_type: Option<&'static str>, coding: Option<&'static str>| {
        let mut request = server.client.post(server.url("/api/publish")).body(body);
        if let Some(media_type) = media_type {
            request = request.header("content-type", media_type);
        }
        if let Some(coding) = coding {
            request = request.header("content-encoding", coding);
        }
        async { request.send().await.unwrap() }
    };
    for bad in [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("")] {
        let response = send(bad, None).await;
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{bad:?}");
        assert_eq!(answer(response, 415).await["title"], "Unsupported Media Type", "{bad:?}");
    }
    let large = server.client.post(server.url("/api/publish")).body(" ".repeat(8 << 20));
    answer(large.send().await.unwrap(), 415).await;
    answer(send(Some("application/json"), Some("gzip")).await, 415).await;
    answer(send(Some("Application/JSON; charset=utf-8"), Some("identity")).await, 200).await;
}

#[tokio::test]
async fn size_limits_are_exact() {
    let world = World::new();
    let server = Server::start(&world).await;
    // `42["e",""]` is what the packet has besides the text.
    let text = "x".repeat(MAX_PAYLOAD - r#"42["e",""]"#.len());
    server.ok("/api/publish", json!({"room": "r", "event": "e", "args": [text]})).await;
    let over = json!({"room": "r", "event": "e", "args": [text + "x"]}).to_string();
    let problem = answer(server.post("/api/publish", over).send().await.unwrap(), 413).await;
    assert_eq!(problem["field"], "args");
    assert_eq!(world.published.lock().len(), 1);

    for (path, limit) in [
        ("/api/publish", MAX_PAYLOAD + (1 << 20)),
        ("/api/publish/batch", 16 << 20),
        ("/api/disconnect", 1 << 20),
        ("/api/explain", 1 << 20),
        ("/api/rooms/r/join", 1 << 20),
    ] {
        let fits = server.post(path, " ".repeat(limit)).send().await.unwrap();
        assert_eq!(fits.status(), 400, "{path}");
        let response = server.post(path, " ".repeat(limit + 1)).send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{path}");
        let problem = answer(response, 413).await;
        assert!(problem["detail"].as_str().unwrap().contains(&limit.to_string()), "{problem}");
        let chunks = [" ".repeat(limit), " ".to_owned()];
        let frames = chunks.map(|chunk| Ok::<_, Infallible>(Frame::data(Bytes::from(chunk))));
        let chunked = StreamBody::new(futures_util::stream::iter(frames));
        let chunked = reqwest::Body::wrap(chunked);
        answer(server.post(path, chunked).send().await.unwrap(), 413).await;
    }
}

#[tokio::test]
async fn unknown_routes_and_methods_are_problems() {
    let server = Server::start(&World::new()).await;
    for path in ["/nothing", "/api", "/api/", "/api/nothing", "/api/rooms/a/b", "/api/rooms/"] {
        let response = server.get(path).send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{path}");
        assert_eq!(answer(response, 404).await["title"], "Not Found", "{path}");
    }
    for (path, allow) in [("/api/publish", "POST"), ("/api/rooms/r/join", "POST")] {
        let response = server.get(path).send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{path}");
        assert_eq!(response.headers()["allow"], allow, "{path}");
        answer(response, 405).await;
    }
    let response = server.post("/api/rooms", "{}").send().await.unwrap();
    assert_eq!(response.headers()["allow"], "GET,HEAD");
    answer(response, 405).await;
}

#[tokio::test]
async fn a_publication_that_the_cluster_refuses_is_503_and_frees_its_id() {
    let world = World::new();
    let server = Server::start(&world).await;
    for (error, code, members) in [
        (PublishError::RedisDown, json!("not_connected_to_redis"), 1),
        (PublishError::Overloaded, Value::Null, 2),
    ] {
        *world.publish_error.lock() = Some(error);
        let body = json!({"room": "r", "event": "e", "id": error.to_string()});
        let refused = server.post("/api/publish", body.to_string()).send().await.unwrap();
        assert_eq!(refused.headers()["retry-after"], "1");
        let problem = answer(refused, 503).await;
        assert_eq!(problem["code"], code);
        assert!(problem["detail"].as_str().unwrap().contains(&error.to_string()), "{problem}");
        // Nothing was delivered, so the id can be used again.
        *world.publish_error.lock() = None;
        assert_eq!(server.ok("/api/publish", body).await["members"], members);
    }
}
