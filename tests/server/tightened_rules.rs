//! Members leave the rooms that reloaded rules forbid them, and are told.

use std::process::Command;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::client::{Member, Poller};
use crate::harness::{Rookery, shared_permit, signal, until, within};
use crate::http::Request;
use crate::redis::Redis;

const OPEN: &str = "rooms: [{ match: '{name}' }]\n";

/// A server that knows tokens and lets anonymous clients in.
struct Tokens {
    secret: NamedTempFile,
}

impl Tokens {
    fn new() -> Self {
        let secret = NamedTempFile::new().unwrap();
        std::fs::write(secret.path(), "a-secret-of-at-least-thirty-two-bytes").unwrap();
        Tokens { secret }
    }

    fn config(&self, rooms: &str) -> String {
        let secret = self.secret.path().display();
        format!(
            "auth: {{ anonymous: true, queryParam: token, jwt: {{ algorithms: [HS256], \
             secretFile: '{secret}' }} }}\n{rooms}"
        )
    }

    fn token(&self, server: &Rookery, claims: Value) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_rookery"))
            .args(["token", "--user", "ann", "--claims", &claims.to_string(), "--config"])
            .arg(server.config())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    async fn connect(&self, server: &Rookery, claims: Value) -> Member {
        let token = self.token(server, claims);
        Member::connect_with(server, &format!("&token={token}")).await
    }
}

fn left(room: &str) -> (String, Value) {
    ("rookery:left".to_owned(), json!({ "room": room, "reason": "forbidden" }))
}

async fn revoked(server: &Rookery) -> f64 {
    server.metric("rookery_memberships_revoked_total").await
}

async fn members(server: &Rookery, room: &str) -> usize {
    let answer = server.internal(&format!("/api/rooms/{room}")).await;
    answer.json()["members"].as_array().unwrap().len()
}

async fn put_into(server: &Rookery, room: &str, user: &str) {
    let answer =
        Request::post(&format!("/api/rooms/{room}/join"), json!({ "user": user }).to_string())
            .header("content-type", "application/json")
            .send(server.internal)
            .await
            .unwrap();
    assert_eq!(answer.json()["matched"], 1, "{}", answer.text());
}

/// The events of a member up to `last`, without it.
async fn events_until(member: &mut Member, last: &str) -> Vec<(String, Value)> {
    let mut events = Vec::new();
    loop {
        let event = within(last, member.event()).await;
        if event.0 == last {
            return events;
        }
        events.push(event);
    }
}

#[tokio::test]
async fn members_leave_what_a_tightened_rule_forbids_and_others_miss_nothing() {
    let _permit = shared_permit().await;
    let tokens = Tokens::new();
    let server = Rookery::start(&tokens.config(OPEN)).await;
    let mut editor = tokens.connect(&server, json!({ "roles": ["editor"] })).await;
    let mut reader = tokens.connect(&server, json!({ "roles": ["reader"] })).await;
    let mut anonymous = Member::connect(&server).await;
    let poller = Poller::connect(&server, 4).await;
    for member in [&mut editor, &mut reader, &mut anonymous] {
        member.join("secret").await;
        member.join("lobby").await;
    }
    poller.join("secret").await;
    let tightened = "rooms: [{ match: secret, join: \"'editor' in claims.roles\" }, \
                     { match: '{name}' }]\n";
    std::fs::write(server.config(), tokens.config(tightened)).unwrap();
    let mut published = 0;
    until("they have left", async || {
        server.publish("secret", "secret", json!(published)).await;
        server.publish("lobby", "lobby", json!(published)).await;
        published += 1;
        revoked(&server).await == 3.0
    })
    .await;
    server.publish("secret", "late", json!(0)).await;
    server.publish("lobby", "last", json!(0)).await;
    assert_eq!(members(&server, "secret").await, 1);

    let all = |name: &str| (0..published).map(|n| (name.to_owned(), json!(n))).collect::<Vec<_>>();
    let of = |events: &[(String, Value)], name: &str| -> Vec<_> {
        events.iter().filter(|event| event.0 == name).cloned().collect()
    };
    let heard = events_until(&mut editor, "last").await;
    assert_eq!(of(&heard, "secret"), all("secret"));
    assert_eq!(of(&heard, "lobby"), all("lobby"));
    assert_eq!(of(&heard, "late").len(), 1);
    assert_eq!(of(&heard, "rookery:left"), []);
    for member in [&mut reader, &mut anonymous] {
        let heard = events_until(member, "last").await;
        assert_eq!(of(&heard, "lobby"), all("lobby"));
        assert_eq!(of(&heard, "late"), []);
        assert_eq!(of(&heard, "rookery:left"), [left("secret")]);
        let at = heard.iter().position(|event| event.0 == "rookery:left").unwrap();
        assert_eq!(of(&heard[at..], "secret"), [], "nothing is heard of the room afterwards");
    }
    let mut heard = Vec::new();
    while !heard.contains(&left("secret")) {
        heard.extend(within("the polling client is told", poller.events()).await);
    }
    server.logged("ended memberships that the rules forbid").await;
    let log = server.log();
    assert!(log.contains("\"members\":3") && log.contains("\"memberships\":3"), "{log}");
}

