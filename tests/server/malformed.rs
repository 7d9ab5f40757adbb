//! Malformed input: it gets a clear error or a closed connection, is counted, and does not affect
//! other clients.

use std::collections::HashMap;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{Member, Poller};
use crate::harness::{Rookery, shared_permit, until, within};
use crate::http::Request;
use crate::websocket::{Frame, WebSocket, frame, handshake};

/// The configuration of the server.
const MAX_PAYLOAD: usize = 10_000;

/// A healthy member, which receives a number after each malformed input.
struct Witness {
    server: Rookery,
    member: Member,
    told: u64,
}

impl Witness {
    async fn new() -> Self {
        let config = format!("socketio: {{ maxPayload: {MAX_PAYLOAD} }}\n");
        let server = Rookery::start(&config).await;
        let mut member = Member::connect(&server).await;
        member.join("witness").await;
        Witness { server, member, told: 0 }
    }

    /// Checks that the next number reaches the member.
    async fn hears(&mut self, after: &str) {
        self.told += 1;
        assert_eq!(self.server.publish("witness", "n", json!(self.told)).await, 1, "{after}");
        assert_eq!(self.member.event().await, ("n".to_owned(), json!(self.told)), "{after}");
    }

    /// Checks that only the member is left and that it missed nothing.
    async fn stays_alone(self) {
        until("the sessions are gone", async || self.server.connections().await == 1.0).await;
        assert_eq!(self.server.deliveries("written").await, self.told as f64);
    }

    async fn is_rejected(&self, reason: &str, times: f64, what: &str) {
        let what = format!("{what}: counted as {reason}");
        until(&what, async || self.server.rejected(reason).await == times).await;
    }
}

/// Socket.IO packets that end a connection, sent after CONNECT.
const PACKETS: [&str; 46] = [
    "4",
    "47",
    "4x",
    "49[\"e\"]",
    "42",
    "42{}",
    "42[",
    "42[]",
    "42[\"e\"",
    "42[\"e\",]",
    "42[\"e\",}",
    "42[\"e\",nul]",
    "42[\"e\",'a']",
    "42[\"e\",1e]",
    "42[\"e\",01]",
    "42[\"e\",\"\\x\"]",
    "42[\"e\",\"\\ud8\"]",
    "42[\"e\" \"f\"]",
    "42[\"e\"]]",
    "42[\"e\"]x",
    "42\"e\"",
    "42null",
    "42[null]",
    "42[{}]",
    "42[[]]",
    "42[true]",
    "42[\"connect\"]",
    "42[\"connect_error\",1]",
    "42[\"disconnect\"]",
    "42[\"disconnecting\"]",
    "42[\"newListener\"]",
    "42[\"removeListener\"]",
    "45[\"e\"]",
    "45-[\"e\"]",
    "45x-[\"e\"]",
    "45-1-[\"e\"]",
    "4511-[\"e\"]",
    "45999999999999999999-[\"e\"]",
    "46-[]",
    "43x",
    "431",
    "8",
    "7",
    "b*",
    "bA",
    "hello",
];

/// Bytes that close a WebSocket.
fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let unmasked = vec![0x81, 1, b'3'];
    let long_ping = frame(0x89, &[0; 126]);
    let mut huge = vec![0x81, 0xff];
    huge.extend(u64::MAX.to_be_bytes());
    huge.extend([0; 4]);
    let mut over = vec![0x81, 0xff];
    over.extend((MAX_PAYLOAD as u64 + 1).to_be_bytes());
    over.extend([0; 4]);
    vec![
        ("a frame without a mask", unmasked),
        ("the first reserved bit", frame(0xc1, b"3")),
        ("the second reserved bit", frame(0xa1, b"3")),
        ("the third reserved bit", frame(0x91, b"3")),
        ("a reserved opcode", frame(0x83, b"3")),
        ("a reserved control opcode", frame(0x8b, b"")),
        ("a continuation of nothing", frame(0x80, b"3")),
        ("a control frame in parts", frame(0x09, b"x")),
        ("a long ping", long_ping),
        ("a length that no memory has", huge),
        ("more than maxPayload", over),
        ("text that is not UTF-8", frame(0x81, &[b'4', 0xff, 0xfe])),
        ("a surrogate", frame(0x81, &[0xed, 0xa0, 0x80])),
        ("text within a text in parts", [frame(0x01, b"4"), frame(0x81, b"2")].concat()),
        ("an empty packet", frame(0x81, b"")),
        ("a close with half a code", frame(0x88, &[3])),
        ("a close with a code that may not be sent", frame(0x88, &1005u16.to_be_bytes())),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("zeros", vec![0; 64]),
        ("ones", vec![0xff; 64]),
    ]
}

