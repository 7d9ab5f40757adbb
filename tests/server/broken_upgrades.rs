//! Clients that abort an upgrade leave no session behind and miss no message.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::client::Poller;
use crate::harness::{Rookery, shared_permit, until};

const CLIENTS: usize = 1000;

/// Clients that abort concurrently.
const BESIDE: usize = 32;

/// How far an upgrade gets before the client aborts it.
#[derive(Clone, Copy, Debug)]
enum Until {
    Switching,
    Probe,
    ProbeAnswered,
}

#[tokio::test]
async fn aborted_upgrades_lose_no_session_and_no_message() {
    let _permit = shared_permit().await;
    let server = Rookery::start(
        "socketio: { pingInterval: 4s, pingTimeout: 8s }\n\
         limits: { connectRate: 100000/s, eventsPerSecond: 1000 }\n",
    )
    .await;
    let silent = AtomicUsize::new(0);
    let clients = futures_util::stream::iter(0..CLIENTS).map(async |n| {
        let how = [Until::Switching, Until::Probe, Until::ProbeAnswered][n % 3];
        let poller = break_off(&server, n, how).await;
        // Half of them say goodbye; the others just go.
        match n % 2 {
            0 => drop(poller.post("1").await),
            _ => drop(silent.fetch_add(1, Ordering::Relaxed)),
        }
    });
    clients.buffer_unordered(BESIDE).collect::<Vec<()>>().await;
    let silent = silent.load(Ordering::Relaxed) as f64;
    until("no session is left", async || server.connections().await == 0.0).await;
    assert_eq!(server.metric("rookery_rooms").await, 0.0);
    assert_eq!(server.disconnects("client").await, CLIENTS as f64 - silent);
    assert_eq!(server.disconnects("ping_timeout").await, silent);
    assert_eq!(server.deliveries("written").await, 3.0 * CLIENTS as f64);
    assert_eq!(server.deliveries("gone").await, 0.0);
}

/// Joins a room of its own, aborts an upgrade, and keeps polling: messages published before,
/// during and after the attempt arrive in order and once.
async fn break_off(server: &Rookery, n: usize, how: Until) -> Poller {
    let poller = Poller::connect(server, 4).await;
    let room = format!("room {n}");
    poller.join(&room).await;
    let say = async |n: u64| assert_eq!(server.publish(&room, "n", json!(n)).await, 1);
    say(1).await;
    let mut socket = poller.upgrade().await.unwrap();
    match how {
        Until::Switching => {}
        Until::Probe => socket.send("2probe").await,
        Until::ProbeAnswered => {
            socket.send("2probe").await;
            assert_eq!(socket.text().await, "3probe");
        }
    }
    say(2).await;
    drop(socket);
    say(3).await;
    let mut heard: Vec<Value> = Vec::new();
    while heard.len() < 3 {
        let events = poller.events().await;
        assert!(!events.is_empty(), "closed after {heard:?}, {how:?}");
        heard.extend(events.into_iter().map(|(_, body)| body));
    }
    assert_eq!(heard, [json!(1), json!(2), json!(3)], "{how:?}");
    poller
}
