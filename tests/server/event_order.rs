//! The order of a client's events and their answers: after CONNECT, behind an event that must wait,
//! and when the client sends faster than its events are handled.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Member, Poller};
use crate::harness::{Rookery, shared_permit, signal, until, within};
use crate::redis::Redis;
use crate::websocket::{Frame, WebSocket, frame};

const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

/// A limit on events that no client of these tests reaches.
const FAST: &str = "limits: { eventsPerSecond: 1000000, connectRate: 10000/s }\n";

/// Events in one namespace, each with the ack id of its position.
fn events(namespace: &str, count: usize) -> Vec<String> {
    let event = |n: usize| match n % 3 {
        0 => format!("42{namespace}{n}[\"join\",{{\"room\":\"r{n}\"}}]"),
        1 => format!("42{namespace}{n}[\"publish\",{{\"room\":\"x\",\"event\":\"e\",\"data\":1}}]"),
        _ => format!("42{namespace}{n}[\"leave\",{{\"room\":\"r{n}\"}}]"),
    };
    (0..count).map(event).collect()
}

/// Checks that these packets are the CONNECT of a namespace and then the successful answers to
/// [`events`], in order.
fn assert_in_order(packets: &[String], namespace: &str, context: &str) {
    assert!(packets[0].starts_with(&format!("40{namespace}")), "{context}: {packets:?}");
    for (n, packet) in packets[1..].iter().enumerate() {
        let answer = format!("43{namespace}{n}[{{\"status\":\"SUCCESS\"");
        assert!(packet.starts_with(&answer), "{context}: {n}: {packet}");
    }
}

/// The bytes of packets as frames, all in one write.
fn frames(packets: &[String]) -> Vec<u8> {
    packets.iter().flat_map(|packet| frame(0x81, packet.as_bytes())).collect()
}

/// The next `count` packets of a polling client.
async fn polled(poller: &Poller, count: usize) -> Vec<String> {
    let mut packets = Vec::new();
    while packets.len() < count {
        packets.extend(poller.packets().await.into_iter().filter(|packet| packet != "2"));
        assert_ne!(packets.last().map(String::as_str), Some("1"), "the session ended: {packets:?}");
    }
    packets
}

#[tokio::test]
async fn events_that_follow_their_connect_at_once_are_handled_after_it() {
    let _permit = shared_permit().await;
    let server = Rookery::start(&format!("namespaces: [/, /chat]\n{FAST}")).await;
    for round in 0..40 {
        let namespace = if round % 2 == 0 { "" } else { "/chat," };
        let context = format!("round {round}, {namespace}");
        let connect = [format!("40{namespace}")];

        let poller = Poller::open(&server, 4).await;
        let all = [&connect[..], &events(namespace, 6)].concat();
        assert_eq!(poller.post(all.join("\u{1e}")).await.text(), "ok");
        assert_in_order(&polled(&poller, 7).await, namespace, &context);

        let poller = Poller::open(&server, 4).await;
        for packet in &all {
            assert_eq!(poller.post(packet.clone()).await.text(), "ok");
        }
        assert_in_order(&polled(&poller, 7).await, namespace, &context);

        let mut socket = WebSocket::open(server.clients, WEBSOCKET).await.unwrap();
        socket.write(&frames(&all)).await.unwrap();
        assert!(socket.text().await.starts_with("0{"));
        let mut packets = Vec::new();
        while packets.len() < 7 {
            packets.push(socket.text().await);
        }
        assert_in_order(&packets, namespace, &context);
    }
    assert_eq!(server.rejected("bad_packet").await, 0.0);
}

#[tokio::test]
async fn a_client_of_revision_3_need_not_wait_for_its_namespace() {
    let _permit = shared_permit().await;
    let server = Rookery::start(FAST).await;
    for round in 0..40 {
        let poller = Poller::open(&server, 3).await;
        let body: String =
            events("", 6).iter().map(|packet| format!("{}:{packet}", packet.len())).collect();
        assert_eq!(poller.post(body).await.text(), "ok");
        assert_in_order(&polled(&poller, 7).await, "", &format!("round {round}"));
    }
}

#[tokio::test]
async fn an_event_after_a_refused_connect_ends_nothing_for_others() {
    let _permit = shared_permit().await;
    let server = Rookery::start(FAST).await;
    let mut member = Member::connect(&server).await;
    member.socket.send("40/unknown,").await;
    member.socket.send("42/unknown,1[\"join\",{\"room\":\"r\"}]").await;
    assert!(member.socket.text().await.starts_with("44/unknown,"));
    member.join("r").await;
}

/// A server whose Redis does not answer any more, so that a join waits a second for it.
async fn with_silent_redis(config: &str) -> (Rookery, Redis) {
    let redis = Redis::start().await;
    let config = format!("redis: {{ url: '{}', whenDown: local }}\n{config}", redis.url());
    let server = Rookery::start(&config).await;
    until("Redis is connected", async || server.metric("rookery_redis_up").await == 1.0).await;
    (server, redis)
}

