//! Persistent HTTP connections: how long they are kept, and how they end.

use std::time::{Duration, Instant};

use crate::client::Poller;
use crate::harness::{Rookery, shared_permit, until, within};
use crate::http::{Connection, Request};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

#[tokio::test]
async fn responses_say_how_long_their_connection_is_kept() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    for (address, target) in [(server.clients, POLLING), (server.internal, "/livez")] {
        let mut connection = Connection::open(address).await.unwrap();
        for _ in 0..2 {
            let answer = connection.send(&Request::get(target)).await.unwrap();
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("keep-alive"), Some("timeout=120"), "{target}");
        }
        let closing = Request::get(target).header("connection", "close");
        let answer = connection.send(&closing).await.unwrap();
        assert_eq!(answer.header("keep-alive"), None, "{target}");
        within("the end", connection.response()).await.unwrap_err();
    }
}

#[tokio::test]
async fn an_idle_connection_outlives_the_timeout_for_heads_and_ends_after_its_own() {
    let _permit = shared_permit().await;
    let server = Rookery::start("limits: { headerRead: 100ms, keepAlive: 1s }\n").await;
    let mut connection = Connection::open(server.clients).await.unwrap();
    let begun = Instant::now();
    for _ in 0..2 {
        let answer = connection.send(&Request::get(POLLING)).await.unwrap();
        assert_eq!(answer.header("keep-alive"), Some("timeout=1"));
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    within("the end", connection.response()).await.unwrap_err();
    assert!(begun.elapsed() > Duration::from_secs(1), "it is kept longer than it says");
    assert_eq!(server.rejected("header_timeout").await, 0.0);
    // The head of a further request must come as fast as that of the first one.
    let mut slow = Connection::open(server.clients).await.unwrap();
    slow.send(&Request::get(POLLING)).await.unwrap();
    slow.write(b"GET ").await.unwrap();
    within("the end", slow.response()).await.unwrap_err();
    until("it is counted", async || server.rejected("header_timeout").await == 1.0).await;
}

#[tokio::test]
async fn responses_during_a_drain_close_their_connection() {
    let _permit = shared_permit().await;
    let server = Rookery::start("drain: { lead: 1m, window: 1s }\n").await;
    let mut connection = Connection::open(server.clients).await.unwrap();
    let poller = Poller::connect(&server, 4).await;
    assert_eq!(connection.send(&Request::get(POLLING)).await.unwrap().status, 200);
    server.terminate();
    until("it drains", async || server.metric("rookery_drain_seconds").await > 0.0).await;
    let answer = connection.send(&Request::post(&poller.target("polling"), "3")).await.unwrap();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    within("the end", connection.response()).await.unwrap_err();
}

#[tokio::test]
async fn a_refused_body_does_not_reset_the_connection_before_its_answer_is_read() {
    let _permit = shared_permit().await;
    let server = Rookery::start("socketio: { maxPayload: 1KiB }\n").await;
    let poller = Poller::connect(&server, 4).await;
    for _ in 0..5 {
        let answer = poller.post(vec![b'4'; 8 << 20]).await;
        assert_eq!(answer.status, 413);
    }
}
