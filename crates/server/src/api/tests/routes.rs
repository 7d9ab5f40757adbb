//! Rooms, members and rules; API keys, probes and the description.

use std::collections::BTreeSet;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

#[tokio::test]
async fn rooms_and_their_members_are_listed() {
    let server = Server::start(&World::new()).await;
    let got = answer(server.get("/api/rooms?prefix=a:").send().await.unwrap(), 200).await;
    let rooms = json!([{"room": "a:1", "members": 3}, {"room": "a:2", "members": 1}]);
    assert_eq!(got, json!({"rooms": rooms, "unanswered": ["podBBBBB"]}));
    let got = answer(server.get("/api/rooms?namespace=/chat").send().await.unwrap(), 200).await;
    assert_eq!(got["rooms"], json!([]));

    let got = answer(server.get("/api/rooms/a%2F%C3%A9%20%25").send().await.unwrap(), 200).await;
    assert_eq!(
        got,
        json!({
            "room": "a/é %",
            "members": [
                {"id": "podAAAAAxxxxxxxxxxxx", "user": "ada", "pod": "podAAAAA",
                 "connectedAt": "2023-11-14T22:13:20.123Z"},
                {"id": "node-server-id", "user": null, "pod": "node-ser", "connectedAt": null},
            ],
            "unanswered": [],
        })
    );
    let got = answer(server.get("/api/rooms/empty").send().await.unwrap(), 200).await;
    assert_eq!(got["members"], json!([]));
}

#[tokio::test]
async fn the_latency_of_a_room_without_deliveries_is_404() {
    let server = Server::start(&World::new()).await;
    let got = answer(server.get("/api/rooms/a%2F1/latency").send().await.unwrap(), 200).await;
    let told = json!({"room": "a/1", "p50": 0.00075, "p99": 0.000995, "max": 0.001, "count": 4});
    let merged = |unanswered| {
        let mut told = told.clone();
        told["unanswered"] = unanswered;
        told
    };
    assert_eq!(got, merged(json!(["podBBBBB"])));
    let local = server.get("/api/rooms/a%2F1/latency?scope=local").send().await.unwrap();
    assert_eq!(answer(local, 200).await, merged(json!([])));
    let unknown = server.get("/api/rooms/a%2F1/latency?namespace=/chat").send().await.unwrap();
    assert_eq!(unknown.headers()["content-type"], "application/problem+json");
    let problem = answer(unknown, 404).await;
    assert_eq!(problem["field"], "room");
    assert!(problem["detail"].as_str().unwrap().contains("podBBBBB"), "{problem}");
}

#[tokio::test]
async fn who_is_in_a_room_with_presence_is_listed_and_counted_where_they_are_too_many() {
    let server = Server::start(&World::new()).await;
    let get = async |room: &str, status| {
        let path = format!("/api/rooms/{room}/presence");
        answer(server.get(&path).send().await.unwrap(), status).await
    };
    let ada = json!({"user": "ada", "info": {"name": "Ada"}});
    let expected = json!({"room": "doc:1", "count": 1, "members": [ada], "scope": "cluster"});
    assert_eq!(get("doc:1", 200).await, expected);
    let full = json!({"room": "doc:full", "count": 2000, "scope": "cluster"});
    assert_eq!(get("doc:full", 200).await, full);
    let problem = get("a:b", 404).await;
    assert_eq!(problem["field"], "room");
    assert!(problem["detail"].as_str().unwrap().contains("presence: true"), "{problem}");
}

#[tokio::test]
async fn rooms_are_ranked() {
    let world = World::new();
    let server = Server::start(&world).await;
    let got = answer(server.get("/api/latency").send().await.unwrap(), 200).await;
    assert_eq!((&got["unanswered"], &got["pods"]), (&json!(["podBBBBB"]), &json!(2)));
    let rooms = got["rooms"].as_array().unwrap();
    let names: Vec<_> =
        rooms.iter().map(|r| (r["namespace"].as_str(), r["room"].as_str())).collect();
    let both = ["/", "/chat"].map(Some);
    assert_eq!(names, both.map(|n| [(n, Some("a/1")), (n, Some("idle"))]).concat());
    let mut first = rooms[0].clone();
    let buckets = first["buckets"].take();
    assert_eq!(
        first,
        json!({"room": "a/1", "namespace": "/", "members": 3, "rate": 2.0, "p50": 0.00075,
               "p99": 0.000995, "max": 0.001, "count": 4, "buckets": null})
    );
    assert_eq!(buckets[4], json!({"le": 0.001, "count": 4}));
    assert_eq!(buckets.as_array().unwrap().last(), Some(&json!({"le": null, "count": 0})));
    assert_eq!((&rooms[1]["p99"], &rooms[1]["count"]), (&json!(null), &json!(0)));

    let query = "/api/latency?namespace=/chat&sort=members&limit=7&scope=local";
    answer(server.get(query).send().await.unwrap(), 200).await;
    let asked = world.rankings.lock();
    assert_eq!((asked[0].sort, asked[0].limit, asked[0].scope), (SortBy::P99, 50, Scope::Cluster));
    assert_eq!((asked[1].sort, asked[1].limit, asked[1].scope), (SortBy::Members, 7, Scope::Local));
    assert_eq!(asked[1].namespaces, RankedNamespaces::Named(vec!["/chat".into()]));
}

