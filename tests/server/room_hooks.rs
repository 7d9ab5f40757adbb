//! What the backend is told of rooms, by real processes.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::backend::{Answer, Backend, echo};
use crate::client::Member;
use crate::harness::{Rookery, shared_permit, signal, until};
use crate::redis::Redis;
use crate::webhook_requests::signature;

/// A configuration in which rooms that begin with `doc:` have hooks.
fn config(backend: &Backend, more: &str) -> String {
    let url = format!("http://{}/rookery", backend.address);
    format!(
        "rooms: [{{ match: 'doc:{{id}}', hooks: true }}, {{ match: 'plain:{{id}}' }}]\n\
         presence: {{ leaveDelay: 300ms }}\n\
         drain: {{ lead: 0s, window: 0s }}\n\
         backend: {{ url: '{url}', hooks: [rooms], vacatedDelay: 600ms{more} }}\n"
    )
}

/// The events that were sent, each once, in the order in which they were sent first.
fn events(backend: &Backend) -> Vec<Value> {
    let mut seen = BTreeSet::new();
    let calls = backend.of_type("rooms").into_iter();
    let events = calls.flat_map(|call| call.body["events"].as_array().unwrap().clone());
    events.filter(|event| seen.insert(event["id"].as_str().unwrap().to_owned())).collect()
}

/// The types of the events of a room.
fn told(backend: &Backend, room: &str) -> Vec<String> {
    let of_room = events(backend).into_iter().filter(|event| event["room"] == room);
    of_room.map(|event| event["type"].as_str().unwrap().to_owned()).collect()
}

/// Waits until exactly these events of a room were sent.
async fn is_told(backend: &Backend, room: &str, types: &[&str]) {
    until(&format!("{types:?} of {room}"), async || told(backend, room) == types).await;
}

const OCCUPIED: [&str; 2] = ["room_occupied", "member_joined"];

const WHOLE: [&str; 4] = ["room_occupied", "member_joined", "member_left", "room_vacated"];

fn counted(kind: &str, outcome: &str) -> String {
    format!("rookery_backend_room_events_total{{outcome=\"{outcome}\",type=\"{kind}\"}}")
}

#[tokio::test]
async fn one_instance_tells_of_its_rooms_in_signed_requests() {
    let _permit = shared_permit().await;
    let key = NamedTempFile::new().unwrap();
    std::fs::write(key.path(), "the key").unwrap();
    let backend = Backend::echo().await;
    let signed = format!(", signingKeyFile: '{}'", key.path().display());
    let server = Rookery::start(&config(&backend, &signed)).await;
    let mut member = Member::connect(&server).await;
    let (_, answer) = member.ask("join", json!({ "room": "doc:1" })).await;
    assert_eq!((&answer["status"], &answer["presence"]), (&json!("SUCCESS"), &Value::Null));
    member.join("plain:1").await;
    is_told(&backend, "doc:1", &OCCUPIED).await;
    assert_eq!(server.internal("/api/rooms/doc:1/presence").await.status, 404);
    let mut told = events(&backend);
    for event in &mut told {
        let fields = event.as_object_mut().unwrap();
        let at = fields.remove("at").unwrap();
        assert!(humantime::parse_rfc3339(at.as_str().unwrap()).is_ok(), "{at}");
        assert_eq!(fields.remove("id").unwrap().as_str().unwrap().len(), 20);
    }
    let of_room = json!({ "type": "room_occupied", "namespace": "/", "room": "doc:1" });
    assert_eq!(told[0], of_room);
    assert_eq!(told[1]["member"].as_str().unwrap().len(), 20, "the public id of who has no user");
    let (_, left) = member.ask("leave", json!({ "room": "doc:1" })).await;
    assert_eq!(left["status"], "SUCCESS");
    is_told(&backend, "doc:1", &WHOLE).await;
    let mut ids = BTreeSet::new();
    for call in backend.of_type("rooms") {
        assert_eq!(call.header("rookery-signature"), signature(&call, b"the key"));
        assert!(ids.insert(call.header("rookery-event-id").to_owned()));
    }
    assert!(events(&backend).iter().all(|event| event["room"] == "doc:1"));
    until("the events are counted", async || {
        server.metric(&counted("room_vacated", "accepted")).await == 1.0
    })
    .await;
    let requests = "rookery_backend_requests_total{hook=\"rooms\",outcome=\"ok\"}";
    assert_eq!(server.metric(requests).await, ids.len() as f64);
}

