//! Which pages may connect, by polling and by WebSocket.

use crate::harness::{Rookery, shared_permit, until};
use crate::http::Request;
use crate::websocket::{WebSocket, handshake};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

/// The statuses that a page of this origin gets for a handshake by polling and by WebSocket.
async fn page(server: &Rookery, origin: &str, host: &str) -> (u16, u16) {
    let polling = Request::get(POLLING).header("origin", origin).header("host", host);
    let polling = polling.send(server.clients).await.unwrap().status;
    let socket = handshake(WEBSOCKET).header("origin", origin).header("host", host);
    let socket = WebSocket::request(server.clients, &socket).await;
    (polling, socket.err().map_or(101, |answer| answer.status))
}

#[tokio::test]
async fn by_default_only_pages_of_the_same_origin_and_of_this_machine_connect() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let host = "chat.example.com";
    for origin in ["https://chat.example.com", "http://localhost:5173", "http://127.0.0.1:8080"] {
        assert_eq!(page(&server, origin, host).await, (200, 101), "{origin}");
    }
    for origin in ["https://evil.example", "https://localhost.evil.example", "null"] {
        assert_eq!(page(&server, origin, host).await, (403, 403), "{origin}");
    }
    assert_eq!(server.rejected("forbidden").await, 6.0);
    until("the log names the key", async || server.log().contains("socketio.cors.origins")).await;
    // What is not a browser sends no origin.
    assert_eq!(Request::get(POLLING).send(server.clients).await.unwrap().status, 200);
}

#[tokio::test]
async fn pages_of_every_origin_connect_where_that_is_written() {
    let _permit = shared_permit().await;
    let server = Rookery::start("socketio: { cors: { origins: ['*'] } }\n").await;
    for origin in ["https://other.example", "null", "http://localhost"] {
        assert_eq!(page(&server, origin, "chat.example.com").await, (200, 101), "{origin}");
    }
}

#[tokio::test]
async fn named_origins_replace_those_of_this_machine() {
    let _permit = shared_permit().await;
    let server = Rookery::start("socketio: { cors: { origins: ['https://a.example'] } }\n").await;
    assert_eq!(page(&server, "https://a.example", "x").await, (200, 101));
    assert_eq!(page(&server, "https://x", "x").await, (200, 101));
    assert_eq!(page(&server, "http://localhost:3000", "x").await, (403, 403));
}
