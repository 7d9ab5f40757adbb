//! A join that is refused, or that nobody needs, subscribes nothing in Redis. A room that was
//! subscribed stays so for 30 s, which is how it would show.

use serde_json::{Value, json};

use crate::client::{Member, Poller};
use crate::harness::{Rookery, shared_permit, until};
use crate::http::{Request, Response};
use crate::redis::Redis;
use crate::websocket::frame;

/// An instance whose clients may be in three rooms, and send so many events per second.
async fn start_with_rate(redis: &Redis, rate: u32) -> Rookery {
    let rooms = "rooms: [{ match: 'secret-{x}', join: 'false' }, { match: '{name}' }]";
    let limits = format!("limits: {{ roomsPerClient: 3, eventsPerSecond: {rate} }}");
    Rookery::start(&format!("redis: {{ url: '{}' }}\n{rooms}\n{limits}\n", redis.url())).await
}

async fn start(redis: &Redis) -> Rookery {
    start_with_rate(redis, 1_000_000).await
}

/// Only these rooms are subscribed, once whatever was asked for before must have been.
async fn assert_subscribed(redis: &Redis, server: &Rookery, rooms: &[&str]) {
    // Subscriptions are sent in order.
    let mut last = Member::connect(server).await;
    last.join("z-last").await;
    let mut expected = rooms.to_vec();
    expected.push("z-last");
    assert_eq!(redis.subscribed_rooms().await, expected);
}

async fn code(member: &mut Member, rooms: Value) -> Value {
    let (_, answer) = member.ask("join", rooms).await;
    answer["error"]["code"].clone()
}

#[tokio::test]
async fn joins_over_the_room_limit_subscribe_nothing() {
    let _permit = shared_permit().await;
    let redis = Redis::start().await;
    let server = start(&redis).await;
    let mut member = Member::connect(&server).await;
    member.join("a").await;
    let list = json!({ "rooms": ["l1", "l2", "l3"] });
    assert_eq!(code(&mut member, list).await, "too_many_rooms", "with those that it is in");
    let list = json!({ "rooms": ["m1", "m2", "m3", "m4"] });
    assert_eq!(code(&mut member, list).await, "too_many_rooms", "alone");
    member.join("b").await;
    let (_, answer) = member.ask("join", json!({ "rooms": ["a", "c", "c"] })).await;
    assert_eq!(answer["status"], "SUCCESS", "one is new: {answer}");
    for n in 0..5 {
        let room = json!({ "room": format!("over-{n}") });
        assert_eq!(code(&mut member, room).await, "too_many_rooms");
    }
    assert_eq!(code(&mut member, json!({ "rooms": ["a", "over"] })).await, "too_many_rooms");
    member.join("a").await;
    assert_subscribed(&redis, &server, &["a", "b", "c"]).await;
    assert_eq!(server.rejected("rooms").await, 8.0);
}

#[tokio::test]
async fn joins_that_are_forbidden_or_invalid_subscribe_nothing() {
    let _permit = shared_permit().await;
    let redis = Redis::start().await;
    let server = start(&redis).await;
    let mut member = Member::connect(&server).await;
    assert_eq!(code(&mut member, json!({ "room": "secret-1" })).await, "forbidden");
    assert_eq!(code(&mut member, json!({ "rooms": ["secret-2", "a"] })).await, "forbidden");
    for invalid in [json!({ "room": "" }), json!({ "room": ["x"] }), json!("x"), json!(null)] {
        assert_ne!(code(&mut member, invalid).await, Value::Null);
    }
    let long = json!({ "room": "x".repeat(256) });
    assert_eq!(code(&mut member, long).await, "room_invalid");
    let id = json!({ "room": "Ns8Nm2Yq7xPJUz1HAAAB" });
    assert_eq!(code(&mut member, id).await, "room_invalid");
    assert_subscribed(&redis, &server, &["a"]).await;
}