#[tokio::test]
async fn a_room_that_is_empty_for_a_moment_is_not_vacated() {
    let _permit = shared_permit().await;
    let backend = Backend::echo().await;
    let server = Rookery::start(&config(&backend, "")).await;
    let mut member = Member::connect(&server).await;
    for _ in 0..3 {
        member.join("doc:1").await;
        until("it joined", async || told(&backend, "doc:1").contains(&OCCUPIED[1].to_owned()))
            .await;
        member.ask("leave", json!({ "room": "doc:1" })).await;
    }
    until("the room is vacated", async || {
        told(&backend, "doc:1").last().is_some_and(|last| last == "room_vacated")
    })
    .await;
    let occupied = told(&backend, "doc:1").iter().filter(|kind| *kind == "room_occupied").count();
    assert_eq!(occupied, 1, "{:?}", told(&backend, "doc:1"));
}

#[tokio::test]
async fn an_instance_without_redis_that_stops_vacates_its_rooms() {
    let _permit = shared_permit().await;
    let backend = Backend::echo().await;
    let mut server = Rookery::start(&config(&backend, "")).await;
    let mut members = Vec::new();
    for n in 0..5 {
        let mut member = Member::connect(&server).await;
        member.join(&format!("doc:{n}")).await;
        members.push(member);
    }
    is_told(&backend, "doc:4", &OCCUPIED).await;
    server.terminate();
    until("the server has ended", async || server.has_ended()).await;
    for n in 0..5 {
        assert_eq!(told(&backend, &format!("doc:{n}")), WHOLE);
    }
}

#[tokio::test]
async fn rooms_wait_while_the_backend_is_away_and_nothing_is_dropped() {
    let _permit = shared_permit().await;
    let mut backend = Backend::echo().await;
    let server = Rookery::start(&config(&backend, ", retryQueue: 3")).await;
    backend.stop().await;
    let mut member = Member::connect(&server).await;
    for n in 0..20 {
        member.join(&format!("doc:{n}")).await;
    }
    // It came and went while nothing could be told: nothing is left to tell.
    member.join("doc:gone").await;
    member.ask("leave", json!({ "room": "doc:gone" })).await;
    assert!(server.metric("rookery_backend_retry_queue").await <= 3.0);
    backend.resume().await;
    for n in 0..20 {
        is_told(&backend, &format!("doc:{n}"), &OCCUPIED).await;
    }
    assert!(told(&backend, "doc:gone").is_empty());
    assert_eq!(server.metric("rookery_backend_dropped_total{kind=\"notification\"}").await, 0.0);
}

#[tokio::test]
async fn what_the_backend_refuses_for_good_is_counted_and_does_not_hold_up_the_rest() {
    let _permit = shared_permit().await;
    let backend = Backend::start(|_| Answer::Status(400)).await;
    let server = Rookery::start(&config(&backend, "")).await;
    let mut member = Member::connect(&server).await;
    member.join("doc:1").await;
    until("both events are given up", async || {
        server.metric(&counted("member_joined", "dropped")).await == 1.0
    })
    .await;
    assert_eq!(server.metric("rookery_backend_dropped_total{kind=\"notification\"}").await, 2.0);
    backend.set(echo);
    member.join("doc:2").await;
    until("the next ones are accepted", async || {
        server.metric(&counted("member_joined", "accepted")).await == 1.0
    })
    .await;
}

