//! `limits`: requests over a limit are refused with a clear error, and counted.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{Member, Poller};
use crate::harness::{Rookery, shared_permit, until, within};
use crate::http::{Connection, Request, Response};
use crate::websocket::{WebSocket, handshake};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

fn assert_full(answer: &Response) {
    assert_eq!(answer.status, 503, "{}", answer.text());
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds));
}

#[tokio::test]
async fn connections_over_the_limit_are_refused() {
    let _permit = shared_permit().await;
    let server = Rookery::start("limits: { connections: 3 }\n").await;
    let poller = Poller::connect(&server, 4).await;
    let first = Member::connect(&server).await;
    let _second = Member::connect(&server).await;
    assert_full(&Request::get(POLLING).send(server.clients).await.unwrap());
    assert_full(&WebSocket::open(server.clients, WEBSOCKET).await.err().unwrap());
    assert_eq!(server.rejected("connections").await, 2.0);
    // An upgrade needs no further place.
    let mut socket = poller.upgrade().await.unwrap();
    socket.send("2probe").await;
    assert_eq!(socket.text().await, "3probe");
    socket.send("5").await;
    // A place that is free again can be taken.
    drop(first);
    until("a place is free", async || server.connections().await == 2.0).await;
    until("it can be taken", async || {
        let answer = Request::get(POLLING).send(server.clients).await.unwrap();
        answer.status == 200
    })
    .await;
}

#[tokio::test]
async fn connects_over_the_rate_are_refused() {
    let _permit = shared_permit().await;
    let server =
        Rookery::start("drain: { stickyCookie: route }\nlimits: { connectRate: 3/s }\n").await;
    let mut answers = Vec::new();
    for _ in 0..30 {
        answers.push(Request::get(POLLING).send(server.clients).await.unwrap());
    }
    let (opened, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|a| a.status == 200);
    assert!(opened.len() >= 3 && !refused.is_empty(), "{}", opened.len());
    for answer in &refused {
        assert_full(answer);
        let cookie = answer.header("set-cookie").expect("another instance may have room");
        assert!(cookie.starts_with("route=;"), "{cookie}");
    }
    assert_eq!(server.rejected("connect_rate").await, refused.len() as f64);
    // It is a rate: after a while there is room again.
    until("a handshake is let in", async || {
        Request::get(POLLING).send(server.clients).await.unwrap().status == 200
    })
    .await;
}

#[tokio::test]
async fn per_ip_limits_apply_to_the_address_forwarded_by_a_trusted_proxy() {
    let _permit = shared_permit().await;
    let server =
        Rookery::start("trustedProxies: [127.0.0.0/8]\nlimits: { perIp: { connections: 2 } }\n")
            .await;
    let from = |address: &str| Request::get(POLLING).header("x-forwarded-for", address);
    for chain in ["9.9.9.9", "1.1.1.1, 9.9.9.9", "8.8.8.8", "9.9.9.9, 8.8.8.8, 127.0.0.2"] {
        assert_eq!(from(chain).send(server.clients).await.unwrap().status, 200, "{chain}");
    }
    for chain in ["9.9.9.9", "8.8.8.8", "7.7.7.7, 9.9.9.9, 127.0.0.1"] {
        assert_full(&from(chain).send(server.clients).await.unwrap());
    }
    let socket = handshake(WEBSOCKET).header("x-forwarded-for", "9.9.9.9");
    assert_full(&WebSocket::request(server.clients, &socket).await.err().unwrap());
    assert_eq!(server.rejected("per_ip").await, 4.0);
    assert_eq!(from("7.7.7.7").send(server.clients).await.unwrap().status, 200);
}

#[tokio::test]
async fn one_address_cannot_lock_the_others_out() {
    let _permit = shared_permit().await;
    let server = Rookery::start("trustedProxies: [127.0.0.0/8]\n").await;
    let from = |address: &str| Request::get(POLLING).header("x-forwarded-for", address);
    let mut refused = 0;
    for n in 0..600 {
        // One customer's network.
        let hostile = from(&format!("2001:db8::{n:x}")).send(server.clients).await.unwrap();
        if hostile.status != 200 {
            assert_full(&hostile);
            refused += 1;
        }
    }
    assert!(refused > 0);
    assert_eq!(server.rejected("per_ip").await, f64::from(refused));
    for address in ["9.9.9.9", "2001:db8:0:1::1", "10.1.1.1"] {
        assert_eq!(from(address).send(server.clients).await.unwrap().status, 200, "{address}");
    }
    until("the log names the fix", async || {
        let log = server.log();
        log.contains("limits.perIp.connectRate") && log.contains("trustedProxies")
    })
    .await;
}

