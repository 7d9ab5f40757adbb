//! A publisher that floods while Redis is slow does not keep the others from reaching the cluster.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::Member;
use crate::harness::{Rookery, exclusive_permit, signal, until, within};
use crate::http::Request;
use crate::redis::Redis;

/// What a healthy client publishes while another one floods.
const HEALTHY: usize = 50;

/// A link without an answer for longer is broken.
const STOPPED: Duration = Duration::from_secs(4);

async fn unsent(server: &Rookery) -> f64 {
    server.metric("rookery_redis_unsent_total").await
}

/// Publishes as a client that floods, by as many sessions, until its share is used up.
async fn flood_as_clients(server: &Rookery, hostile: &mut [Member]) {
    let large = "x".repeat(100 << 10);
    let before = unsent(server).await;
    while unsent(server).await == before {
        for member in &mut *hostile {
            let arg = json!({"room": "flood", "event": "flood", "data": large});
            let (_, answer) = member.ask("publish", arg).await;
            assert_eq!(answer["status"], "SUCCESS", "{}", answer["error"]);
        }
    }
}

async fn publish(server: &Rookery, room: &str, data: &str) -> Value {
    let body = json!({"room": room, "event": "flood", "args": [data]}).to_string();
    let request = Request::post("/api/publish", body).header("content-type", "application/json");
    request.send(server.internal).await.unwrap().json()
}

/// Two instances, of which the second has a member in `room`; their events and bytes are not limited.
async fn two_servers(redis: &Redis) -> ([Rookery; 2], Member) {
    let config = format!(
        "redis: {{ url: '{}' }}\nlimits: {{ eventsPerSecond: 100000, bytesPerSecond: 1GiB }}\n",
        redis.url()
    );
    let servers = [Rookery::start(&config).await, Rookery::start(&config).await];
    let mut listener = Member::connect(&servers[1]).await;
    listener.join("room").await;
    (servers, listener)
}

/// What the healthy client publishes while `flood` goes on reaches the other instance once Redis
/// goes on, all and in order.
async fn assert_healthy_is_heard(flood: impl AsyncFn(&Rookery)) {
    let redis = Redis::start().await;
    let ([server, other], mut listener) = two_servers(&redis).await;
    let mut healthy = Member::connect(&server).await;
    signal(redis.pid(), "STOP");
    let since = Instant::now();
    flood(&server).await;
    let refused = unsent(&server).await;
    for n in 0..HEALTHY {
        let arg = json!({"room": "room", "event": "said", "data": n});
        let (_, answer) = healthy.ask("publish", arg).await;
        assert_eq!(answer["status"], "SUCCESS", "{}", answer["error"]);
    }
    assert!(since.elapsed() < STOPPED, "the test is too slow for the link to Redis");
    signal(redis.pid(), "CONT");
    for n in 0..HEALTHY {
        assert_eq!(within("it is heard", listener.event()).await, ("said".into(), json!(n)));
    }
    assert_eq!(unsent(&server).await, refused, "the flood alone is not sent");
    for server in [&server, &other] {
        assert_eq!(server.metric("rookery_redis_reconnects_total").await, 0.0);
    }
    until("the log says it", async || server.log().contains("holds its share")).await;
}

#[tokio::test]
async fn clients_that_flood_redis_do_not_keep_others_from_it() {
    let _permit = exclusive_permit().await;
    assert_healthy_is_heard(async |server| {
        let mut hostile = Vec::new();
        for _ in 0..3 {
            hostile.push(Member::connect(server).await);
        }
        flood_as_clients(server, &mut hostile).await;
    })
    .await;
}

#[tokio::test]
async fn a_backend_that_floods_redis_does_not_keep_clients_from_it() {
    let _permit = exclusive_permit().await;
    assert_healthy_is_heard(async |server| {
        let large = "x".repeat(100 << 10);
        while publish(server, "flood", &large).await["scope"] != "local" {}
    })
    .await;
}
