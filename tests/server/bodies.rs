//! The bodies of polling POSTs: slow, cut, too long, and several at a time.

use std::time::Duration;

use serde_json::json;

use crate::client::{Member, Poller};
use crate::harness::{Rookery, shared_permit, until, within};
use crate::http::{Connection, Request};

/// A connection on which the head of a POST to the session was sent, with these further headers.
async fn begin_post(server: &Rookery, poller: &Poller, headers: &str) -> Connection {
    let mut connection = Connection::open(server.clients).await.unwrap();
    let target = poller.target("polling");
    let head = format!("POST {target} HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
    connection.write(head.as_bytes()).await.unwrap();
    connection
}

#[tokio::test]
async fn a_slow_post_arrives_while_it_makes_progress() {
    let _permit = shared_permit().await;
    // The head must come at once; the body may take its time.
    let server = Rookery::start("limits: { headerRead: 200ms, bodyIdle: 20s }\n").await;
    let mut member = Member::connect(&server).await;
    member.join("room").await;
    let poller = Poller::connect(&server, 4).await;
    poller.join("room").await;
    let text = "x".repeat(40);
    let packet =
        format!("42{}", json!(["publish", { "room": "room", "event": "e", "data": text }]));
    let length = format!("content-length: {}\r\n", packet.len());
    let mut slow = begin_post(&server, &poller, &length).await;
    for byte in packet.bytes() {
        slow.write(&[byte]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let answer = within("the answer", slow.response()).await.unwrap();
    assert_eq!((answer.status, &*answer.text()), (200, "ok"));
    assert_eq!(member.event().await, ("e".to_owned(), json!(text)));
    assert_eq!(server.rejected("body_timeout").await, 0.0);
}

#[tokio::test]
async fn a_post_that_stops_or_trickles_is_refused_and_ends_its_session() {
    let _permit = shared_permit().await;
    let server = Rookery::start("limits: { bodyIdle: 300ms, bodyRate: 1KiB }\n").await;
    let healthy = Poller::connect(&server, 4).await;
    let stopped = Poller::connect(&server, 4).await;
    let mut stops = begin_post(&server, &stopped, "content-length: 10\r\n").await;
    stops.write(b"42").await.unwrap();
    assert_eq!(within("the answer", stops.response()).await.unwrap().status, 408);
    let trickling = Poller::connect(&server, 4).await;
    let mut trickles = begin_post(&server, &trickling, "transfer-encoding: chunked\r\n").await;
    let answered = async {
        while trickles.write(b"1\r\nx\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if server.rejected("body_timeout").await == 2.0 {
                break;
            }
        }
    };
    within("the trickling one is refused", answered).await;
    until("both sessions end", async || !stopped.is_known().await && !trickling.is_known().await)
        .await;
    assert!(healthy.is_known().await);
    until("it is logged", async || server.log().contains("limits.bodyIdle")).await;
}

#[tokio::test]
async fn a_body_of_one_byte_chunks_is_read() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let mut member = Member::connect(&server).await;
    member.join("room").await;
    let poller = Poller::connect(&server, 4).await;
    poller.join("room").await;
    let text = "x".repeat(200_000);
    let packet =
        format!("42{}", json!(["publish", { "room": "room", "event": "e", "data": text }]));
    let chunks: String = packet.chars().map(|c| format!("1\r\n{c}\r\n")).collect();
    let mut post = begin_post(&server, &poller, "transfer-encoding: chunked\r\n").await;
    post.write(format!("{chunks}0\r\n\r\n").as_bytes()).await.unwrap();
    assert_eq!(within("the answer", post.response()).await.unwrap().status, 200);
    assert_eq!(member.event().await, ("e".to_owned(), json!(text)));
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_before_it_came() {
    let _permit = shared_permit().await;
    let server = Rookery::start("socketio: { maxPayload: 1KiB }\n").await;
    let poller = Poller::connect(&server, 4).await;
    let mut declared = begin_post(&server, &poller, "content-length: 1025\r\n").await;
    assert_eq!(within("the answer", declared.response()).await.unwrap().status, 413);
    let mut chunked = begin_post(&server, &poller, "transfer-encoding: chunked\r\n").await;
    chunked.write(format!("401\r\n{}", "x".repeat(1025)).as_bytes()).await.unwrap();
    assert_eq!(within("the answer", chunked.response()).await.unwrap().status, 413);
    assert_eq!(server.rejected("payload").await, 2.0);
    // The session goes on, as with Node's server.
    poller.join("room").await;
}

#[tokio::test]
async fn overlapping_posts_end_their_session_like_with_node() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let (poller, healthy) = (Poller::connect(&server, 4).await, Poller::connect(&server, 4).await);
    let _first = begin_post(&server, &poller, "content-length: 10\r\n").await;
    until("the second one is refused", async || poller.post("3").await.status == 400).await;
    until("the session ends", async || !poller.is_known().await).await;
    healthy.join("room").await;
}

#[tokio::test]
async fn a_post_whose_connection_breaks_ends_its_session_like_with_node() {
    let _permit = shared_permit().await;
    let server = Rookery::start("").await;
    let poller = Poller::connect(&server, 4).await;
    let mut cut = begin_post(&server, &poller, "content-length: 10\r\n").await;
    cut.write(b"42").await.unwrap();
    drop(cut);
    until("the session ends", async || !poller.is_known().await).await;
    assert!(server.rejected("bad_packet").await >= 1.0);
}

#[tokio::test]
async fn one_address_cannot_take_the_memory_for_all_bodies() {
    let _permit = shared_permit().await;
    let config = "trustedProxies: [127.0.0.0/8]\n\
        limits: { bodies: 256KiB, perIp: { connections: 50, connectRate: 1000/s } }\n";
    let server = Rookery::start(config).await;
    let mut hostile = Vec::new();
    let body = "x".repeat(60 << 10);
    for _ in 0..8 {
        let poller = Poller::connect(&server, 4).await;
        let headers = "x-forwarded-for: 9.9.9.9\r\ncontent-length: 100000\r\n";
        let mut post = begin_post(&server, &poller, headers).await;
        post.write(body.as_bytes()).await.unwrap();
        hostile.push(post);
    }
    until("it is refused", async || server.rejected("bodies").await >= 4.0).await;
    let healthy = Poller::connect(&server, 4).await;
    let noise = format!("42{}", json!(["none", "x".repeat(60 << 10)]));
    let answer = Request::post(&healthy.target("polling"), noise)
        .header("x-forwarded-for", "8.8.8.8")
        .send(server.clients)
        .await
        .unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn idle_connections_of_one_address_leave_room_for_others() {
    let _permit = shared_permit().await;
    let server = Rookery::start("limits: { httpConnections: 40 }\n").await;
    let mut held = Vec::new();
    for _ in 0..60 {
        held.push(Connection::open(server.clients).await.unwrap());
    }
    until("some are refused", async || server.rejected("per_ip").await >= 20.0).await;
    let refused = within("the answer", held.pop().unwrap().response()).await.unwrap();
    assert_eq!(refused.status, 503);
    drop(held);
    until("there is room", async || {
        let answer = Request::get("/socket.io/?EIO=4&transport=polling").send(server.clients).await;
        answer.is_ok_and(|answer| answer.status == 200)
    })
    .await;
}
