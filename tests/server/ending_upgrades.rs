//! Sessions that the server ends while their clients upgrade lose nothing.

use serde_json::json;

use crate::client::Poller;
use crate::harness::{Rookery, shared_permit, until};
use crate::http::Request;
use crate::websocket::{Frame, WebSocket};

/// A polling client in the room `r` whose probe was answered.
async fn probed(server: &Rookery, eio: u8) -> (Poller, WebSocket) {
    let poller = Poller::connect(server, eio).await;
    poller.join("r").await;
    let mut socket = poller.upgrade().await.unwrap();
    socket.send("2probe").await;
    assert_eq!(socket.text().await, "3probe");
    (poller, socket)
}

async fn dismiss(server: &Rookery) {
    let answer = Request::post("/api/disconnect", json!({ "room": "r" }).to_string())
        .header("content-type", "application/json")
        .send(server.internal)
        .await
        .unwrap();
    assert_eq!((answer.status, &answer.json()["matched"]), (200, &json!(1)));
}

fn text(text: &str) -> Frame {
    Frame::Text(text.to_owned())
}

#[tokio::test]
async fn a_client_dismissed_in_its_upgrade_completes_it_and_hears_everything() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    for eio in [4, 3] {
        let (poller, mut socket) = probed(&server, eio).await;
        server.publish("r", "last", json!(1)).await;
        dismiss(&server).await;
        // Another upgrade cannot begin now, and does not disturb this one.
        assert_eq!(poller.upgrade().await.err().unwrap().status, 400);
        socket.send("5").await;
        let heard = socket.closed().await;
        assert_eq!(heard, [text("42[\"last\",1]"), text("41"), Frame::Close]);
        drop(socket);
        until("it is gone", async || server.connections().await == 0.0).await;
    }
    assert_eq!(server.deliveries("gone").await, 0.0);
    assert_eq!(server.disconnects("dismissed").await, 2.0);
}

#[tokio::test]
async fn a_client_dismissed_in_its_upgrade_may_poll_for_the_rest() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    for complete in [true, false] {
        let (poller, mut socket) = probed(&server, 4).await;
        server.publish("r", "last", json!(1)).await;
        dismiss(&server).await;
        assert_eq!(poller.packets().await, ["42[\"last\",1]", "41"]);
        if complete {
            socket.send("5").await;
            assert_eq!(socket.closed().await, [Frame::Close]);
        } else {
            assert_eq!(poller.packets().await, ["1"]);
            // The server gives the socket up with the session.
            assert_eq!(socket.closed().await, [Frame::Close]);
        }
        drop(socket);
        until("it is gone", async || server.connections().await == 0.0).await;
    }
    assert_eq!(server.deliveries("gone").await, 0.0);
}

#[tokio::test]
async fn clients_that_upgrade_during_a_drain_hear_everything() {
    let _permit = shared_permit().await;
    let server = Rookery::start("drain: { lead: 0s, window: 0s }\n").await;
    let mut sockets = Vec::new();
    for _ in 0..20 {
        sockets.push(probed(&server, 4).await);
    }
    server.publish("r", "last", json!(1)).await;
    server.terminate();
    until("it drains", async || {
        crate::http::Connection::open(server.internal).await.is_err()
            || server.internal("/readyz").await.status == 503
    })
    .await;
    for (_, mut socket) in sockets {
        socket.send("5").await;
        assert_eq!(socket.closed().await, [text("42[\"last\",1]"), Frame::Close]);
    }
}

#[tokio::test]
async fn dismissals_at_any_moment_of_an_upgrade_lose_nothing() {
    let _permit = shared_permit().await;
    let server = Rookery::start("limits: { connectRate: 100000/s }\n").await;
    for _ in 0..100 {
        let (_poller, mut socket) = probed(&server, 4).await;
        server.publish("r", "last", json!(1)).await;
        let (heard, ()) = tokio::join!(
            async {
                socket.send("5").await;
                socket.closed().await
            },
            dismiss(&server)
        );
        assert_eq!(heard, [text("42[\"last\",1]"), text("41"), Frame::Close]);
        drop(socket);
        until("it is gone", async || server.connections().await == 0.0).await;
    }
}