#[tokio::test]
async fn any_number_of_events_behind_a_join_are_answered_in_order_and_none_is_refused() {
    let _permit = shared_permit().await;
    let (server, redis) = with_silent_redis(FAST).await;
    let mut member = Member::connect(&server).await;
    let poller = Poller::connect(&server, 4).await;
    signal(redis.pid(), "STOP");
    let mut packets = vec!["4290000[\"join\",{\"room\":\"waits\"}]".to_owned()];
    packets.extend(events("", 1_500).into_iter().filter(|packet| !packet.contains("join")));
    let bytes = frames(&packets);
    let (mut reader, answers) = (Vec::new(), packets.len());
    member.socket.write(&bytes).await.unwrap();
    assert_eq!(poller.post(packets.join("\u{1e}")).await.text(), "ok");
    while reader.len() < answers {
        reader.push(member.packet().await.expect("still connected"));
    }
    let polled = polled(&poller, answers).await;
    signal(redis.pid(), "CONT");
    for got in [reader, polled] {
        for (asked, answer) in packets.iter().zip(&got) {
            let id = asked[2..].split('[').next().unwrap();
            assert!(answer.starts_with(&format!("43{id}[{{\"status\":\"SUCCESS\"")), "{answer}");
        }
    }
    assert_eq!(server.rejected("events").await, 0.0);
}

#[tokio::test]
async fn what_a_client_sends_behind_a_waiting_event_stays_unread() {
    let _permit = shared_permit().await;
    let (server, redis) = with_silent_redis(FAST).await;
    let mut member = Member::connect(&server).await;
    let poller = Poller::connect(&server, 4).await;
    let text = "x".repeat(60_000);
    let large = json!(["publish", { "room": "nobody", "event": "e", "data": text }]).to_string();
    // More than the kernel's buffers hold.
    let many = frames(&vec![format!("42{large}"); 200]);
    let body = vec![format!("42{large}"); 2].join("\u{1e}");
    signal(redis.pid(), "STOP");
    member.emit("join", json!({ "room": "a" })).await;
    let waiting = tokio::time::timeout(Duration::from_millis(300), member.socket.write(&many));
    assert!(waiting.await.is_err(), "the server reads on");
    poller.send("42[\"join\",{\"room\":\"b\"}]").await;
    assert_eq!(poller.post(body.clone()).await.text(), "ok");
    let mut second = std::pin::pin!(poller.post(body));
    let waiting = tokio::time::timeout(Duration::from_millis(300), &mut second);
    assert!(waiting.await.is_err(), "the POST is answered while 64 KiB of earlier ones are unread");
    assert_eq!(within("the POST", second).await.text(), "ok");
    poller.send("429[\"leave\",{\"room\":\"b\"}]").await;
    signal(redis.pid(), "CONT");
    assert!(polled(&poller, 1).await[0].starts_with("439[{\"status\":\"SUCCESS\""));
}

#[tokio::test]
async fn a_client_whose_events_wait_longer_than_its_heartbeat_stays_connected() {
    let _permit = shared_permit().await;
    let heartbeat = "socketio: { pingInterval: 400ms, pingTimeout: 400ms }\n";
    let (server, redis) = with_silent_redis(&format!("{heartbeat}{FAST}")).await;
    let mut member = Member::connect(&server).await;
    signal(redis.pid(), "STOP");
    for n in 0..4 {
        member.socket.send(&format!("42{n}[\"join\",{{\"room\":\"r{n}\"}}]")).await;
    }
    let mut answered = 0;
    while answered < 4 {
        let packet = member.packet().await.expect("the client answers its heartbeats");
        assert!(packet.starts_with(&format!("43{answered}[")), "{packet}");
        answered += 1;
    }
    signal(redis.pid(), "CONT");
}

#[tokio::test]
async fn a_ping_frame_is_answered_with_its_payload() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let mut member = Member::connect(&server).await;
    member.socket.write(&frame(0x89, b"are you there?")).await.unwrap();
    assert_eq!(member.socket.next().await, Some(Frame::Other(0xA)));
    // Between the frames of a message too.
    let event = br#"421["join",{"room":"r"}]"#;
    let parts = [frame(0x01, &event[..5]), frame(0x89, b""), frame(0x80, &event[5..])].concat();
    member.socket.write(&parts).await.unwrap();
    assert_eq!(member.socket.next().await, Some(Frame::Other(0xA)));
    let answer: Value =
        serde_json::from_str(member.packet().await.unwrap().strip_prefix("431").unwrap()).unwrap();
    assert_eq!(answer[0]["status"], "SUCCESS");
}
