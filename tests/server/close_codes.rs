//! The status codes of Close frames (RFC 6455, section 7.4.1), which are those of `ws`, the
//! WebSocket library of Node's server.

use crate::client::{Member, Poller};
use crate::harness::{Rookery, shared_permit, until};
use crate::websocket::{WebSocket, frame};

const MAX_PAYLOAD: usize = 10_000;

/// The payload of the Close frame that answers these bytes of a member.
async fn close_of(server: &Rookery, bytes: &[u8], what: &str) -> Vec<u8> {
    let mut member = Member::connect(server).await;
    // The server may close before everything is written.
    let _ = member.socket.write(bytes).await;
    member.socket.closed().await;
    member.socket.close.unwrap_or_else(|| panic!("{what}: no Close frame"))
}

/// The head of a masked frame whose payload does not come.
fn head(first: u8, length: u64) -> Vec<u8> {
    [&[first, 0xff][..], &length.to_be_bytes(), &[0; 4]].concat()
}

/// What a client may not send, with the code that tells it so.
fn violations() -> Vec<(&'static str, u16, Vec<u8>)> {
    let max = MAX_PAYLOAD as u64;
    let half = vec![b'4'; MAX_PAYLOAD / 2 + 1];
    let parts = |first: u8, last: &[u8]| [frame(first, b"4"), last.to_vec()].concat();
    let blob = r#"452-["e",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    vec![
        ("text over maxPayload", 1009, head(0x81, max + 1)),
        ("binary over maxPayload", 1009, head(0x82, max + 1)),
        ("a whole text over maxPayload", 1009, frame(0x81, &[b'4'; MAX_PAYLOAD + 1])),
        ("a length that no memory has", 1009, head(0x81, u64::MAX)),
        ("fragments over maxPayload", 1009, [frame(0x01, &half), frame(0x80, &half)].concat()),
        (
            "attachments over maxPayload",
            1009,
            [frame(0x81, blob.as_bytes()), frame(0x82, &half), frame(0x82, &half)].concat(),
        ),
        ("a packet that is not UTF-8", 1007, frame(0x81, b"42[\"e\",\"\xff\"]")),
        ("text that is not UTF-8", 1007, frame(0x81, &[0xff])),
        ("a probe that is not UTF-8", 1007, frame(0x81, b"2\xc0\x80")),
        ("a surrogate", 1007, frame(0x81, b"42[\"e\",\"\xed\xa0\x80\"]")),
        (
            "half a character in a whole text",
            1007,
            parts(0x01, &frame(0x80, b"2[\"e\",\"\xe2\x82")),
        ),
        ("a close whose reason is not UTF-8", 1007, frame(0x88, &[0x03, 0xe8, 0xff])),
        ("a frame without a mask", 1002, vec![0x81, 1, b'3']),
        ("a close without a mask", 1002, vec![0x88, 2, 0x03, 0xe8]),
        ("the first reserved bit", 1002, frame(0xc1, b"3")),
        ("the second reserved bit", 1002, frame(0xa2, b"3")),
        ("the third reserved bit", 1002, frame(0x99, b"3")),
        ("a reserved opcode", 1002, frame(0x87, b"3")),
        ("a reserved control opcode", 1002, frame(0x8f, b"")),
        ("a ping in parts", 1002, frame(0x09, b"x")),
        ("a pong in parts", 1002, frame(0x0a, b"x")),
        ("a close in parts", 1002, frame(0x08, &[0x03, 0xe8])),
        ("a long ping", 1002, frame(0x89, &[0; 126])),
        ("a long close", 1002, frame(0x88, &[0; 126])),
        ("a continuation of nothing", 1002, frame(0x00, b"3")),
        ("a last continuation of nothing", 1002, frame(0x80, b"3")),
        ("text within a text in parts", 1002, parts(0x01, &frame(0x81, b"2"))),
        ("binary within a binary in parts", 1002, parts(0x02, &frame(0x02, b"2"))),
        ("a continuation after the last", 1002, [frame(0x81, b"3"), frame(0x80, b"")].concat()),
        ("a close with half a code", 1002, frame(0x88, &[3])),
        ("a close with a code that may not be sent", 1002, frame(0x88, &1005u16.to_be_bytes())),
        ("a close with a code of nobody", 1002, frame(0x88, &2000u16.to_be_bytes())),
    ]
}

#[tokio::test]
async fn a_close_frame_says_what_the_client_did_wrong() {
    let _permit = shared_permit().await;
    let config = format!("socketio: {{ maxPayload: {MAX_PAYLOAD} }}\n");
    let server = Rookery::start(&config).await;
    for (what, code, bytes) in violations() {
        let close = close_of(&server, &bytes, what).await;
        assert_eq!(close, code.to_be_bytes(), "{what}");
    }
    until("all are gone", async || server.connections().await == 0.0).await;
}

#[tokio::test]
async fn a_client_s_close_is_answered_with_its_own_code() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    for code in [1000u16, 1001, 1003, 1008, 1011, 3000, 4000, 4999] {
        let code = code.to_be_bytes();
        assert_eq!(close_of(&server, &frame(0x88, &code), "a code").await, code);
        let reason = [&code[..], b"bye"].concat();
        assert_eq!(close_of(&server, &frame(0x88, &reason), "a code and a reason").await, code);
    }
    assert_eq!(close_of(&server, &frame(0x88, b""), "no code").await, b"");
    assert_eq!(server.rejected("bad_packet").await, 0.0);

    // Before it is in a namespace, and in revision 3.
    for eio in [4, 3] {
        let target = format!("/socket.io/?EIO={eio}&transport=websocket");
        let mut socket = WebSocket::open(server.clients, &target).await.unwrap();
        socket.write(&frame(0x88, &4321u16.to_be_bytes())).await.unwrap();
        socket.closed().await;
        assert_eq!(socket.close, Some(4321u16.to_be_bytes().to_vec()), "EIO={eio}");
    }
}

#[tokio::test]
async fn a_probe_is_closed_with_the_code_that_says_why() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let poller = Poller::connect(&server, 4).await;
    let cases = [
        (1009, frame(0x81, &[b'2'; 126])),
        (1007, frame(0x81, b"2\xff")),
        (1002, vec![0x81, 1, b'5']),
        (1002, frame(0xc1, b"5")),
        (1002, frame(0x88, &[3])),
        (1001, frame(0x88, &1001u16.to_be_bytes())),
        (4001, frame(0x88, &[&4001u16.to_be_bytes()[..], b"bye"].concat())),
        (1000, frame(0x82, b"5")),
        (1000, frame(0x81, b"40")),
    ];
    for probed in [false, true] {
        for (code, bytes) in &cases {
            let mut socket = loop {
                match poller.upgrade().await {
                    Ok(socket) => break socket,
                    Err(refused) => assert_eq!(refused.status, 400),
                }
            };
            if probed {
                socket.send("2probe").await;
                assert_eq!(socket.text().await, "3probe");
            }
            socket.write(bytes).await.unwrap();
            socket.closed().await;
            assert_eq!(socket.close, Some(u16::to_be_bytes(*code).to_vec()), "{bytes:?}");
        }
    }
    assert_eq!(server.rejected("upgrade").await, 2.0 * cases.len() as f64);
}

#[tokio::test]
async fn an_end_of_the_server_s_own_is_a_normal_one() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    for packet in ["1", "x", "42{}"] {
        let close = close_of(&server, &frame(0x81, packet.as_bytes()), packet).await;
        assert_eq!(close, 1000u16.to_be_bytes(), "{packet}");
    }
}
