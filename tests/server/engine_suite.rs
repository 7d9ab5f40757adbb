//! The cases of Engine.IO's test suite for servers that need no echo, for revision 4 of the protocol
//! (Engine.IO protocol, "Test suite"), each with what Node's server does.

use serde_json::json;

use crate::client::Poller;
use crate::harness::{Rookery, shared_permit, until};
use crate::http::{Connection, Request, Response};
use crate::websocket::{Frame, WebSocket};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

async fn request(server: &Rookery, method: &str, target: &str) -> Response {
    Request::new(method, target).send(server.clients).await.unwrap()
}

/// A server whose heartbeats are quick.
async fn quick() -> Rookery {
    Rookery::start("socketio: { pingInterval: 300ms, pingTimeout: 200ms }\n").await
}

#[tokio::test]
async fn a_handshake_by_polling_opens_a_session() {
    let _permit = shared_permit().await;
    let server = quick().await;
    let poller = Poller::open(&server, 4).await;
    let mut keys: Vec<_> = poller.open.as_object().unwrap().keys().cloned().collect();
    keys.sort();
    assert_eq!(keys, ["maxPayload", "pingInterval", "pingTimeout", "sid", "upgrades"]);
    assert!(poller.open["sid"].is_string());
    assert_eq!(poller.open["upgrades"], json!(["websocket"]));
    assert_eq!(poller.open["pingInterval"], json!(300));
    assert_eq!(poller.open["pingTimeout"], json!(200));
    assert_eq!(poller.open["maxPayload"], json!(1 << 20));
}

#[tokio::test]
async fn a_handshake_by_websocket_opens_a_session() {
    let _permit = shared_permit().await;
    let server = quick().await;
    let mut socket = WebSocket::open(server.clients, WEBSOCKET).await.ok().unwrap();
    let open = socket.text().await;
    let open: serde_json::Value = serde_json::from_str(open.strip_prefix('0').unwrap()).unwrap();
    assert_eq!(open["upgrades"], json!([]));
    assert!(open["sid"].is_string());
}

#[tokio::test]
async fn invalid_handshakes_are_refused() {
    let _permit = shared_permit().await;
    // Where revision 3 is allowed, `EIO=abc` is one of its clients.
    let server = Rookery::start("socketio: { eio3: false }\n").await;
    for (method, target) in [
        ("GET", "/socket.io/?transport=polling"),
        ("GET", "/socket.io/?EIO=abc&transport=polling"),
        ("GET", "/socket.io/?EIO=4"),
        ("GET", "/socket.io/?EIO=4&transport=abc"),
        ("POST", POLLING),
        ("PUT", POLLING),
        ("GET", WEBSOCKET),
    ] {
        assert_eq!(request(&server, method, target).await.status, 400, "{method} {target}");
    }
    for target in ["/socket.io/?EIO=abc&transport=websocket", "/socket.io/?EIO=4&transport=abc"] {
        assert_eq!(WebSocket::open(server.clients, target).await.err().unwrap().status, 400);
    }
    assert_eq!(server.connections().await, 0.0);
}

#[tokio::test]
async fn a_request_with_an_unknown_session_or_method_is_refused() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let poller = Poller::open(&server, 4).await;
    for method in ["PUT", "DELETE", "PATCH"] {
        assert!(request(&server, method, &poller.target("polling")).await.status >= 400);
    }
    for method in ["GET", "POST"] {
        assert_eq!(request(&server, method, &format!("{POLLING}&sid=abc")).await.status, 400);
    }
    assert!(poller.is_known().await);
}

#[tokio::test]
async fn a_payload_that_is_none_ends_the_session() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let poller = Poller::open(&server, 4).await;
    assert_eq!(poller.post("abc").await.status, 400);
    assert_eq!(poller.get().await.status, 400);
}

#[tokio::test]
async fn a_cancelled_poll_ends_the_session() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    for eio in [4, 3] {
        let poller = Poller::connect(&server, eio).await;
        poller.join("r").await;
        let mut get = Connection::open(server.clients).await.unwrap();
        get.write(&Request::get(&poller.target("polling")).bytes()).await.unwrap();
        drop(get);
        until("it has ended", async || server.connections().await == 0.0).await;
        assert_eq!(server.publish("r", "e", json!(1)).await, 0);
        assert_eq!(poller.get().await.status, 400);
    }
    assert_eq!(server.disconnects("transport_error").await, 2.0);
}

#[tokio::test]
async fn a_second_poll_ends_the_session() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let poller = Poller::open(&server, 4).await;
    // Either may reach the server first.
    let (one, other) = tokio::join!(poller.get(), poller.get());
    let mut answers = [one, other].map(|answer| (answer.status, answer.text()));
    answers.sort();
    assert_eq!(answers[0], (200, "1".to_owned()));
    assert_eq!(answers[1].0, 400);
    until("it has ended", async || server.connections().await == 0.0).await;
}

#[tokio::test]
async fn heartbeats_keep_a_session_and_their_absence_ends_it() {
    let _permit = shared_permit().await;
    let server = quick().await;
    let poller = Poller::connect(&server, 4).await;
    let mut member = crate::client::Member::connect(&server).await;
    for _ in 0..3 {
        assert_eq!(poller.packets().await, ["2"]);
        poller.send("3").await;
        assert_eq!(member.socket.text().await, "2");
        member.socket.send("3").await;
    }
    // Now neither answers.
    assert_eq!(poller.packets().await, ["2"]);
    until("both have ended", async || server.connections().await == 0.0).await;
    assert_eq!(poller.get().await.status, 400);
    assert!(
        member.socket.closed().await.iter().all(|f| matches!(f, Frame::Text(_) | Frame::Close))
    );
    assert_eq!(server.disconnects("ping_timeout").await, 2.0);
}

#[tokio::test]
async fn a_client_closes_its_session() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let poller = Poller::open(&server, 4).await;
    let (answer, ()) = tokio::join!(poller.get(), poller.send("1"));
    // Where the GET comes last, the session is unknown.
    assert!(answer.status == 400 || answer.text() == "6", "{answer:?}");
    assert_eq!(poller.get().await.status, 400);

    let mut socket = WebSocket::open(server.clients, WEBSOCKET).await.ok().unwrap();
    socket.text().await;
    socket.send("1").await;
    socket.closed().await;
    until("both have ended", async || server.connections().await == 0.0).await;
}

#[tokio::test]
async fn requests_with_the_id_of_an_upgraded_session_are_refused() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let poller = Poller::connect(&server, 4).await;
    poller.join("r").await;
    let mut socket = poller.upgrade().await.unwrap();
    socket.send("2probe").await;
    assert_eq!(socket.text().await, "3probe");
    socket.send("5").await;
    until("it is on a WebSocket", async || {
        server.metric("rookery_connections{transport=\"websocket\"}").await == 1.0
    })
    .await;
    assert_eq!(poller.get().await.status, 400);
    assert_eq!(poller.post("3").await.status, 400);
    assert_eq!(poller.upgrade().await.err().unwrap().status, 400);
    server.publish("r", "e", json!(1)).await;
    assert_eq!(socket.text().await, "42[\"e\",1]");
}