/// Invalid payloads, with the protocol revision.
const BODIES: [(u8, &str); 23] = [
    (4, ""),
    (4, "x"),
    (4, "8"),
    (4, "9{}"),
    (4, "a"),
    (4, "-1"),
    (4, "7"),
    (4, "\u{1e}"),
    (4, "3\u{1e}"),
    (4, "\u{1e}3"),
    (4, "3\u{1e}\u{1e}3"),
    (4, "b*"),
    (4, "bA"),
    (4, "{}"),
    (4, "<html>"),
    (3, ""),
    (3, "2"),
    (3, ":"),
    (3, "x:2"),
    (3, "-1:2"),
    (3, "2:2"),
    (3, "99999999999:2"),
    (3, "4:b4*="),
];

/// Requests that affect no session, with the expected status, or 0 if the connection is closed
/// without a response.
fn requests() -> Vec<(&'static str, Vec<u8>, &'static [u16])> {
    let get = |target: &str| Request::get(target).bytes();
    let upgrade = |request: Request| request.bytes();
    let path = "/socket.io/?EIO=4&transport=websocket";
    let base = Request::get(path).header("upgrade", "websocket").header("connection", "upgrade");
    let versioned = base.clone().header("sec-websocket-version", "13");
    vec![
        ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), &[400, 0]),
        ("only newlines", b"\r\n\r\n\r\n\r\n".repeat(8), &[400, 0]),
        ("a method with a space", b"GE T / HTTP/1.1\r\n\r\n".to_vec(), &[400, 0]),
        ("no version", b"GET /\r\n\r\n".to_vec(), &[400, 0]),
        ("a version of the future", b"GET / HTTP/9.9\r\n\r\n".to_vec(), &[400, 505, 0]),
        ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), &[400, 505, 0]),
        ("a header without a colon", b"GET / HTTP/1.1\r\nhost\r\n\r\n".to_vec(), &[400, 0]),
        ("a header with NUL", b"GET / HTTP/1.1\r\na: \0\r\n\r\n".to_vec(), &[400, 0]),
        ("a huge header", [b"GET / HTTP/1.1\r\na: ", &[b'a'; 99_999][..]].concat(), &[431, 400, 0]),
        ("a huge target", [b"GET /", &[b'a'; 99_999][..]].concat(), &[414, 431, 400, 0]),
        (
            "two lengths",
            b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab".to_vec(),
            &[400, 0],
        ),
        (
            "a length that is none",
            b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n".to_vec(),
            &[400, 0],
        ),
        ("another path", get("/"), &[404]),
        ("a path above", get("/socket.io/../secret"), &[404]),
        ("an encoded path", get("/socket%2eio/?EIO=4&transport=polling"), &[404]),
        ("no query", get("/socket.io/"), &[400]),
        ("an empty query", get("/socket.io/?"), &[400]),
        ("no transport", get("/socket.io/?EIO=4"), &[400]),
        ("an unknown transport", get("/socket.io/?EIO=4&transport=a"), &[400]),
        ("a transport in capitals", get("/socket.io/?EIO=4&transport=POLLING"), &[400]),
        ("an unknown session", get("/socket.io/?EIO=4&transport=polling&sid=a"), &[400]),
        ("a session of blanks", get("/socket.io/?EIO=4&transport=polling&sid=%20"), &[400]),
        ("a session in bad encoding", get("/socket.io/?EIO=4&transport=polling&sid=%ff%"), &[400]),
        ("JSONP", get("/socket.io/?EIO=3&transport=polling&j=0"), &[400]),
        (
            "a handshake by POST",
            Request::post("/socket.io/?EIO=4&transport=polling", "40").bytes(),
            &[400],
        ),
        (
            "a handshake by PUT",
            Request::new("PUT", "/socket.io/?EIO=4&transport=polling").bytes(),
            &[400],
        ),
        (
            "a handshake by DELETE",
            Request::new("DELETE", "/socket.io/?EIO=4&transport=polling").bytes(),
            &[400],
        ),
        ("a WebSocket without upgrade", get(path), &[400]),
        (
            "an upgrade to something else",
            upgrade(Request::get(path).header("upgrade", "h2c")),
            &[400],
        ),
        ("an upgrade without version", upgrade(base.clone()), &[400]),
        ("an upgrade without key", upgrade(versioned), &[400]),
        (
            "an upgrade of another version",
            upgrade(base.header("sec-websocket-version", "8").header("sec-websocket-key", "x")),
            &[400],
        ),
        ("an upgrade of polling", handshake("/socket.io/?EIO=4&transport=polling").bytes(), &[400]),
    ]
}

