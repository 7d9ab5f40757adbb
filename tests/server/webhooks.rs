//! Webhooks: what the backend is sent, and what its replies do.

use std::time::Duration;

use serde_json::{Value, json};

use crate::backend::{Answer, Backend, Call, echo};
use crate::client::Member;
use crate::harness::{Rookery, shared_permit, until};
use crate::websocket::{Frame, WebSocket};

pub const OPEN: &str = "rooms: open\n";

pub async fn serve(backend: &Backend, more: &str) -> Rookery {
    Rookery::start(&format!("{OPEN}{}", backend.config(more))).await
}

/// A WebSocket whose Engine.IO handshake is done.
pub async fn engine(server: &Rookery) -> WebSocket {
    let opened = WebSocket::open(server.clients, "/socket.io/?EIO=4&transport=websocket").await;
    let mut socket = opened.unwrap_or_else(|refused| panic!("{refused:?}"));
    assert!(socket.text().await.starts_with("0{"));
    socket
}

/// The next packet that is no heartbeat.
pub async fn packet(socket: &mut WebSocket) -> String {
    loop {
        match socket.text().await {
            ping if ping == "2" => socket.send("3").await,
            packet => return packet,
        }
    }
}

#[tokio::test]
async fn an_event_of_any_name_is_acknowledged_by_the_backend() {
    let _permit = shared_permit().await;
    let backend = Backend::echo().await;
    let server = serve(&backend, "").await;
    let mut member = Member::connect(&server).await;
    member.socket.send(r#"427["any name",1,{"a":[null]},"x"]"#).await;
    assert_eq!(member.packet().await.unwrap(), r#"437[1,{"a":[null]},"x"]"#);
    member.socket.send(r#"428["join"]"#).await;
    assert_eq!(member.packet().await.unwrap(), "438[]");
    let event = &backend.called("event", 1).await[0].body;
    let connect = &backend.of_type("connect")[0].body;
    assert_eq!(
        *event,
        json!({
            "type": "event", "namespace": "/", "id": connect["id"], "user": null, "claims": {},
            "event": "any name", "args": [1, { "a": [null] }, "x"], "ack": true,
        })
    );
    let events = "rookery_backend_requests_total{hook=\"event\",outcome=\"ok\"}";
    assert_eq!(server.metric(events).await, 2.0);
    assert_eq!(server.metric("rookery_backend_request_seconds_count").await, 3.0);
}

#[tokio::test]
async fn binary_goes_both_ways_at_any_depth() {
    let _permit = shared_permit().await;
    let backend = Backend::echo().await;
    let server = serve(&backend, "").await;
    let mut member = Member::connect(&server).await;
    let placeholder = |n: u32| json!({ "_placeholder": true, "num": n });
    let args = json!(["bin", placeholder(0), { "a": [placeholder(1)] }]);
    member.socket.send(&format!("452-9{args}")).await;
    member.socket.send_binary(b"\x01\x02").await;
    member.socket.send_binary(b"").await;
    let expected = json!([placeholder(0), { "a": [placeholder(1)] }]);
    assert_eq!(member.packet().await.unwrap(), format!("462-9{expected}"));
    assert_eq!(member.socket.next().await, Some(Frame::Binary(b"\x01\x02".to_vec())));
    assert_eq!(member.socket.next().await, Some(Frame::Binary(Vec::new())));
    let event = &backend.called("event", 1).await[0].body;
    assert_eq!(event["args"], json!([{ "$binary": "AQI=" }, { "a": [{ "$binary": "" }] }]));
}

#[tokio::test]
async fn a_connect_carries_the_auth_payload_and_its_reply_follows_the_connect() {
    let _permit = shared_permit().await;
    let backend = Backend::start(|body| {
        Answer::Json(match body["type"].as_str() {
            Some("connect") => json!({
                "emit": [{ "event": "welcome", "args": [body["auth"]] }, { "event": "second" }],
                "join": ["lobby"],
                "publish": [{ "room": "lobby", "event": "joined", "args": [body["id"]] }],
            }),
            _ => json!({}),
        })
    })
    .await;
    let server = serve(&backend, "").await;
    let mut socket = engine(&server).await;
    socket.send(r#"40{"n":[1],"name":"ann"}"#).await;
    let connected = packet(&mut socket).await;
    let sid: Value = serde_json::from_str(connected.strip_prefix("40").unwrap()).unwrap();
    assert_eq!(packet(&mut socket).await, r#"42["welcome",{"n":[1],"name":"ann"}]"#);
    assert_eq!(packet(&mut socket).await, r#"42["second"]"#);
    assert_eq!(packet(&mut socket).await, format!("42{}", json!(["joined", sid["sid"]])));
    let connect = &backend.called("connect", 1).await[0].body;
    assert_eq!(
        *connect,
        json!({
            "type": "connect", "namespace": "/", "id": sid["sid"], "user": null, "claims": {},
            "auth": { "name": "ann", "n": [1] },
        })
    );
    assert_eq!(server.publish("lobby", "news", json!(1)).await, 1);
    assert_eq!(server.metric("rookery_publications_total{source=\"backend\"}").await, 1.0);
}

#[tokio::test]
async fn a_client_that_the_backend_refuses_gets_its_message_and_data() {
    let _permit = shared_permit().await;
    let backend = Backend::start(|_| {
        Answer::Json(
            json!({ "error": { "message": "full", "data": { "code": "full", "free": 0 } } }),
        )
    })
    .await;
    let server = serve(&backend, "").await;
    let mut socket = engine(&server).await;
    socket.send("40").await;
    let refused = packet(&mut socket).await;
    assert_eq!(refused, r#"44{"message":"full","data":{"code":"full","free":0}}"#);
    assert_eq!(server.metric("rookery_connects_total{outcome=\"refused\"}").await, 1.0);
    assert_eq!(server.rejected("backend").await, 1.0);
    backend.set(echo);
    socket.send("40").await;
    assert!(packet(&mut socket).await.starts_with("40{"));
    drop(socket);
    // The one that was refused was never there.
    let gone = backend.called("disconnect", 1).await;
    assert_eq!(gone[0].body["id"], backend.of_type("connect")[1].body["id"]);
}

#[tokio::test]
async fn a_reply_leaves_joins_emits_acknowledges_and_publishes_in_this_order() {
    let _permit = shared_permit().await;
    let backend = Backend::start(|body| {
        Answer::Json(match body["event"].as_str() {
            Some("enter") => json!({ "join": ["old"] }),
            Some("move") => json!({
                "leave": ["old"], "join": ["new"],
                "emit": [{ "event": "emitted", "args": [{ "$binary": "AQI=" }] }],
                "ack": ["moved"],
                "publish": [
                    { "room": "new", "event": "published", "args": [1] },
                    { "room": "old", "event": "not for it" },
                    { "room": "new", "event": "nor this", "except": [body["id"]] },
                    { "room": "new", "event": "last" },
                ],
            }),
            _ => json!({}),
        })
    })
    .await;
    let server = serve(&backend, "").await;
    let mut member = Member::connect(&server).await;
    member.socket.send(r#"424["enter"]"#).await;
    assert_eq!(member.packet().await.unwrap(), "434[]");
    member.socket.send(r#"425["move"]"#).await;
    let emitted = r#"451-["emitted",{"_placeholder":true,"num":0}]"#;
    assert_eq!(member.packet().await.unwrap(), emitted);
    assert_eq!(member.socket.next().await, Some(Frame::Binary(b"\x01\x02".to_vec())));
    assert_eq!(member.packet().await.unwrap(), r#"435["moved"]"#);
    assert_eq!(member.event().await, ("published".to_owned(), json!(1)));
    assert_eq!(member.event().await, ("last".to_owned(), Value::Null));
    assert_eq!(server.publish("old", "x", json!(1)).await, 0);
    assert_eq!(server.publish("new", "x", json!(1)).await, 1);
    let publications = server.metric("rookery_publications_total{source=\"backend\"}").await;
    assert_eq!(publications, 4.0);
    // What a hook emits is no delivery.
    assert_eq!(server.deliveries("written").await, 3.0);
}

#[tokio::test]
async fn an_event_that_the_backend_refuses_is_answered_with_its_error() {
    let _permit = shared_permit().await;
    let backend = Backend::start(|body| match body["type"].as_str() {
        Some("event") => Answer::Json(json!({
            "error": { "message": "no", "data": [7] }, "ack": ["never"], "join": ["never"],
        })),
        _ => echo(body),
    })
    .await;
    let server = serve(&backend, "").await;
    let mut member = Member::connect(&server).await;
    let error = json!({ "code": "forbidden", "message": "no", "data": [7] });
    let (_, answer) = member.ask("a", json!(1)).await;
    assert_eq!(answer, json!({ "status": "ERROR", "error": error }));
    member.emit("a", json!(1)).await;
    let (event, answer) = member.event().await;
    assert_eq!(event, "rookery:error");
    assert_eq!(answer, json!({ "status": "ERROR", "event": "a", "error": error }));
    assert_eq!(server.publish("never", "x", json!(1)).await, 0);
    let refused = "rookery_backend_requests_total{hook=\"event\",outcome=\"refused\"}";
    assert_eq!(server.metric(refused).await, 2.0);
}

#[tokio::test]
async fn a_reply_joins_rooms_that_the_rules_close_but_not_more_than_allowed() {
    let _permit = shared_permit().await;
    let backend = Backend::start(|body| match body["event"].as_str() {
        Some(rooms) => Answer::Json(json!({
            "join": rooms.split(',').collect::<Vec<_>>(), "ack": ["ok"],
            "publish": [{ "room": "closed", "event": "told" }],
        })),
        None => echo(body),
    })
    .await;
    let rules = "rooms: [{ match: '{name}', join: 'false' }]\nlimits: { roomsPerClient: 2 }\n";
    let server = Rookery::start(&format!("{rules}{}", backend.config(""))).await;
    let mut member = Member::connect(&server).await;
    assert_eq!(member.ask("closed", json!(1)).await, (Vec::new(), json!("ok")));
    assert_eq!(member.event().await.0, "told");
    for (rooms, code) in [("a,b", "too_many_rooms"), ("a,b,c", "too_many_rooms")] {
        let (before, answer) = member.ask(rooms, json!(1)).await;
        assert_eq!((before.len(), &answer["error"]["code"]), (0, &json!(code)), "{answer}");
        assert_eq!(answer["status"], "ERROR");
    }
    let id = backend.of_type("connect")[0].body["id"].as_str().unwrap().to_owned();
    let (_, answer) = member.ask(&id, json!(1)).await;
    assert_eq!(answer["error"]["code"], "room_invalid", "{answer}");
    assert_eq!(server.publish("a", "x", json!(1)).await, 0);
    assert_eq!(server.rejected("rooms").await, 3.0);
}

#[tokio::test]
async fn rules_come_first_and_what_nothing_handles_is_refused_and_counted() {
    let _permit = shared_permit().await;
    let backend = Backend::echo().await;
    let url = format!("http://{}/rookery", backend.address);
    let config = format!(
        "{OPEN}events: [{{ on: 'chat:join', operation: join, room: '{{room}}' }}]\n\
         backend: {{ url: '{url}', events: ['chat:*', exact] }}\n"
    );
    let server = Rookery::start(&config).await;
    let mut member = Member::connect(&server).await;
    let (_, joined) = member.ask("chat:join", json!({ "room": "r" })).await;
    assert_eq!(joined["status"], "SUCCESS");
    assert_eq!(member.ask("chat:say", json!("hi")).await.1, "hi");
    assert_eq!(member.ask("exact", json!(2)).await.1, 2);
    for unknown in ["exactly", "chat", "other"] {
        let (_, answer) = member.ask(unknown, json!(1)).await;
        assert_eq!(answer["error"]["code"], "unknown_operation", "{unknown}: {answer}");
    }
    assert_eq!(server.rejected("unknown_event").await, 3.0);
    let sent: Vec<_> = backend.of_type("event");
    let names: Vec<_> = sent.iter().map(|call| call.body["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["chat:say", "exact"]);
}

#[tokio::test]
async fn each_accepted_client_has_one_disconnect_with_its_reason() {
    let _permit = shared_permit().await;
    let backend = Backend::start(|body| match body["event"].as_str() {
        Some("bye") => Answer::Json(json!({ "ack": [], "disconnect": true })),
        _ => echo(body),
    })
    .await;
    let config = format!("{OPEN}namespaces: ['/', /chat]\n{}", backend.config(""));
    let server = Rookery::start(&config).await;
    let ids = |calls: Vec<Call>| {
        let mut ids: Vec<_> = calls
            .iter()
            .map(|call| {
                let text = |field: &str| call.body[field].as_str().unwrap_or_default().to_owned();
                (text("id"), text("reason"))
            })
            .collect();
        ids.sort();
        ids
    };
    // Gone with its connection; by its own word; by the backend's; by the API's.
    let gone = Member::connect(&server).await;
    drop(gone.socket);
    backend.called("disconnect", 1).await;
    let mut leaves = Member::connect(&server).await;
    leaves.socket.send("40/chat,").await;
    assert!(leaves.packet().await.unwrap().starts_with("40/chat,"));
    leaves.socket.send("41/chat,").await;
    let left = backend.called("disconnect", 2).await;
    assert_eq!(left[1].body["namespace"], "/chat");
    assert_eq!(left[1].body["reason"], "client");
    let mut dismissed = Member::connect(&server).await;
    dismissed.socket.send(r#"421["bye"]"#).await;
    assert_eq!(dismissed.packet().await.unwrap(), "431[]");
    assert_eq!(dismissed.packet().await.unwrap(), "41");
    assert_eq!(backend.called("disconnect", 3).await[2].body["reason"], "dismissed");
    assert_eq!(dismissed.packet().await, None);
    drop(leaves.socket);
    backend.called("disconnect", 4).await;
    let connects: Vec<_> = ids(backend.of_type("connect")).into_iter().map(|(id, _)| id).collect();
    let disconnects: Vec<_> =
        ids(backend.of_type("disconnect")).into_iter().map(|(id, _)| id).collect();
    assert_eq!(disconnects, connects);
}

#[tokio::test]
async fn disconnects_are_told_before_the_process_ends() {
    let _permit = shared_permit().await;
    let backend = Backend::start(|body| match body["type"].as_str() {
        Some("disconnect") => Answer::After(Duration::from_millis(100), json!({})),
        _ => echo(body),
    })
    .await;
    let drain = "drain: { lead: 0s, window: 0s }\n";
    let mut server = Rookery::start(&format!("{OPEN}{drain}{}", backend.config(""))).await;
    let mut members = Vec::new();
    for _ in 0..20 {
        members.push(Member::connect(&server).await);
    }
    server.terminate();
    until("the server has ended", async || server.has_ended()).await;
    let disconnects = backend.of_type("disconnect");
    assert_eq!(disconnects.len(), 20);
    for call in &disconnects {
        assert_eq!(call.body["reason"], "drain");
    }
}

#[tokio::test]
async fn a_publication_in_the_reply_to_a_disconnect_is_published() {
    let _permit = shared_permit().await;
    let backend = Backend::start(|body| match body["type"].as_str() {
        Some("connect") => Answer::Json(json!({ "join": ["lobby"] })),
        Some("disconnect") => Answer::Json(json!({
            "publish": [{ "room": "lobby", "event": "gone", "args": [body["id"]] }],
        })),
        _ => echo(body),
    })
    .await;
    let server = serve(&backend, "").await;
    let mut stays = Member::connect(&server).await;
    drop(Member::connect(&server).await.socket);
    let id = backend.called("connect", 2).await[1].body["id"].clone();
    assert_eq!(stays.event().await, ("gone".to_owned(), id));
}
