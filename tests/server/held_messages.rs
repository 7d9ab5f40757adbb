//! What the server holds of clients' messages, because they have not arrived whole or must wait, is
//! bounded for one address and for all.

use serde_json::json;

use crate::client::Member;
use crate::harness::{Rookery, shared_permit, signal, until};
use crate::redis::Redis;
use crate::websocket::{WebSocket, frame, handshake};

const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

/// One address may hold 1 MiB.
const CONFIG: &str = "trustedProxies: [127.0.0.0/8]\nlimits: { bodies: 4MiB }\n";

const SIZE: usize = 400 << 10;

/// A client of this address, in the namespace `/`.
async fn connect(server: &Rookery, address: &str) -> WebSocket {
    let request = handshake(WEBSOCKET).header("x-forwarded-for", address);
    let mut socket = WebSocket::request(server.clients, &request).await.unwrap();
    socket.text().await;
    socket.send("40").await;
    assert!(socket.text().await.starts_with("40"));
    socket
}

/// Asks for an ack, which shows that what was sent before has been read.
async fn ask(socket: &mut WebSocket, event: &str) -> String {
    socket.send(event).await;
    socket.text().await
}

/// The beginning of a frame of [`SIZE`] bytes.
fn cut(first: u8, start: &str) -> Vec<u8> {
    let text = format!("{start}{}", "x".repeat(SIZE - start.len()));
    let mut bytes = frame(first, text.as_bytes());
    bytes.truncate(SIZE - 100);
    bytes
}

/// Ways to have most of a message held.
fn incomplete_messages() -> [(&'static str, Vec<u8>); 4] {
    let attached = |text: &str| [frame(0x81, text.as_bytes()), frame(0x82, &[0; SIZE])].concat();
    let placeholder = |n: usize| json!({"_placeholder": true, "num": n}).to_string();
    let (first, second) = (placeholder(0), placeholder(1));
    [
        ("a frame", cut(0x81, "42[\"publish\",\"")),
        ("fragments", frame(0x01, &[b'x'; SIZE])),
        ("attachments", attached(&format!("452-[\"publish\",{first},{second}]"))),
        ("an acknowledgement", attached(&format!("462-1[{first},{second}]"))),
    ]
}

#[tokio::test]
async fn messages_that_do_not_arrive_whole_take_a_share_of_the_memory_for_bodies() {
    let _permit = shared_permit().await;
    for (what, message) in incomplete_messages() {
        let server = Rookery::start(CONFIG).await;
        let mut hostile = Vec::new();
        until("one of the address is too many", async || {
            let mut socket = connect(&server, "9.9.9.9").await;
            let _ = socket.write(&message).await;
            hostile.push(socket);
            server.rejected("bodies").await > 0.0
        })
        .await;
        until("the session ends", async || server.disconnects("transport_error").await > 0.0).await;
        assert!((2..=8).contains(&hostile.len()), "{what}: {} sessions", hostile.len());
        let mut closes = Vec::new();
        let mut healthy = connect(&server, "8.8.8.8").await;
        let large = json!(["publish", {"room": "r", "event": "e", "data": "x".repeat(SIZE)}]);
        assert!(ask(&mut healthy, &format!("421{large}")).await.contains("SUCCESS"), "{what}");
        drop(server);
        for mut socket in hostile {
            socket.closed().await;
            closes.push(socket.close);
        }
        assert!(closes.contains(&Some(1013_u16.to_be_bytes().to_vec())), "{what}: {closes:?}");
    }
}

#[tokio::test]
async fn a_message_that_is_gone_takes_nothing() {
    let _permit = shared_permit().await;
    let server = Rookery::start(CONFIG).await;
    let large = json!(["publish", {"room": "r", "event": "e", "data": "x".repeat(SIZE)}]);
    for _ in 0..10 {
        // One that is broken off, and one that arrives.
        let mut socket = connect(&server, "9.9.9.9").await;
        socket.write(&cut(0x81, "42")).await.unwrap();
        drop(socket);
        until("its session has ended", async || server.connections().await == 0.0).await;
        let mut socket = connect(&server, "9.9.9.9").await;
        assert!(ask(&mut socket, &format!("421{large}")).await.contains("SUCCESS"));
        drop(socket);
    }
    assert_eq!(server.rejected("bodies").await, 0.0);
}

#[tokio::test]
async fn large_joins_that_wait_for_redis_are_counted() {
    let _permit = shared_permit().await;
    let redis = Redis::start().await;
    let config = format!("{CONFIG}redis: {{ url: '{}' }}\n", redis.url());
    let server = Rookery::start(&config).await;
    let mut healthy = connect(&server, "8.8.8.8").await;
    let (mut first, mut second) =
        (connect(&server, "9.9.9.9").await, connect(&server, "9.9.9.9").await);
    let join = |room: &str| {
        let padding = "x".repeat(160 << 10);
        format!("421{}", json!(["join", {"room": room, "padding": padding}]))
    };
    signal(redis.pid(), "STOP");
    first.send(&join("a")).await;
    // It may come before the first one is read.
    let refused = tokio::select! {
        answer = async { ask(&mut second, &join("b")).await } => answer,
        answer = first.text() => answer,
    };
    assert!(refused.contains("rate_limited") && refused.contains("limits.bodies"), "{refused}");
    assert!(refused.len() < 1_000, "the event is not echoed");
    assert!(ask(&mut healthy, "421[\"join\",{\"room\":\"c\"}]").await.contains("SUCCESS"));
    assert_eq!(server.rejected("bodies").await, 1.0);
    signal(redis.pid(), "CONT");
    until("they may join again", async || ask(&mut second, &join("d")).await.contains("SUCCESS"))
        .await;
    let mut member = Member::connect(&server).await;
    member.join("a").await;
}
