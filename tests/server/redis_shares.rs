//! A publisher that floods while Redis is slow does not keep the others from reaching the cluster.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::Member;
use crate::harness::{Rookery, exclusive_permit, signal, until, within};
use crate::http::Request;
use crate::redis::Redis;
use crate::websocket::handshake;

/// Bytes of each publication of a flood: 80 of them fill the queue.
const LARGE: usize = 100 << 10;

/// A link without an answer for longer is broken.
const STOPPED: Duration = Duration::from_secs(4);

async fn unsent(server: &Rookery) -> f64 {
    server.metric("rookery_redis_unsent_total").await
}

/// A client that a proxy reports at this address.
async fn member_at(server: &Rookery, address: &str) -> Member {
    let request = handshake("/socket.io/?EIO=4&transport=websocket");
    Member::request(server, &request.header("x-forwarded-for", address)).await
}

async fn publish_as(member: &mut Member, room: &str, data: &str) {
    let arg = json!({"room": room, "event": "said", "data": data});
    let (_, answer) = member.ask("publish", arg).await;
    assert_eq!(answer["status"], "SUCCESS", "{}", answer["error"]);
}

/// Publishes as a client that floods, by as many sessions, until nothing of a round is sent.
async fn flood_as_clients(server: &Rookery, hostile: &mut [Member]) {
    let large = "x".repeat(LARGE);
    loop {
        let before = unsent(server).await;
        for member in &mut *hostile {
            publish_as(member, "flood", &large).await;
        }
        if unsent(server).await == before + hostile.len() as f64 {
            return;
        }
    }
}

async fn publish_as_backend(server: &Rookery, room: &str, data: &str) -> Value {
    let body = json!({"room": room, "event": "flood", "args": [data]}).to_string();
    let request = Request::post("/api/publish", body).header("content-type", "application/json");
    request.send(server.internal).await.unwrap().json()
}

/// Two instances, of which the second has a member in `room`; their events and bytes are not limited.
async fn two_servers(redis: &Redis) -> ([Rookery; 2], Member) {
    let config = format!(
        "redis: {{ url: '{}' }}\ntrustedProxies: [127.0.0.0/8]\n\
         limits: {{ eventsPerSecond: 100000, bytesPerSecond: 1GiB }}\n",
        redis.url()
    );
    let servers = [Rookery::start(&config).await, Rookery::start(&config).await];
    let mut listener = Member::connect(&servers[1]).await;
    listener.join("room").await;
    (servers, listener)
}

/// What the healthy client publishes while `flood` goes on, so many times so many bytes, reaches the
/// other instance once Redis goes on, all and in order.
async fn assert_healthy_is_heard(count: usize, bytes: usize, flood: impl AsyncFn(&Rookery)) {
    let redis = Redis::start().await;
    let ([server, other], mut listener) = two_servers(&redis).await;
    let mut healthy = member_at(&server, "8.8.8.8").await;
    let said = |n: usize| format!("{n} {}", "x".repeat(bytes));
    signal(redis.pid(), "STOP");
    let since = Instant::now();
    flood(&server).await;
    let refused = unsent(&server).await;
    for n in 0..count {
        publish_as(&mut healthy, "room", &said(n)).await;
    }
    assert_eq!(unsent(&server).await, refused, "the flood alone is not sent");
    assert!(since.elapsed() < STOPPED, "the test is too slow for the link to Redis");
    signal(redis.pid(), "CONT");
    for n in 0..count {
        let (event, data) = within("it is heard", listener.event()).await;
        assert!(event == "said" && data == said(n), "{n}");
    }
    for server in [&server, &other] {
        assert_eq!(server.metric("rookery_redis_reconnects_total").await, 0.0);
    }
    until("the log says it", async || server.log().contains("holds its share")).await;
}

#[tokio::test]
async fn clients_that_flood_redis_do_not_keep_others_from_it() {
    let _permit = exclusive_permit().await;
    assert_healthy_is_heard(50, 10, async |server| {
        let mut hostile = Vec::new();
        for _ in 0..3 {
            hostile.push(Member::connect(server).await);
        }
        flood_as_clients(server, &mut hostile).await;
    })
    .await;
}

#[tokio::test]
async fn an_address_with_many_clients_that_flood_redis_does_not_keep_others_from_it() {
    let _permit = exclusive_permit().await;
    assert_healthy_is_heard(8, LARGE, async |server| {
        let mut hostile = Vec::new();
        for _ in 0..10 {
            hostile.push(member_at(server, "9.9.9.9").await);
        }
        flood_as_clients(server, &mut hostile).await;
    })
    .await;
}

#[tokio::test]
async fn a_backend_that_floods_redis_does_not_keep_clients_from_it() {
    let _permit = exclusive_permit().await;
    assert_healthy_is_heard(50, 10, async |server| {
        let large = "x".repeat(LARGE);
        while publish_as_backend(server, "flood", &large).await["scope"] != "local" {}
    })
    .await;
}
