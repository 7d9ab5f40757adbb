//! Namespaces of patterns: who gets in, what is left of them, and how many there may be.

use serde_json::{Value, json};

use crate::backend::{Answer, Backend};
use crate::client::{Member, Poller};
use crate::harness::{Rookery, shared_permit, until};
use crate::http::{Request, Response};
use crate::redis::Redis;
use crate::websocket::WebSocket;

/// One namespace, and those of one pattern.
const TENANTS: &str = "namespaces: ['/', '/tenant-{id}']\n";

async fn open(server: &Rookery, eio: u8) -> WebSocket {
    let target = format!("/socket.io/?EIO={eio}&transport=websocket");
    let mut socket = WebSocket::open(server.clients, &target).await.unwrap();
    assert!(socket.text().await.starts_with("0{"));
    socket
}

/// The answer to a CONNECT.
async fn connect(socket: &mut WebSocket, namespace: &str) -> String {
    socket.send(&format!("40{namespace},")).await;
    socket.text().await
}

/// A client in a namespace.
async fn member_of(server: &Rookery, namespace: &str) -> WebSocket {
    let mut socket = open(server, 4).await;
    let answer = connect(&mut socket, namespace).await;
    assert!(answer.starts_with(&format!("40{namespace},{{\"sid\":\"")), "{answer}");
    socket
}

async fn join(socket: &mut WebSocket, namespace: &str, room: &str) {
    socket.send(&format!("42{namespace},1{}", json!(["join", { "room": room }]))).await;
    let answer = socket.text().await;
    let expected = format!("43{namespace},1[{{\"status\":\"SUCCESS\"");
    assert!(answer.starts_with(&expected), "{answer}");
}

async fn post(server: &Rookery, path: &str, body: Value) -> Response {
    Request::post(path, body.to_string())
        .header("content-type", "application/json")
        .send(server.internal)
        .await
        .unwrap()
}

async fn namespaces(server: &Rookery) -> f64 {
    server.metric("rookery_namespaces").await
}

#[tokio::test]
async fn clients_connect_to_what_a_pattern_matches_and_to_nothing_else() {
    let _permit = shared_permit().await;
    let server = Rookery::start(TENANTS).await;
    let mut seven = member_of(&server, "/tenant-7").await;
    let mut eight = member_of(&server, "/tenant-8").await;
    assert_eq!(namespaces(&server).await, 2.0);
    for (socket, namespace) in [(&mut seven, "/tenant-7"), (&mut eight, "/tenant-8")] {
        join(socket, namespace, "room").await;
    }
    let publication =
        json!({ "namespace": "/tenant-7", "room": "room", "event": "n", "args": [7] });
    assert_eq!(post(&server, "/api/publish", publication).await.json()["members"], 1);
    let publication =
        json!({ "namespace": "/tenant-8", "room": "room", "event": "n", "args": [8] });
    assert_eq!(post(&server, "/api/publish", publication).await.json()["members"], 1);
    assert_eq!(seven.text().await, "42/tenant-7,[\"n\",7]");
    assert_eq!(eight.text().await, "42/tenant-8,[\"n\",8]");
    for other in ["/tenant-", "/tenant-7-8", "/tenant-7/8", "/Tenant-7", "/tenant-7#room", "/other"]
    {
        let answer = connect(&mut seven, other).await;
        assert_eq!(answer, format!("44{other},{{\"message\":\"Invalid namespace\"}}"));
    }
    let long = format!("/tenant-{}", "7".repeat(248));
    assert!(connect(&mut seven, &long).await.starts_with("44"), "256 bytes");
    assert_eq!(namespaces(&server).await, 2.0);
}

#[tokio::test]
async fn nothing_is_left_of_a_namespace_whose_last_client_left_in_whatever_way() {
    let _permit = shared_permit().await;
    let server = Rookery::start(TENANTS).await;
    let mut leaves = member_of(&server, "/tenant-1").await;
    let drops = member_of(&server, "/tenant-2").await;
    let mut stays = member_of(&server, "/tenant-3").await;
    let goes = member_of(&server, "/tenant-3").await;
    let polls = Poller::open(&server, 4).await;
    polls.send("40/tenant-4,").await;
    assert!(polls.packets().await[0].starts_with("40/tenant-4,"));
    let mut dismissed = member_of(&server, "/tenant-5").await;
    join(&mut dismissed, "/tenant-5", "room").await;
    assert_eq!(namespaces(&server).await, 5.0);

    leaves.send("41/tenant-1,").await;
    drop((drops, goes));
    polls.send("1").await;
    let order = json!({ "namespace": "/tenant-5", "room": "room", "close": false });
    assert_eq!(post(&server, "/api/disconnect", order).await.json()["matched"], 1);
    until("all but one are gone", async || namespaces(&server).await == 1.0).await;
    join(&mut stays, "/tenant-3", "room").await;
    // They can be had again, on connections that had them.
    assert!(connect(&mut leaves, "/tenant-1").await.starts_with("40/tenant-1,"));
    assert_eq!(dismissed.text().await, "41/tenant-5,");
    assert!(connect(&mut dismissed, "/tenant-5").await.starts_with("40/tenant-5,"));
    join(&mut dismissed, "/tenant-5", "room").await;
    assert_eq!(namespaces(&server).await, 3.0);
}

