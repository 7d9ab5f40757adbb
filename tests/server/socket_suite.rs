//! The cases of Socket.IO's test suite for servers that need no echo, for revision 5 of the protocol
//! (Socket.IO protocol, "Test suite").

use serde_json::{Value, json};

use crate::client::Member;
use crate::harness::{Rookery, shared_permit, until};
use crate::websocket::{Frame, WebSocket};

const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

/// A session that is in no namespace yet.
async fn open(server: &Rookery) -> WebSocket {
    let mut socket = WebSocket::open(server.clients, WEBSOCKET).await.ok().unwrap();
    assert!(socket.text().await.starts_with("0{"));
    socket
}

/// The payload of a packet that begins with `head`.
fn payload(packet: &str, head: &str) -> Value {
    let payload = packet.strip_prefix(head).unwrap_or_else(|| panic!("{packet}"));
    serde_json::from_str(payload).unwrap()
}

#[tokio::test]
async fn a_client_connects_to_the_main_and_to_a_custom_namespace() {
    let _permit = shared_permit().await;
    let server = Rookery::start("namespaces: [/, /custom]\n").await;
    for (connect, head) in [
        ("40", "40"),
        (r#"40{"token":"123"}"#, "40"),
        ("40/custom,", "40/custom,"),
        (r#"40/custom,{"token":"abc"}"#, "40/custom,"),
    ] {
        let mut socket = open(&server).await;
        socket.send(connect).await;
        let answer = payload(&socket.text().await, head);
        assert_eq!(answer.as_object().unwrap().len(), 1, "{answer}");
        assert_eq!(answer["sid"].as_str().unwrap().len(), 20);
    }
}

#[tokio::test]
async fn an_unknown_namespace_is_refused_and_the_session_goes_on() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let mut socket = open(&server).await;
    socket.send("40/random").await;
    let answer = payload(&socket.text().await, "44/random,");
    assert_eq!(answer["message"], "Invalid namespace");
    socket.send("40").await;
    assert!(socket.text().await.starts_with("40{"));
}

#[tokio::test]
async fn a_client_in_no_namespace_is_closed() {
    let _permit = shared_permit().await;
    let server = Rookery::start("socketio: { connectTimeout: 300ms }\n").await;
    open(&server).await.closed().await;
    // Or at once, if it sends something else.
    for wrong in ["4abc", r#"42["message","x"]"#] {
        let mut socket = open(&server).await;
        socket.send(wrong).await;
        socket.closed().await;
    }
    until("all are gone", async || server.connections().await == 0.0).await;
}

#[tokio::test]
async fn events_binary_and_acknowledgements_arrive() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let mut member = Member::connect(&server).await;
    member.join("r").await;
    let values = json!([1, "2", { "3": [false] }]);
    server.publish("r", "message", values.clone()).await;
    assert_eq!(member.event().await, ("message".to_owned(), values));

    // What a client publishes comes back with its binary, and the acknowledgement repeats it.
    let blobs = r#"[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    let ask = format!(r#"452-7["publish",{{"room":"r","event":"b","data":{blobs}}}]"#);
    member.socket.send(&ask).await;
    member.socket.send_binary(&[1, 2, 3]).await;
    member.socket.send_binary(&[4, 5, 6]).await;
    let mut texts = Vec::new();
    for _ in 0..2 {
        texts.push(member.socket.text().await);
        assert_eq!(member.socket.next().await, Some(Frame::Binary(vec![1, 2, 3])));
        assert_eq!(member.socket.next().await, Some(Frame::Binary(vec![4, 5, 6])));
    }
    texts.sort();
    assert_eq!(texts[0], format!(r#"452-["b",{blobs}]"#));
    assert_eq!(payload(&texts[1], "462-7")[0]["status"], "SUCCESS");
}

#[tokio::test]
async fn a_client_leaves_one_namespace_and_stays_in_the_other() {
    let _permit = shared_permit().await;
    let server = Rookery::start("namespaces: [/, /custom]\n").await;
    let mut member = Member::connect(&server).await;
    member.socket.send("40/custom,").await;
    assert!(member.packet().await.unwrap().starts_with("40/custom,"));
    member.socket.send("41/custom,").await;
    member.join("r").await;
    server.publish("r", "e", json!(1)).await;
    assert_eq!(member.event().await, ("e".to_owned(), json!(1)));
    // It leaves the last one.
    member.socket.send("41").await;
    until("it has left", async || server.publish("r", "e", json!(2)).await == 0).await;
}
