//! Sessions that have connected to no namespace: they are few, short, and no connections.

use crate::client::{Member, Poller};
use crate::harness::{Rookery, shared_permit, until, within};
use crate::http::Request;
use crate::websocket::WebSocket;

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

#[tokio::test]
async fn a_session_counts_as_a_connection_from_its_first_namespace_on() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let unconnected = async || server.metric("rookery_sessions_unconnected").await;
    let poller = Poller::open(&server, 4).await;
    let mut socket = WebSocket::open(server.clients, WEBSOCKET).await.ok().unwrap();
    until("both are open", async || unconnected().await == 2.0).await;
    assert_eq!(server.connections().await, 0.0);
    poller.send("40").await;
    assert!(poller.packets().await[0].starts_with("40"));
    assert_eq!(server.metric("rookery_connections{transport=\"polling\"}").await, 1.0);
    socket.text().await;
    socket.send("40").await;
    assert!(socket.text().await.starts_with("40"));
    assert_eq!(server.metric("rookery_connections{transport=\"websocket\"}").await, 1.0);
    // Leaving the namespace does not change that.
    socket.send("41").await;
    socket.send("40").await;
    assert!(socket.text().await.starts_with("40"));
    assert_eq!((server.connections().await, unconnected().await), (2.0, 0.0));
    drop(socket);
    poller.send("1").await;
    until("both are gone", async || server.connections().await == 0.0).await;
    assert_eq!(unconnected().await, 0.0);
}

#[tokio::test]
async fn a_session_that_is_upgraded_before_it_connects_counts_once() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let poller = Poller::open(&server, 4).await;
    let mut socket = poller.upgrade().await.unwrap();
    socket.send("2probe").await;
    assert_eq!(socket.text().await, "3probe");
    socket.send("5").await;
    socket.send("40").await;
    assert!(socket.text().await.starts_with("40"));
    assert_eq!(server.connections().await, 1.0);
    drop(socket);
    until("it is gone", async || server.connections().await == 0.0).await;
    assert_eq!(server.metric("rookery_connections{transport=\"polling\"}").await, 0.0);
}

#[tokio::test]
async fn a_silent_session_ends_soon_and_one_that_has_spoken_later() {
    let _permit = shared_permit().await;
    let config = "limits: { firstPacket: 300ms }\nsocketio: { connectTimeout: 1h }\n";
    let server = Rookery::start(config).await;
    let spoken = Poller::open(&server, 4).await;
    spoken.send("3").await;
    let mut socket = WebSocket::open(server.clients, WEBSOCKET).await.ok().unwrap();
    let silent = Poller::open(&server, 4).await;
    within("the WebSocket ends", async { while socket.next().await.is_some() {} }).await;
    until("the polling session ends", async || !silent.is_known().await).await;
    assert!(spoken.is_known().await);
}

#[tokio::test]
async fn sessions_that_are_nobody_do_not_keep_members_out() {
    let _permit = shared_permit().await;
    let config = "trustedProxies: [127.0.0.0/8]\nlimits: { unconnected: 20, firstPacket: 1h }\n";
    let server = Rookery::start(config).await;
    let from = |address: &str| Request::get(POLLING).header("x-forwarded-for", address);
    let mut refused = 0;
    for _ in 0..50 {
        let answer = from("9.9.9.9").send(server.clients).await.unwrap();
        refused += u32::from(answer.status == 503);
    }
    assert_eq!((refused, server.rejected("per_ip").await), (45, 45.0));
    // Others connect, and leave the budget thereby.
    let mut members = Vec::new();
    for _ in 0..30 {
        members.push(Member::connect(&server).await);
    }
    assert_eq!(server.connections().await, 30.0);
    for n in 0..3 {
        for _ in 0..5 {
            let answer = from(&format!("8.8.8.{n}")).send(server.clients).await.unwrap();
            assert_eq!(answer.status, 200);
        }
    }
    assert_eq!(from("7.7.7.7").send(server.clients).await.unwrap().status, 503);
    assert_eq!(server.rejected("unconnected").await, 1.0);
}