#[test]
fn there_are_at_least_a_hundred_malformed_inputs() {
    let all = PACKETS.len() + frames().len() + BODIES.len() + requests().len();
    assert!(all >= 100, "{all}");
}

#[tokio::test]
async fn malformed_packets_close_their_connection() {
    let _permit = shared_permit().await;
    let mut witness = Witness::new().await;
    for (n, packet) in PACKETS.iter().enumerate() {
        let mut bad = Member::connect(&witness.server).await;
        bad.join("bad").await;
        bad.socket.send(packet).await;
        ends(&mut bad.socket, packet).await;
        witness.is_rejected("bad_packet", n as f64 + 1.0, packet).await;
        witness.hears(packet).await;
    }
    // The same for a session that never connected to a namespace.
    for (n, packet) in ["2", "42[\"e\"]", "x", "47", "40{", "40[}"].iter().enumerate() {
        let target = "/socket.io/?EIO=4&transport=websocket";
        let mut bad = WebSocket::open(witness.server.clients, target).await.unwrap();
        bad.text().await;
        bad.send(packet).await;
        if *packet == "2" {
            // A client of revision 4 does not ping; the engine lets it.
            bad.send("x").await;
        }
        ends(&mut bad, packet).await;
        let counted = (PACKETS.len() + n + 1) as f64;
        witness.is_rejected("bad_packet", counted, packet).await;
        witness.hears(packet).await;
    }
    witness.stays_alone().await;
}

#[tokio::test]
async fn malformed_frames_close_their_connection() {
    let _permit = shared_permit().await;
    let mut witness = Witness::new().await;
    let mut counted = HashMap::new();
    for (what, bytes) in frames() {
        let mut bad = Member::connect(&witness.server).await;
        // The server may close before everything is written.
        let _ = bad.socket.write(&bytes).await;
        ends(&mut bad.socket, what).await;
        // A Close frame ends a connection whatever is in it.
        if !what.starts_with("a close") {
            let size = what.contains("maxPayload") || what.contains("memory");
            let reason = if size { "payload" } else { "bad_packet" };
            let n = counted.entry(reason).or_insert(0.0);
            *n += 1.0;
            witness.is_rejected(reason, *n, what).await;
        }
        witness.hears(what).await;
    }
    witness.stays_alone().await;
}

#[tokio::test]
async fn malformed_bodies_are_refused_and_close_their_session() {
    let _permit = shared_permit().await;
    let mut witness = Witness::new().await;
    for (n, (revision, body)) in BODIES.iter().enumerate() {
        let poller = Poller::connect(&witness.server, *revision).await;
        let answer = poller.post(*body).await;
        assert_eq!((answer.status, &answer.json()["code"]), (400, &json!(3)), "{body:?}");
        witness.is_rejected("bad_packet", n as f64 + 1.0, body).await;
        until("the session is gone", async || {
            let end = poller.get().await;
            assert!(end.status == 400 || end.text().ends_with('1'), "{}", end.text());
            !poller.is_known().await
        })
        .await;
        witness.hears(body).await;
    }
    witness.stays_alone().await;
}

#[tokio::test]
async fn malformed_requests_get_a_clear_error() {
    let _permit = shared_permit().await;
    let mut witness = Witness::new().await;
    for (what, bytes, statuses) in requests() {
        let status = status_of(&witness.server, &bytes, what).await;
        assert!(statuses.contains(&status), "{what}: {status}");
        witness.hears(what).await;
    }
    witness.stays_alone().await;
}

/// The connection closes, preceded only by heartbeats, a namespace's end or a Close frame.
async fn ends(socket: &mut WebSocket, what: &str) {
    for before in socket.closed().await {
        let expected = match &before {
            Frame::Text(text) => text == "2" || text == "41" || text.starts_with("44"),
            Frame::Close => true,
            _ => false,
        };
        assert!(expected, "{what}: {before:?}");
    }
}

/// The status of the response; 0 if the connection is closed without one.
async fn status_of(server: &Rookery, bytes: &[u8], what: &str) -> u16 {
    let mut socket = TcpStream::connect(server.clients).await.unwrap();
    let _ = socket.write_all(bytes).await;
    let mut answer = Vec::new();
    within(what, async {
        while !answer.windows(4).any(|w| w == b"\r\n\r\n") {
            match socket.read_buf(&mut answer).await {
                Ok(n) if n > 0 => {}
                _ => return,
            }
        }
    })
    .await;
    let text = String::from_utf8_lossy(&answer);
    text.split(' ').nth(1).map_or(0, |status| status.parse().unwrap())
}