#[tokio::test]
async fn joins_over_the_rate_subscribe_nothing() {
    let _permit = shared_permit().await;
    let redis = Redis::start().await;
    let server = start_with_rate(&redis, 20).await;
    let mut member = Member::connect(&server).await;
    let mut joined = Vec::new();
    let mut limited = 0;
    for n in 0..100 {
        let room = format!("r{n:03}");
        let event = if n % 2 == 0 { json!({ "room": room }) } else { json!({ "rooms": [room] }) };
        let (_, answer) = member.ask("join", event).await;
        match answer["error"]["code"].as_str() {
            None => joined.push(room),
            Some("rate_limited") => limited += 1,
            Some(code) => assert_eq!(code, "too_many_rooms"),
        }
    }
    assert!(limited > 0);
    let joined: Vec<_> = joined.iter().map(String::as_str).collect();
    assert_subscribed(&redis, &server, &joined).await;
}

#[tokio::test]
async fn joins_outside_a_namespace_subscribe_nothing() {
    let _permit = shared_permit().await;
    let redis = Redis::start().await;
    let server = start(&redis).await;
    let join = json!(["join", { "room": "stray" }]);
    // Left.
    let mut member = Member::connect(&server).await;
    member.socket.send("41").await;
    member.socket.send(&format!("42{join}")).await;
    member.socket.closed().await;
    // Not asked for, and not offered.
    let mut member = Member::connect(&server).await;
    member.socket.send(&format!("42/nope,{join}")).await;
    member.socket.send("40/nope,").await;
    assert!(member.socket.text().await.starts_with("44/nope,"));
    member.socket.send(&format!("42/nope,{join}")).await;
    let mut member = Member::connect(&server).await;
    member.socket.send(&format!("40/nope,{}", json!({ "room": "auth", "rooms": ["auth"] }))).await;
    assert!(member.socket.text().await.starts_with("44/nope,"));
    assert_subscribed(&redis, &server, &[]).await;
}

#[tokio::test]
async fn joins_of_a_session_that_is_closing_subscribe_nothing() {
    let _permit = shared_permit().await;
    let redis = Redis::start().await;
    let server = start(&redis).await;
    let join = |room: &str| format!("42{}", json!(["join", { "room": room }]));
    for (n, order) in ["join close", "close join"].into_iter().enumerate() {
        let poller = Poller::connect(&server, 4).await;
        let packets: Vec<_> = order
            .split(' ')
            .map(|what| if what == "join" { join(&format!("late-{n}")) } else { "1".to_owned() })
            .collect();
        poller.post(packets.join("\u{1e}")).await;
        until("the session has ended", async || server.connections().await == 0.0).await;
    }
    let mut member = Member::connect(&server).await;
    let frames = [frame(0x88, &[3, 232]), frame(0x81, join("closed").as_bytes())].concat();
    member.socket.write(&frames).await.unwrap();
    member.socket.closed().await;
    assert_subscribed(&redis, &server, &[]).await;
}

async fn order(server: &Rookery, room: &str, who: Value) -> Response {
    let path = format!("/api/rooms/{room}/join");
    let request = Request::post(&path, who.to_string()).header("content-type", "application/json");
    request.send(server.internal).await.unwrap()
}

#[tokio::test]
async fn orders_that_make_nobody_join_subscribe_nothing() {
    let _permit = shared_permit().await;
    let redis = Redis::start().await;
    let server = start(&redis).await;
    let mut member = Member::connect(&server).await;
    for room in ["a", "b", "c"] {
        member.join(room).await;
    }
    let answer = order(&server, "nobody", json!({ "member": "Ns8Nm2Yq7xPJUz1HAAAB" })).await;
    assert_eq!((answer.status, &answer.json()["matched"]), (200, &json!(0)), "{}", answer.text());
    let answer = order(&server, "no-user", json!({ "user": "nobody" })).await;
    assert_eq!(answer.json()["matched"], 0);
    // As Node's socketsJoin sends it: to the members of a room, of which there are none, and to all,
    // who are in as many rooms as they may be.
    for rooms in [json!(["empty"]), json!([])] {
        let request =
            json!({ "type": 2, "opts": { "rooms": rooms, "except": [] }, "rooms": ["n"] });
        redis.publish("socket.io-request#/#", &request.to_string()).await;
    }
    until("they are handled", async || {
        server.metric("rookery_redis_messages_total{direction=\"in\"}").await >= 2.0
    })
    .await;
    assert_subscribed(&redis, &server, &["a", "b", "c"]).await;
}