/// The configuration of instances of a cluster, whose clients have tokens.
fn shared_config(backend: &Backend, redis: &Redis, secret: &NamedTempFile) -> String {
    std::fs::write(secret.path(), "a-secret-of-at-least-thirty-two-bytes").unwrap();
    let secret = secret.path().display();
    format!(
        "{}redis: {{ url: '{}' }}\n\
         auth: {{ queryParam: token, jwt: {{ algorithms: [HS256], secretFile: '{secret}' }} }}\n",
        config(backend, ""),
        redis.url(),
    )
}

/// A client of a user.
async fn of_user(server: &Rookery, user: &str) -> Member {
    let output = Command::new(env!("CARGO_BIN_EXE_rookery"))
        .args(["token", "--user", user, "--config"])
        .arg(server.config())
        .output()
        .unwrap();
    let token = String::from_utf8(output.stdout).unwrap();
    Member::connect_with(server, &format!("&token={}", token.trim())).await
}

#[tokio::test]
async fn the_rooms_of_an_instance_that_is_killed_are_vacated_and_those_of_one_that_stops_move() {
    let _permit = shared_permit().await;
    let (backend, redis) = (Backend::echo().await, Redis::start().await);
    let secret = NamedTempFile::new().unwrap();
    let config = shared_config(&backend, &redis, &secret);
    let killed = Rookery::start(&config).await;
    let mut stops = Rookery::start(&config).await;
    let stays = Rookery::start(&config).await;
    let mut ann = of_user(&killed, "ann").await;
    ann.join("doc:killed").await;
    let mut bob = of_user(&stops, "bob").await;
    bob.join("doc:moves").await;
    is_told(&backend, "doc:killed", &OCCUPIED).await;
    is_told(&backend, "doc:moves", &OCCUPIED).await;
    signal(killed.pid(), "KILL");
    is_told(&backend, "doc:killed", &WHOLE).await;
    // One that stops: its client is on another instance before the delay is over.
    stops.terminate();
    while bob.packet().await.is_some() {}
    let mut moved = of_user(&stays, "bob").await;
    moved.join("doc:moves").await;
    until("the instance has ended", async || stops.has_ended()).await;
    moved.join("doc:later").await;
    is_told(&backend, "doc:later", &OCCUPIED).await;
    moved.ask("leave", json!({ "room": "doc:later" })).await;
    is_told(&backend, "doc:later", &WHOLE).await;
    assert_eq!(told(&backend, "doc:moves"), OCCUPIED);
    drop(moved);
    is_told(&backend, "doc:moves", &WHOLE).await;
    let left = events(&backend).into_iter().filter(|event| event["type"] == "member_left");
    let users: BTreeSet<_> = left.map(|event| event["user"].clone().to_string()).collect();
    assert_eq!(users, BTreeSet::from(["\"ann\"".to_owned(), "\"bob\"".to_owned()]));
}

#[tokio::test]
async fn hooks_that_are_added_and_removed_by_a_reload_hold_for_who_joins_then() {
    let _permit = shared_permit().await;
    let backend = Backend::echo().await;
    let with = config(&backend, "");
    let without = with.replace(", hooks: true", "");
    let server = Rookery::start(&without).await;
    let mut member = Member::connect(&server).await;
    member.join("doc:1").await;
    let reload = async |config: &str, times: f64| {
        std::fs::write(server.config(), config).unwrap();
        let applied = "rookery_config_reloads_total{outcome=\"applied\"}";
        until("the rules are applied", async || server.metric(applied).await == times).await;
    };
    reload(&with, 1.0).await;
    member.join("doc:2").await;
    is_told(&backend, "doc:2", &OCCUPIED).await;
    assert!(told(&backend, "doc:1").is_empty());
    reload(&without, 2.0).await;
    member.ask("leave", json!({ "room": "doc:2" })).await;
    reload(&with, 3.0).await;
    member.join("doc:3").await;
    is_told(&backend, "doc:3", &OCCUPIED).await;
}