#[tokio::test]
async fn a_client_that_is_refused_leaves_no_namespace_behind() {
    let _permit = shared_permit().await;
    let server = Rookery::start(&format!("auth: {{ anonymous: false }}\n{TENANTS}")).await;
    let mut socket = open(&server, 4).await;
    for _ in 0..3 {
        let answer = connect(&mut socket, "/tenant-7").await;
        assert!(answer.contains("unauthenticated"), "{answer}");
        until("it is gone", async || namespaces(&server).await == 0.0).await;
    }
}

#[tokio::test]
async fn an_old_client_connects_to_a_namespace_with_a_query() {
    let _permit = shared_permit().await;
    let server = Rookery::start(TENANTS).await;
    let mut socket = open(&server, 3).await;
    assert_eq!(socket.text().await, "40");
    socket.send("40/tenant-7?a=b,").await;
    assert_eq!(socket.text().await, "40/tenant-7,");
    join(&mut socket, "/tenant-7", "room").await;
    // A client of today sends no query there: to it, the name does not match.
    let mut socket = member_of(&server, "/tenant-7").await;
    assert!(connect(&mut socket, "/tenant-8?a=b").await.starts_with("44/tenant-8"));
    assert_eq!(namespaces(&server).await, 1.0);
    assert!(connect(&mut socket, "/tenant-7?a=b").await.starts_with("44/tenant-7"));
}

#[tokio::test]
async fn there_are_no_more_namespaces_than_allowed() {
    let _permit = shared_permit().await;
    let server = Rookery::start(&format!("limits: {{ namespaces: 2 }}\n{TENANTS}")).await;
    let mut first = member_of(&server, "/tenant-1").await;
    let _second = member_of(&server, "/tenant-2").await;
    let mut third = open(&server, 4).await;
    let refused = connect(&mut third, "/tenant-3").await;
    let payload: Value =
        serde_json::from_str(refused.strip_prefix("44/tenant-3,").unwrap()).unwrap();
    assert_eq!(payload["data"]["code"], "too_many_namespaces", "{refused}");
    assert_eq!(server.rejected("namespaces").await, 1.0);
    assert!(connect(&mut third, "/tenant-2").await.starts_with("40/tenant-2,"), "it exists");
    assert!(connect(&mut third, "/").await.starts_with("40"), "it is named");
    first.send("41/tenant-1,").await;
    until("there is room", async || namespaces(&server).await == 1.0).await;
    assert!(connect(&mut third, "/tenant-3").await.starts_with("40/tenant-3,"));
}

#[tokio::test]
async fn one_connection_is_in_a_bounded_number_of_namespaces() {
    let _permit = shared_permit().await;
    let server = Rookery::start(TENANTS).await;
    let mut socket = open(&server, 4).await;
    for n in 0..50 {
        assert!(connect(&mut socket, &format!("/tenant-{n}")).await.starts_with("40"), "{n}");
    }
    let refused = connect(&mut socket, "/tenant-x").await;
    assert!(refused.contains("too_many_namespaces"), "{refused}");
    assert_eq!(namespaces(&server).await, 50.0);
}

#[tokio::test]
async fn the_api_knows_namespaces_by_their_patterns() {
    let _permit = shared_permit().await;
    let rooms = "rooms: [{ match: 'own', join: 'nsp.params.id == user' }, { match: '{r*}' }]\n";
    let server = Rookery::start(&format!("{rooms}{TENANTS}")).await;
    let mut socket = member_of(&server, "/tenant-7").await;
    join(&mut socket, "/tenant-7", "room").await;
    let rooms = server.internal("/api/rooms?namespace=/tenant-7").await.json();
    assert_eq!(rooms["rooms"], json!([{ "room": "room", "members": 1 }]));
    let empty = server.internal("/api/rooms?namespace=/tenant-8").await;
    assert_eq!((empty.status, &empty.json()["rooms"]), (200, &json!([])));
    let unknown = server.internal("/api/rooms?namespace=/tenant-7-8").await;
    assert_eq!(unknown.status, 400);
    assert!(unknown.text().contains("`/tenant-{id}`"), "{}", unknown.text());
    let ranked = server.internal("/api/latency?sort=members").await.json();
    assert_eq!(ranked["rooms"][0]["namespace"], "/tenant-7", "{ranked}");
    let explain = async |namespace: &str| {
        let request =
            json!({ "user": "7", "room": "own", "action": "join", "namespace": namespace });
        post(&server, "/api/explain", request).await.json()["allowed"].clone()
    };
    assert_eq!(
        (explain("/tenant-7").await, explain("/tenant-8").await),
        (json!(true), json!(false))
    );
}

