//! A session whose connects are refused again and again is closed; one that is in a namespace is not.

use serde_json::json;

use crate::client::{Member, Poller};
use crate::harness::{Rookery, shared_permit, until};
use crate::websocket::{Frame, WebSocket};

/// No client may connect.
const GUARDED: &str = "auth: { anonymous: false }\nnamespaces: ['/', '/chat']\n";

/// Refusals of one namespace after which a session ends.
const MAX_REFUSED: usize = 5;

async fn assert_closed_as_refused(server: &Rookery, sessions: f64) {
    until("it is counted", async || server.disconnects("refused").await == sessions).await;
    assert_eq!(server.rejected("refused_connects").await, sessions);
    until("it is logged", async || server.log().contains("too many connects")).await;
    assert_eq!(server.metric("rookery_connects_total{outcome=\"accepted\"}").await, 0.0);
}

#[tokio::test]
async fn a_websocket_whose_connects_are_refused_is_closed() {
    let _permit = shared_permit().await;
    let server = Rookery::start(GUARDED).await;
    for (session, eio) in [(1.0, 3), (2.0, 4)] {
        let target = format!("/socket.io/?EIO={eio}&transport=websocket");
        let mut socket = WebSocket::open(server.clients, &target).await.unwrap();
        let auth = if eio == 4 { "{\"token\":\"x.y.z\"}" } else { "" };
        for _ in 0..100 {
            socket.send(&format!("40/chat,{auth}")).await;
        }
        let received = socket.closed().await;
        let refused =
            received.iter().filter(|f| matches!(f, Frame::Text(t) if t.starts_with("44/chat,")));
        assert_eq!(refused.count(), MAX_REFUSED, "EIO {eio}: {received:?}");
        assert_eq!(received.last(), Some(&Frame::Close));
        assert_closed_as_refused(&server, session).await;
    }
}

#[tokio::test]
async fn a_polling_session_whose_connects_are_refused_is_closed() {
    let _permit = shared_permit().await;
    let server = Rookery::start(GUARDED).await;
    for (session, eio) in [(1.0, 3), (2.0, 4)] {
        let poller = Poller::open(&server, eio).await;
        let mut refused = 0;
        loop {
            poller.send("40/chat,").await;
            let packets = poller.packets().await;
            refused += packets.iter().filter(|packet| packet.starts_with("44/chat,")).count();
            if packets.iter().any(|packet| packet == "1") || !poller.is_known().await {
                break;
            }
        }
        assert_eq!(refused, MAX_REFUSED, "EIO {eio}");
        assert_closed_as_refused(&server, session).await;
    }
}

#[tokio::test]
async fn a_client_that_is_in_a_namespace_stays() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let mut member = Member::connect(&server).await;
    for _ in 0..4 * MAX_REFUSED {
        member.socket.send("40/nope,").await;
        assert!(member.socket.text().await.starts_with("44/nope,"));
    }
    let (_, answer) = member.ask("join", json!({ "room": "r" })).await;
    assert_eq!(answer["status"], "SUCCESS");
    assert_eq!(server.disconnects("refused").await, 0.0);
    member.socket.send("41").await;
    for _ in 0..MAX_REFUSED {
        member.socket.send("40/nope,").await;
    }
    let received = member.socket.closed().await;
    assert_eq!(received.len(), MAX_REFUSED + 1, "{received:?}");
    until("it is counted", async || server.disconnects("refused").await == 1.0).await;
}

#[tokio::test]
async fn a_client_that_succeeds_now_and_then_stays() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let target = "/socket.io/?EIO=4&transport=websocket";
    let mut socket = WebSocket::open(server.clients, target).await.unwrap();
    socket.text().await;
    for _ in 0..3 {
        for _ in 0..MAX_REFUSED - 1 {
            socket.send("40/nope,").await;
            assert!(socket.text().await.starts_with("44/nope,"));
        }
        socket.send("40").await;
        assert!(socket.text().await.starts_with("40{"));
        socket.send("41").await;
    }
    assert_eq!(server.rejected("refused_connects").await, 0.0);
}

#[tokio::test]
async fn each_of_many_namespaces_may_refuse_a_client_once() {
    let _permit = shared_permit().await;
    let names: Vec<_> = (0..40).map(|n| format!("/n{n}")).collect();
    let server =
        Rookery::start(&format!("auth: {{ anonymous: false }}\nnamespaces: {names:?}\n")).await;
    let target = "/socket.io/?EIO=4&transport=websocket";
    let mut socket = WebSocket::open(server.clients, target).await.unwrap();
    socket.text().await;
    for name in &names {
        socket.send(&format!("40{name},")).await;
        assert!(socket.text().await.starts_with(&format!("44{name},")));
    }
    assert_eq!(server.disconnects("refused").await, 0.0);
    for n in 0..100 {
        socket.send(&format!("40/unknown{n},")).await;
    }
    socket.closed().await;
    until("it is counted", async || server.disconnects("refused").await == 1.0).await;
}

#[tokio::test]
async fn a_session_may_not_have_any_number_of_tokens_verified() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let mut member = Member::connect(&server).await;
    let mut limited = 0;
    for _ in 0..100 {
        member.socket.send("41").await;
        member.socket.send("40").await;
        limited += usize::from(member.socket.text().await.contains("rate_limited"));
        if limited > 0 {
            break;
        }
    }
    assert!(limited > 0);
    assert_eq!(server.rejected("events").await, 1.0);
}