#[tokio::test]
async fn an_invalid_ranking_query_names_the_parameter() {
    let server = Server::start(&World::new()).await;
    for (query, field) in [
        ("sort=name", "sort"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=many", "limit"),
        ("scope=world", "scope"),
        ("namespace=/none", "namespace"),
        ("order=asc", "order"),
    ] {
        let refused = server.get(&format!("/api/latency?{query}")).send().await.unwrap();
        assert_eq!(answer(refused, 400).await["field"], field, "{query}");
    }
}

#[tokio::test]
async fn members_join_leave_and_are_disconnected() {
    let world = World::new();
    let server = Server::start(&world).await;
    let got = server.ok("/api/rooms/a%2Fb/join", json!({"user": "ada"})).await;
    assert_eq!(got, json!({"matched": 2, "unanswered": ["podBBBBB"]}));
    let got = server.ok("/api/rooms/r/leave", json!({"member": "m", "namespace": "/chat"})).await;
    assert_eq!(got["matched"], 2);
    server.ok("/api/disconnect?namespace=/chat", json!({"room": "r"})).await;
    let got = server.ok("/api/disconnect", json!({"user": "nobody"})).await;
    assert_eq!(got["matched"], 0);
    let one_namespace = json!({"room": "r", "namespace": "/chat", "close": false});
    server.ok("/api/disconnect", one_namespace).await;
    server.ok("/api/disconnect", json!({"room": "r", "close": true})).await;
    let user = |name: &str| Selector::User(name.to_owned());
    assert_eq!(
        *world.changes.lock(),
        [
            ("join", "/".to_owned(), user("ada"), vec!["a/b".into()]),
            ("leave", "/chat".to_owned(), Selector::Member("m".to_owned()), vec!["r".into()]),
            ("disconnect", "/chat".to_owned(), Selector::room("r"), vec![]),
            ("disconnect", "/".to_owned(), user("nobody"), vec![]),
            ("leave the namespace", "/chat".to_owned(), Selector::room("r"), vec![]),
            ("disconnect", "/".to_owned(), Selector::room("r"), vec![]),
        ]
    );
}

#[tokio::test]
async fn explain_decides_by_claims_or_a_user() {
    let server = Server::start(&World::new()).await;
    for (body, allowed) in [
        (json!({"user": "ada", "room": "a:b", "action": "join"}), true),
        (json!({"user": "bob", "room": "a:b", "action": "join"}), false),
        (json!({"user": "ada", "room": "a:b", "action": "publish"}), false),
        (json!({"claims": {"sub": 7}, "room": "a:b", "action": "publish"}), true),
        (json!({"claims": {"sub": 7}, "room": "a:b", "action": "join"}), false),
        (json!({"claims": {}, "room": "a:b", "action": "join"}), false),
    ] {
        let got = server.ok("/api/explain", body.clone()).await;
        assert_eq!((&got["allowed"], &got["rule"]), (&json!(allowed), &json!("{workspace}:{app}")));
        assert!(!got["why"].as_str().unwrap().is_empty(), "{body}");
    }
    let body = json!({"user": "ada", "room": "lobby", "action": "join"});
    assert_eq!(
        server.ok("/api/explain", body).await,
        json!({"allowed": false, "rule": null, "why": "no rule matches this room"})
    );
}

#[tokio::test]
async fn keys_are_required_only_under_api() {
    let server = Server::with(&World::new(), Setup { access: one_key(), ..Setup::default() }).await;
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(server.get(path).send().await.unwrap().status(), 200, "{path}");
    }
    for path in ["/api/rooms", "/api/openapi.json", "/api/nothing", "/api"] {
        let refused = server.get(path).send().await.unwrap();
        assert!(refused.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
        assert_eq!(answer(refused, 401).await["code"], "unauthenticated", "{path}");
        let refused = server.get(path).bearer_auth("open").send().await.unwrap();
        assert!(refused.headers()["www-authenticate"].to_str().unwrap().contains("invalid_token"));
        answer(refused, 401).await;
        let known = server.get(path).bearer_auth(KEY).send().await.unwrap();
        assert_ne!(known.status(), 401, "{path}");
    }
    let large = server.post("/api/publish", " ".repeat(8 << 20)).bearer_auth("open");
    answer(large.send().await.unwrap(), 401).await;
    let text = server.get("/metrics").send().await.unwrap().text().await.unwrap();
    assert!(text.contains("rookery_rejected_total{reason=\"unauthenticated\"} 9"), "{text}");
    assert!(server.metrics.api_seconds.get_sample_count() >= 12);
}

#[tokio::test]
async fn without_keys_the_api_is_closed_off_loopback() {
    let access = Access::new(None, "0.0.0.0:9090".parse().unwrap());
    let server = Server::with(&World::new(), Setup { access, ..Setup::default() }).await;
    for path in ["/api/rooms", "/api/openapi.json"] {
        let refused = server.get(path).bearer_auth(KEY).send().await.unwrap();
        assert_eq!(refused.headers()["content-type"], "application/problem+json");
        assert_eq!(answer(refused, 403).await["code"], "forbidden");
    }
    assert_eq!(server.get("/livez").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn readiness_names_the_unmet_condition() {
    let server = Server::start(&World::new()).await;
    let ready = server.get("/readyz").send().await.unwrap();
    assert_eq!((ready.status().as_u16(), ready.text().await.unwrap().trim()), (200, "ready"));
    let redis = server.readiness.condition("redis", "not connected");
    let missing = server.get("/readyz").send().await.unwrap();
    assert_eq!(missing.status(), 503);
    assert_eq!(missing.text().await.unwrap(), "redis: not connected\n");
    redis.set(true);
    assert_eq!(server.get("/readyz").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_request_in_progress_is_answered_during_shutdown() {
    let world = World::held();
    let server = Server::start(&world).await;
    let request = server.post("/api/publish", r#"{"room": "r", "event": "e"}"#).send();
    let request = tokio::spawn(request);
    until("the publication waits", || world.arrived.load(Ordering::Acquire) == 1).await;
    let address = server.address;
    drop(server);
    until("the port is closed", || std::net::TcpStream::connect(address).is_err()).await;
    world.gate.add_permits(1);
    assert_eq!(request.await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn the_description_has_every_route_and_no_dangling_references() {
    let server = Server::start(&World::new()).await;
    let got = answer(server.get("/api/openapi.json").send().await.unwrap(), 200).await;
    assert!(got["openapi"].as_str().unwrap().starts_with("3.1"));
    let operations: BTreeSet<String> = got["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(move |method| format!("{method} {path}"))
        })
        .collect();
    let expected = [
        "get /api/latency",
        "get /api/openapi.json",
        "get /api/rooms",
        "get /api/rooms/{room}",
        "get /api/rooms/{room}/latency",
        "get /api/rooms/{room}/presence",
        "get /api/status",
        "post /api/disconnect",
        "post /api/explain",
        "post /api/publish",
        "post /api/publish/batch",
        "post /api/rooms/{room}/join",
        "post /api/rooms/{room}/leave",
    ];
    assert_eq!(operations, expected.map(str::to_owned).into());
    let mut references = Vec::new();
    collect_references(&got, &mut references);
    assert!(references.len() > 20);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(got.pointer(pointer).is_some(), "{reference}");
    }
    let publish = &got["paths"]["/api/publish"]["post"];
    for status in ["200", "400", "401", "403", "413", "415", "429", "503"] {
        assert!(publish["responses"][status].is_object(), "{status}");
    }
    let problem = &got["components"]["responses"]["ProblemResponse"]["content"];
    assert!(problem["application/problem+json"]["schema"].is_object());
    assert_eq!(got["components"]["securitySchemes"]["key"]["scheme"], "bearer");
    let request = &got["components"]["schemas"]["PublishRequest"];
    assert_eq!(request["required"], json!(["event"]));
    assert_eq!(request["additionalProperties"], json!(false));
    assert_eq!(request["properties"]["event"]["type"], "string");
    let one_or_many = &got["components"]["schemas"]["OneOrMany"]["oneOf"];
    assert_eq!(one_or_many[1]["items"]["type"], "string");
}

fn collect_references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                match value.as_str() {
                    Some(reference) if key == "$ref" => found.push(reference.to_owned()),
                    _ => collect_references(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, found)),
        _ => {}
    }
}

#[tokio::test]
async fn bodies_beyond_the_memory_budget_are_refused_until_some_is_freed() {
    let setup = Setup { body_budget: 4, ..Setup::default() };
    let server = Server::with(&World::new(), setup).await;
    let body = r#"{"room": "r", "event": "e"}"#;
    let head = format!(
        "POST /api/publish HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        4096
    );
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(head.as_bytes()).await.unwrap();
    let refused = loop {
        let response = server.post("/api/publish", body).send().await.unwrap();
        if response.status() != 200 {
            break response;
        }
    };
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(server.metrics.api_overloaded.get(), 1);
    assert_eq!(answer(refused, 429).await["code"], "rate_limited");
    slow.write_all(
        &body.as_bytes().iter().copied().chain([b' '; 4096]).take(4096).collect::<Vec<_>>(),
    )
    .await
    .unwrap();
    let mut status = [0; 12];
    slow.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    let again = server.post("/api/publish", body).send().await.unwrap();
    assert_eq!(again.status(), 200);
}
