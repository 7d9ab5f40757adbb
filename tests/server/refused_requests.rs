//! Requests that are none of Engine.IO: what an operator sees of them.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::Poller;
use crate::harness::{Rookery, shared_permit, until};
use crate::http::Request;

#[tokio::test]
async fn a_request_that_is_none_of_engine_io_is_counted_and_logged() {
    let _permit = shared_permit().await;
    let server = Rookery::start("socketio: { eio3: false }\n").await;
    let poller = Poller::connect(&server, 4).await;
    let sid = &poller.sid;
    let mut counted = 0.0;
    for (target, problem) in [
        ("EIO=4", "the transport is none"),
        ("EIO=4&transport=flash", "the transport is none"),
        ("EIO=4&transport=polling&j=1", "the transport is none"),
        ("EIO=4&transport=websocket", "does not fit the transport"),
        ("EIO=3&transport=polling", "revision 3"),
        (&format!("EIO=3&transport=polling&sid={sid}"), "another EIO"),
        (&format!("EIO=4&transport=websocket&sid={sid}"), "does not fit the transport"),
    ] {
        let answer = Request::get(&format!("/socket.io/?{target}")).send(server.clients).await;
        assert_eq!(answer.unwrap().status, 400, "{target}");
        counted += 1.0;
        assert_eq!(server.rejected("bad_request").await, counted, "{target}");
        if counted <= 5.0 {
            until("it is logged", async || server.log().contains(problem)).await;
        }
    }
    let post = Request::post("/socket.io/?EIO=4&transport=polling", "40");
    assert_eq!(post.send(server.clients).await.unwrap().status, 400);
    let handshake = Request::get("/socket.io/?EIO=4&transport=websocket")
        .header("upgrade", "websocket")
        .header("connection", "upgrade");
    assert_eq!(handshake.send(server.clients).await.unwrap().status, 400);
    assert_eq!(server.rejected("bad_request").await, counted + 2.0);
    let gone = "/socket.io/?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA";
    for request in [Request::get(gone), Request::post(gone, "3")] {
        assert_eq!(request.send(server.clients).await.unwrap().json()["code"], 1);
    }
    assert_eq!(server.rejected("unknown_session").await, 2.0);
    until("it is logged", async || server.log().contains("belongs to another instance")).await;
    assert!(!server.log().contains("AAAAAAAAAA"), "an id is a secret");
    assert_eq!(server.connections().await, 1.0, "the session goes on");
}

#[tokio::test]
async fn what_is_no_http_request_is_counted_and_logged() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let huge = [b"GET / HTTP/1.1\r\na: ", &[b'a'; 99_999][..]].concat();
    let cases = [
        ("bad_request", b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n".to_vec()),
        ("bad_request", b"GET / HTTP/1.1\r\nhost\r\n\r\n".to_vec()),
        ("payload", huge),
    ];
    for (n, (reason, bytes)) in cases.iter().enumerate() {
        let mut socket = TcpStream::connect(server.clients).await.unwrap();
        // The server may answer before everything is written.
        let _ = socket.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
        let counted = async || server.rejected(reason).await == [1.0, 2.0, 1.0][n];
        until("it is counted", counted).await;
    }
    until("it is logged", async || {
        server.log().contains("no HTTP request")
            && server.log().contains("head of a request is too")
    })
    .await;
}
