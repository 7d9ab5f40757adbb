//! Sessions and the process end when they should, whatever the client does.

use std::process::Command;

use serde_json::json;
use tokio::net::TcpStream;

use crate::client::{Member, Poller, parse_event};
use crate::harness::{Rookery, shared_permit, until, within};
use crate::http::Request;
use crate::websocket::WebSocket;

const REFUSING: &str = "auth: { anonymous: false }\n\
    socketio: { connectTimeout: 300ms, pingInterval: 100ms, pingTimeout: 60s }\n\
    limits: { connections: 1 }\n";

/// Answers and sends heartbeats as either revision wants them, until the connection ends.
async fn stays_alive(socket: &mut WebSocket, eio: u8) {
    let mut beat = tokio::time::interval(std::time::Duration::from_millis(50));
    loop {
        tokio::select! {
            frame = socket.next() => {
                if frame.is_none() {
                    return;
                }
            }
            _ = beat.tick() => {
                // The server may be gone by now; the next read says so.
                let ping = crate::websocket::frame(0x81, if eio == 3 { b"2" } else { b"3" });
                let _ = socket.write(&ping).await;
            }
        }
    }
}

#[tokio::test]
async fn a_session_without_a_namespace_times_out() {
    let _permit = shared_permit().await;
    let server = Rookery::start(REFUSING).await;
    for eio in [4, 3] {
        let target = format!("/socket.io/?EIO={eio}&transport=websocket");
        let mut socket = WebSocket::open(server.clients, &target).await.ok().unwrap();
        within("the session ends", stays_alive(&mut socket, eio)).await;
        until("its place is free", async || {
            server.metric("rookery_sessions_unconnected").await == 0.0
        })
        .await;
    }
}

#[tokio::test]
async fn namespace_connects_are_rate_limited() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let target = "/socket.io/?EIO=4&transport=websocket";
    let mut socket = WebSocket::open(server.clients, target).await.ok().unwrap();
    socket.text().await;
    loop {
        socket.send("40").await;
        if within("an answer", socket.text()).await.contains("rate_limited") {
            break;
        }
        socket.send("41").await;
    }
    until("it is counted", async || server.rejected("events").await > 0.0).await;
}

#[tokio::test]
async fn overlapping_posts_are_answered_200_or_400() {
    let _permit = shared_permit().await;
    let server = Rookery::start("limits: { eventsPerSecond: 100000 }\n").await;
    let poller = Poller::connect(&server, 4).await;
    let large = format!("42[\"join\",{{\"room\":\"{}\"}}]", "x".repeat(200_000));
    let posts = (0..24).map(|_| async { poller.post(large.clone()).await.status });
    let answers = futures_util::future::join_all(posts).await;
    assert!(answers.iter().all(|status| [200, 400].contains(status)), "{answers:?}");
}

#[tokio::test]
async fn a_second_signal_terminates_the_process_immediately() {
    let _permit = shared_permit().await;
    let server = Rookery::start("drain: { lead: 1h, window: 1h }\n").await;
    let poller = Poller::connect(&server, 4).await;
    let mut member = Member::connect(&server).await;
    let terminate = || {
        let pid = server.pid().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    };
    terminate();
    until("it drains", async || server.internal("/readyz").await.status == 503).await;
    // Until it is told again, all goes on.
    member.join("r").await;
    assert_eq!(server.publish("r", "e", json!(1)).await, 1);
    drop(poller);
    terminate();
    until("it is gone", async || TcpStream::connect(server.internal).await.is_err()).await;
}

#[tokio::test]
async fn a_room_named_like_a_member_id_cannot_be_joined() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let mut victim = Member::connect(&server).await;
    victim.join("r").await;
    let members = server.internal("/api/rooms/r").await.json();
    let id = members["members"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(id.len(), 20);
    let mut thief = Member::connect(&server).await;
    let (_, answer) = thief.ask("join", json!({ "room": id })).await;
    assert_eq!(answer["error"]["code"], "room_invalid", "{answer}");
    assert_eq!(server.publish(&id, "private", json!(1)).await, 1);
    assert_eq!(victim.event().await.0, "private");
}

#[tokio::test]
async fn publications_that_clients_cannot_decode_are_refused_or_repaired() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let mut member = Member::connect(&server).await;
    member.join("r").await;
    let binaries = vec![json!({ "$binary": "AQ==" }); 11];
    let body = json!({ "room": "r", "event": "e", "args": [binaries] }).to_string();
    let answer = Request::post("/api/publish", body)
        .header("content-type", "application/json")
        .send(server.internal)
        .await
        .unwrap();
    assert_eq!((answer.status, answer.json()["field"].as_str()), (400, Some("args")));
    // Half of an emoji, as JavaScript writes it, is text like any other.
    let emoji = r#"42["publish",{"room":"r","event":"cut","data":"\ud83d"}]"#;
    member.socket.send(emoji).await;
    let packet = within("it comes back", member.packet()).await.unwrap();
    assert_eq!(parse_event(&packet), Some(("cut".to_owned(), json!("\u{fffd}"))));
}

#[tokio::test]
async fn joins_through_the_api_respect_the_room_limit() {
    let _permit = shared_permit().await;
    let server = Rookery::start("limits: { roomsPerClient: 1 }\n").await;
    let mut member = Member::connect(&server).await;
    member.join("a").await;
    let members = server.internal("/api/rooms/a").await.json();
    let body = json!({ "member": members["members"][0]["id"] }).to_string();
    let answer = Request::post("/api/rooms/b/join", body)
        .header("content-type", "application/json")
        .send(server.internal)
        .await
        .unwrap();
    assert_eq!(answer.json()["matched"], 0, "{}", answer.text());
    assert_eq!(server.rejected("rooms").await, 1.0);
}
