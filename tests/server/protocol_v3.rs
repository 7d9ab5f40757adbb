//! Engine.IO 3 where it differs, after the public protocol document.

use serde_json::json;

use crate::client::{Poller, packets};
use crate::harness::{Rookery, shared_permit, until};
use crate::http::Request;
use crate::websocket::{Frame, WebSocket};

const BLOB: &str =
    r#"451-["publish",{"room":"r","event":"blob","data":{"_placeholder":true,"num":0}}]"#;
const HEADER: &str = r#"451-["blob",{"_placeholder":true,"num":0}]"#;

#[tokio::test]
async fn payload_lengths_are_in_utf16_units() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let poller = Poller::connect(&server, 3).await;
    poller.join("r").await;
    server.publish("r", "e", json!("€𝄞")).await;
    let answer = poller.get().await;
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=UTF-8"));
    assert_eq!(answer.text(), "13:42[\"e\",\"€𝄞\"]");
    assert_eq!(packets(&answer, 3), ["42[\"e\",\"€𝄞\"]"]);
    // And in the other direction, two in one payload.
    let ask = r#"421["join",{"room":"€𝄞"}]"#;
    let length = ask.encode_utf16().count();
    assert_eq!(poller.post(format!("{length}:{ask}1:2")).await.text(), "ok");
    let mut got = Vec::new();
    while got.len() < 2 {
        got.extend(poller.packets().await);
    }
    got.sort();
    assert_eq!(got[0], "3");
    assert!(got[1].starts_with("431[{\"status\":\"SUCCESS\""), "{got:?}");
}

#[tokio::test]
async fn binary_is_octets_or_base64_as_the_client_requests() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let poller = Poller::connect(&server, 3).await;
    poller.join("r").await;
    let in_text = format!("{}:{BLOB}6:b4AP8H", BLOB.len());
    assert_eq!(poller.post(in_text).await.text(), "ok");
    let expected = [&[0, 4, 2, 0xff][..], HEADER.as_bytes(), &[1, 4, 0xff, 4, 0, 255, 7]].concat();
    let answer = poller.get().await;
    assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
    assert_eq!(HEADER.len(), 42);
    assert_eq!(answer.body, expected);

    // The same by octets, fetched by a client that takes none.
    let digits: Vec<u8> = BLOB.len().to_string().bytes().map(|d| d - b'0').collect();
    let octets =
        [&[0][..], &digits, &[0xff], BLOB.as_bytes(), &[1, 4, 0xff, 4, 0, 255, 7]].concat();
    let target = poller.target("polling");
    let post = Request::post(&target, octets).header("content-type", "application/octet-stream");
    assert_eq!(post.send(server.clients).await.unwrap().text(), "ok");
    let answer = Request::get(&format!("{target}&b64=1")).send(server.clients).await.unwrap();
    assert_eq!(packets(&answer, 3), [HEADER, "b4AP8H"]);
}

#[tokio::test]
async fn the_client_pings_and_the_server_answers() {
    let _permit = shared_permit().await;
    let server = Rookery::start("socketio: { pingInterval: 300ms, pingTimeout: 700ms }\n").await;
    let mut socket =
        WebSocket::open(server.clients, "/socket.io/?EIO=3&transport=websocket").await.unwrap();
    assert!(socket.text().await.starts_with("0{"));
    assert_eq!(socket.text().await, "40");
    for ping in ["2", "2probe", "2", "2{}"] {
        socket.send(ping).await;
        assert_eq!(socket.text().await, "3", "{ping}");
    }
    let poller = Poller::connect(&server, 3).await;
    for ping in ["2", "2probe", "2"] {
        poller.send(ping).await;
        assert_eq!(poller.packets().await, ["3"], "{ping}");
    }
    poller.send("1").await;
    // A client that pings no more is gone.
    socket.closed().await;
    until("it is counted", async || server.disconnects("ping_timeout").await == 1.0).await;
}

#[tokio::test]
async fn binary_websocket_messages_start_with_the_packet_type() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let mut socket =
        WebSocket::open(server.clients, "/socket.io/?EIO=3&transport=websocket").await.unwrap();
    assert!(socket.text().await.starts_with("0{"));
    assert_eq!(socket.text().await, "40");
    socket.send(r#"421["join",{"room":"r"}]"#).await;
    assert!(socket.text().await.starts_with("431["));
    socket.send(BLOB).await;
    socket.send_binary(&[4, 0, 255, 7]).await;
    assert_eq!(socket.text().await, HEADER);
    assert_eq!(socket.next().await, Some(Frame::Binary(vec![4, 0, 255, 7])));
}

#[tokio::test]
async fn engine_io_3_can_be_disabled() {
    let _permit = shared_permit().await;
    let server = Rookery::start("socketio: { eio3: false }\n").await;
    let target = "/socket.io/?EIO=3&transport=polling";
    let answer = Request::get(target).send(server.clients).await.unwrap();
    assert_eq!((answer.status, &answer.json()["code"]), (400, &json!(5)));
}

#[tokio::test]
async fn invalid_bodies_close_the_session() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    for body in ["", "x:4a", "9:4a", "4a", "1:9", "3:b4!", ":4"] {
        let poller = Poller::connect(&server, 3).await;
        assert_eq!(poller.post(body).await.status, 400, "{body:?}");
        let end = poller.get().await;
        assert!(end.text() == "1:1" || end.status == 400, "{}", end.text());
        until("the session is gone", async || !poller.is_known().await).await;
    }
    assert_eq!(server.rejected("bad_packet").await, 7.0);
}