#[tokio::test]
async fn clients_behind_a_proxy_that_is_not_trusted_are_not_locked_out_by_default() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    for _ in 0..150 {
        let answer = Request::get(POLLING).header("x-forwarded-for", "9.9.9.9");
        assert_eq!(answer.send(server.clients).await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn an_address_forwarded_by_an_untrusted_peer_is_ignored() {
    let _permit = shared_permit().await;
    let server = Rookery::start("limits: { perIp: { connections: 1 } }\n").await;
    let from = |address: &str| Request::get(POLLING).header("x-forwarded-for", address);
    assert_eq!(from("9.9.9.9").send(server.clients).await.unwrap().status, 200);
    assert_full(&from("8.8.8.8").send(server.clients).await.unwrap());
}

#[tokio::test]
async fn slow_request_headers_time_out() {
    let _permit = shared_permit().await;
    let server = Rookery::start("limits: { headerRead: 300ms }\n").await;
    for start in [&b""[..], b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nhost: x\r\n"] {
        let mut slow = TcpStream::connect(server.clients).await.unwrap();
        slow.write_all(start).await.unwrap();
        let mut answer = Vec::new();
        within("the end of the connection", async {
            let _ = slow.read_to_end(&mut answer).await;
        })
        .await;
    }
    until("both are counted", async || server.rejected("header_timeout").await == 2.0).await;
}

#[tokio::test]
async fn joins_over_the_room_limit_are_refused() {
    let _permit = shared_permit().await;
    let server = Rookery::start("limits: { roomsPerClient: 2 }\n").await;
    let mut member = Member::connect(&server).await;
    member.join("a").await;
    member.join("b").await;
    member.join("b").await;
    let (_, answer) = member.ask("join", json!({ "room": "c" })).await;
    assert_eq!(answer["status"], "ERROR");
    assert_eq!(answer["error"]["code"], "too_many_rooms");
    assert_eq!(server.rejected("rooms").await, 1.0);
    assert_eq!(server.publish("c", "e", json!(0)).await, 0);
    member.ask("leave", json!({ "room": "a" })).await;
    member.join("c").await;
}

#[tokio::test]
async fn events_over_the_rate_are_refused() {
    let _permit = shared_permit().await;
    let server = Rookery::start("limits: { eventsPerSecond: 5 }\n").await;
    let mut member = Member::connect(&server).await;
    for n in 0..50 {
        let publish = r#"["publish",{"room":"r","event":"said"}]"#;
        member.socket.send(&format!("42{n}{publish}")).await;
    }
    let mut limited = 0;
    let mut handled = 0;
    for _ in 0..50 {
        let answer = member.packet().await.unwrap();
        match answer.contains("\"rate_limited\"") {
            true => limited += 1,
            false => handled += 1,
        }
    }
    assert!(handled >= 5 && limited > 0, "{handled} handled, {limited} limited");
    assert_eq!(server.rejected("events").await, f64::from(limited));
    // Not handled means not handled.
    let published = server.metric("rookery_publications_total{source=\"client\"}").await;
    assert_eq!(published, f64::from(handled));
    // Without a callback it is told by an event.
    for _ in 0..20 {
        member.emit("leave", json!({ "room": "none" })).await;
    }
    let (name, body) = member.event().await;
    assert_eq!((&*name, &body["error"]["code"]), ("rookery:error", &json!("rate_limited")));
}

#[tokio::test]
async fn a_client_that_sends_too_many_bytes_is_refused_without_an_echo() {
    let _permit = shared_permit().await;
    let server = Rookery::start("limits: { bytesPerSecond: 20KiB }\n").await;
    let mut member = Member::connect(&server).await;
    member.join("room").await;
    let text = "x".repeat(64 << 10);
    let publish = || json!({"room": "room", "event": "said", "data": text});
    let (_, first) = member.ask("publish", publish()).await;
    assert_eq!(first["status"], "SUCCESS", "the first event may be large");
    let (_, second) = member.ask("publish", publish()).await;
    assert_eq!(second["status"], "ERROR");
    assert_eq!(second["error"]["code"], "rate_limited", "{}", second["error"]);
    assert_eq!(second["error"]["message"], "more than 20480 bytes per second");
    assert_eq!((&second["event"], &second["payload"]), (&json!("publish"), &json!(null)));
    assert_eq!(server.rejected("bytes").await, 1.0);
    until("it may send again", async || {
        member.ask("publish", json!({"room": "room", "event": "said"})).await.1["status"]
            == "SUCCESS"
    })
    .await;
}

#[tokio::test]
async fn a_refused_connection_is_free_to_reach_another_instance() {
    let _permit = shared_permit().await;
    let config = "limits: { httpConnections: 40 }\ndrain: { stickyCookie: pin }\n";
    let server = Rookery::start(config).await;
    let mut held = Vec::new();
    for _ in 0..60 {
        held.push(Connection::open(server.clients).await.unwrap());
    }
    until("some are refused", async || server.rejected("per_ip").await >= 20.0).await;
    let refused = within("the answer", held.pop().unwrap().response()).await.unwrap();
    assert_eq!((refused.status, refused.header("connection")), (503, Some("close")));
    assert_eq!(refused.header("set-cookie"), Some("pin=; Path=/; Max-Age=0"));
}
