//! `join` and `leave` with a list of rooms, and the burst for joins after a connect.

use serde_json::{Value, json};

use crate::client::Member;
use crate::harness::{Rookery, shared_permit};

fn numbered(rooms: std::ops::Range<usize>) -> Vec<String> {
    rooms.map(|n| format!("r{n}")).collect()
}

async fn members(server: &Rookery, room: &str) -> u64 {
    server.publish(room, "e", json!(1)).await
}

#[tokio::test]
async fn a_burst_of_joins_after_a_connect_is_not_limited_by_events_per_second() {
    let _permit = shared_permit().await;
    let server = Rookery::start("limits: { roomsPerClient: 200, eventsPerSecond: 10 }\n").await;
    let mut member = Member::connect(&server).await;
    for room in numbered(0..200) {
        member.join(&room).await;
    }
    assert_eq!(members(&server, "r199").await, 1);
    // What is no join has the rate alone.
    for _ in 0..40 {
        member.emit("publish", json!({ "room": "elsewhere", "event": "x", "data": 1 })).await;
    }
    let (events, answer) = member.ask("join", json!({ "room": "r0" })).await;
    let refused = events.iter().filter(|(name, _)| name == "rookery:error").count();
    assert!(refused > 0, "{events:?} {answer}");
}

#[tokio::test]
async fn a_list_joins_what_is_allowed_and_names_what_is_refused() {
    let _permit = shared_permit().await;
    let server =
        Rookery::start("rooms: [{ match: 'secret-{x}', join: 'false' }, { match: '{name}' }]\n")
            .await;
    let mut member = Member::connect(&server).await;
    let (_, answer) = member.ask("join", json!({ "rooms": ["a", "b", "a", 7] })).await;
    assert_eq!(answer["status"], "SUCCESS", "{answer}");
    assert_eq!(answer["refused"], json!([]));
    let list = json!(["c", "secret-1", "", { "room": "d" }]);
    let (_, answer) = member.ask("join", json!({ "rooms": list })).await;
    assert_eq!(answer["status"], "ERROR", "{answer}");
    assert_eq!(answer["joined"], json!(["c", "d"]));
    assert_eq!(answer["error"]["code"], "forbidden");
    let refused: Vec<(&Value, &Value)> =
        answer["refused"].as_array().unwrap().iter().map(|r| (&r["index"], &r["code"])).collect();
    assert_eq!(refused, [(&json!(1), &json!("forbidden")), (&json!(2), &json!("room_invalid"))]);
    for (room, count) in [("a", 1), ("7", 1), ("d", 1), ("secret-1", 0)] {
        assert_eq!(members(&server, room).await, count, "{room}");
    }
    let mut second = Member::connect(&server).await;
    second.join("a").await;
    let (_, answer) = second.ask("leave", json!({ "rooms": ["a", "nowhere"] })).await;
    assert_eq!(answer["status"], "SUCCESS", "{answer}");
    assert_eq!(members(&server, "a").await, 1);
}

#[tokio::test]
async fn the_refusals_of_a_list_are_told_without_an_ack_callback() {
    let _permit = shared_permit().await;
    let server =
        Rookery::start("rooms: [{ match: 'secret', join: 'false' }, { match: '{name}' }]\n").await;
    let mut member = Member::connect(&server).await;
    member.emit("join", json!({ "rooms": ["a", "secret"] })).await;
    let (name, answer) = member.event().await;
    assert_eq!(name, "rookery:error");
    assert_eq!(answer["joined"], json!(["a"]), "{answer}");
    assert_eq!(answer["refused"][0]["room"], "secret");
}

#[tokio::test]
async fn a_list_is_bounded_by_rooms_per_client_and_paid_for_room_by_room() {
    let _permit = shared_permit().await;
    let server = Rookery::start("limits: { roomsPerClient: 20, eventsPerSecond: 1 }\n").await;
    let mut member = Member::connect(&server).await;
    let (_, answer) = member.ask("join", json!({ "rooms": numbered(0..20) })).await;
    assert_eq!(answer["status"], "SUCCESS", "{answer}");
    let mut member = Member::connect(&server).await;
    let (_, answer) = member.ask("join", json!({ "rooms": numbered(0..21) })).await;
    assert_eq!(answer["error"]["code"], "too_many_rooms", "{answer}");
    assert_eq!(members(&server, "r0").await, 1, "the first client alone");
    let mut member = Member::connect(&server).await;
    let (_, answer) = member.ask("join", json!({ "rooms": numbered(0..15) })).await;
    assert_eq!(answer["status"], "SUCCESS", "{answer}");
    let (_, answer) = member.ask("join", json!({ "rooms": numbered(0..15) })).await;
    assert_eq!(answer["error"]["code"], "rate_limited", "{answer}");
}