#[tokio::test]
async fn the_backend_is_told_what_the_pattern_captured() {
    let _permit = shared_permit().await;
    let backend = Backend::start(|body| match body["namespace"].as_str() {
        Some("/tenant-7" | "/") => Answer::Json(json!({ "join": ["lobby"] })),
        _ => Answer::Json(json!({ "error": { "message": "not yours" } })),
    })
    .await;
    let server = Rookery::start(&format!("{TENANTS}{}", backend.config(""))).await;
    let mut socket = member_of(&server, "/tenant-7").await;
    assert!(connect(&mut socket, "/tenant-8").await.contains("not yours"));
    socket.send("42/tenant-7,[\"hello\"]").await;
    socket.send("41/tenant-7,").await;
    backend.called("disconnect", 1).await;
    for kind in ["connect", "event", "disconnect"] {
        let call = &backend.of_type(kind)[0];
        assert_eq!(call.body["namespace"], "/tenant-7");
        assert_eq!(call.body["params"], json!({ "id": "7" }), "{kind}");
    }
    until("the refused one is gone", async || namespaces(&server).await == 0.0).await;
    let mut root = Member::connect(&server).await;
    root.emit("x", Value::Null).await;
    assert!(
        backend
            .of_type("connect")
            .iter()
            .all(|call| { (call.body["namespace"] == "/") == call.body["params"].is_null() })
    );
}

#[tokio::test]
async fn redis_has_channels_of_a_namespace_while_it_has_members_and_both_instances_serve_it() {
    let _permit = shared_permit().await;
    let redis = Redis::start().await;
    for wire in ["classic", "sharded"] {
        let config = format!(
            "redis: {{ url: '{}', wire: {wire}, prefix: {wire} }}\nnamespaces: ['/', '/tenant-{{id}}', '/{{rest*}}']\n",
            redis.url()
        );
        let (one, other) = (Rookery::start(&config).await, Rookery::start(&config).await);
        let list = if wire == "classic" { "CHANNELS" } else { "SHARDCHANNELS" };
        let of_tenants = async || {
            let all = redis.channels(list).await;
            all.into_iter().filter(|name| name.contains("/tenant-")).collect::<Vec<_>>()
        };
        assert_eq!(of_tenants().await, [""; 0], "{wire}");
        let publish = async |body: Value| {
            let answer = post(&other, "/api/publish", body).await;
            assert_eq!((answer.status, &answer.json()["scope"]), (200, &json!("cluster")));
        };
        let mut member = member_of(&one, "/tenant-7").await;
        let channels = of_tenants().await;
        assert!(channels.contains(&format!("{wire}#/tenant-7#")), "{channels:?}");
        // To a room, to a member by its id, and to several rooms, from where nobody is.
        join(&mut member, "/tenant-7", "a").await;
        publish(json!({ "namespace": "/tenant-7", "room": "a", "event": "n", "args": [1] })).await;
        assert_eq!(member.text().await, "42/tenant-7,[\"n\",1]");
        publish(
            json!({ "namespace": "/tenant-7", "rooms": ["a", "b"], "event": "n", "args": [2] }),
        )
        .await;
        assert_eq!(member.text().await, "42/tenant-7,[\"n\",2]");
        let of_room = other.internal("/api/rooms/a?namespace=/tenant-7").await.json();
        assert_eq!(of_room["unanswered"], json!([]));
        let id = of_room["members"][0]["id"].as_str().unwrap().to_owned();
        publish(json!({ "namespace": "/tenant-7", "room": id, "event": "n", "args": [3] })).await;
        assert_eq!(member.text().await, "42/tenant-7,[\"n\",3]");
        publish(json!({ "namespace": "/tenant-7", "room": "a", "event": "n", "args": [4] })).await;
        assert_eq!(member.text().await, "42/tenant-7,[\"n\",4]", "and nothing twice");
        member.send("41/tenant-7,").await;
        // What is for the namespace ends at once, that of rooms lingers.
        until("the channels of the namespace are gone", async || {
            of_tenants().await == [format!("{wire}#/tenant-7#a#")]
        })
        .await;
        assert_eq!(namespaces(&one).await, 0.0);
        drop((one, other));
    }
}