#[tokio::test]
async fn rooms_that_a_backend_put_a_member_into_stay_after_a_reload_and_a_refresh() {
    let _permit = shared_permit().await;
    let tokens = Tokens::new();
    let rules = |join: &str| {
        tokens.config(&format!("rooms: [{{ match: 'public-{{n}}', join: '{join}' }}]\n"))
    };
    let server = Rookery::start(&rules("true")).await;
    let mut member = tokens.connect(&server, json!({})).await;
    member.join("public-own").await;
    member.join("public-both").await;
    for room in ["public-backend", "public-both", "backend-only"] {
        put_into(&server, room, "ann").await;
    }
    std::fs::write(server.config(), rules("false")).unwrap();
    until("it has left its own room", async || revoked(&server).await == 1.0).await;
    assert_eq!(within("it is told", member.event()).await, left("public-own"));
    let token = tokens.token(&server, json!({}));
    let (before, answer) = member.ask("auth:refresh", json!({ "token": token })).await;
    assert_eq!((before, &answer["status"]), (Vec::new(), &json!("SUCCESS")));
    for room in ["public-backend", "public-both", "backend-only"] {
        assert_eq!(members(&server, room).await, 1, "{room}");
    }
    assert_eq!(members(&server, "public-own").await, 0);

    // A room that it left and joins by itself is its own.
    member.ask("leave", json!({ "room": "public-both" })).await;
    std::fs::write(server.config(), rules("true")).unwrap();
    until("the rooms are open again", async || {
        let (_, answer) = member.ask("join", json!({ "room": "public-both" })).await;
        answer["status"] == "SUCCESS"
    })
    .await;
    std::fs::write(server.config(), rules("false")).unwrap();
    until("it has left the room", async || revoked(&server).await == 2.0).await;
    assert_eq!(members(&server, "public-both").await, 0);
    assert_eq!(members(&server, "backend-only").await, 1);
}

#[tokio::test]
async fn a_thousand_members_of_a_forbidden_room_leave_it() {
    let _permit = shared_permit().await;
    let server = Rookery::start(OPEN).await;
    let mut all = Vec::new();
    for _ in 0..1000 {
        let mut member = Member::connect(&server).await;
        member.ask("join", json!({ "rooms": ["a", "b", "kept"] })).await;
        all.push(member);
    }
    std::fs::write(server.config(), "rooms: [{ match: kept }]\n").unwrap();
    until("all have left two rooms", async || revoked(&server).await == 2000.0).await;
    assert_eq!(server.publish("a", "e", json!(0)).await, 0);
    assert_eq!(server.publish("kept", "last", json!(0)).await, 1000);
    for member in &mut all {
        let mut heard = events_until(member, "last").await;
        heard.sort_by_key(|event| event.1.to_string());
        assert_eq!(heard, [left("a"), left("b")]);
    }
    server.logged("ended memberships that the rules forbid").await;
    let log = server.log();
    assert!(log.contains("\"members\":1000") && log.contains("\"memberships\":2000"), "{log}");
}

/// Each join waits a second for a Redis that does not answer, and was allowed before the reload.
#[tokio::test]
async fn a_join_under_way_during_a_reload_does_not_outlast_the_rules() {
    let _permit = shared_permit().await;
    let redis = Redis::start().await;
    let config = |rooms: &str| format!("redis: {{ url: '{}' }}\n{rooms}", redis.url());
    let server = Rookery::start(&config(OPEN)).await;
    let joiners = join_all((0..20).map(|_| Member::connect(&server))).await;
    signal(redis.pid(), "STOP");
    std::fs::write(server.config(), config("rooms: [{ match: 'public-{n}' }]\n")).unwrap();
    let join_on = joiners.into_iter().enumerate().map(async |(number, mut member)| {
        let (mut joined, mut told) = (Vec::new(), Vec::new());
        for n in 0.. {
            let room = format!("secret-{number}-{n}");
            let (before, answer) = member.ask("join", json!({ "room": room })).await;
            told.extend(before);
            if answer["status"] != "SUCCESS" {
                break;
            }
            joined.push(room);
        }
        while told.len() < joined.len() {
            told.push(within("it is told of each room", member.event()).await);
        }
        told.sort_by_key(|event| event.1.to_string());
        let mut expected: Vec<_> = joined.iter().map(|room| left(room)).collect();
        expected.sort_by_key(|event| event.1.to_string());
        assert_eq!(told, expected);
        joined.len()
    });
    let joined: usize = join_all(join_on).await.into_iter().sum();
    assert_eq!(revoked(&server).await, joined as f64);
    signal(redis.pid(), "CONT");
}
