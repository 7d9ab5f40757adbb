//! Gauges of `/metrics` that are read at each scrape.

use serde_json::json;

use crate::client::Member;
use crate::harness::{Rookery, shared_permit, until};

#[tokio::test]
async fn the_connection_limit_metric_follows_the_file() {
    let _permit = shared_permit().await;
    let server = Rookery::start("limits: { connections: 7 }\n").await;
    assert_eq!(server.metric("rookery_connections_limit").await, 7.0);
    let version = env!("CARGO_PKG_VERSION");
    let info = format!("rookery_build_info{{version=\"{version}\"}}");
    assert_eq!(server.metric(&info).await, 1.0);
    std::fs::write(server.config(), "limits: { connections: 9 }\n").unwrap();
    until("the new limit shows", async || server.metric("rookery_connections_limit").await == 9.0)
        .await;
}

#[tokio::test]
async fn metrics_show_the_elapsed_and_planned_time_of_a_drain() {
    let _permit = shared_permit().await;
    let server = Rookery::start("drain: { lead: 2m, window: 3s, patience: 5m }\n").await;
    assert_eq!(server.metric("rookery_drain_seconds").await, 0.0);
    assert_eq!(server.metric("rookery_drain_planned_seconds").await, 543.0);
    server.terminate();
    until("it drains", async || server.metric("rookery_drain_seconds").await > 0.0).await;
    let before = server.metric("rookery_drain_seconds").await;
    assert!(server.metric("rookery_drain_seconds").await > before);
}

#[tokio::test]
async fn outbox_bytes_count_a_stalled_client_until_it_is_gone() {
    let _permit = shared_permit().await;
    let server = Rookery::start("limits: { queue: 64MiB, writeStall: 10m }\n").await;
    let mut stalled = Member::connect(&server).await;
    stalled.join("room").await;
    let mut reads = Member::connect(&server).await;
    reads.join("other").await;
    let waiting = async || server.metric("rookery_outbox_bytes").await;
    assert_eq!(waiting().await, 0.0);
    let text = "x".repeat(256 << 10);
    until("something waits", async || {
        server.publish("room", "event", json!(text)).await;
        waiting().await > 0.0
    })
    .await;
    // What is written at once does not wait.
    let before = waiting().await;
    server.publish("other", "event", json!(1)).await;
    assert_eq!(reads.event().await.1, json!(1));
    assert!(waiting().await <= before);
    drop(stalled);
    until("nothing waits", async || waiting().await == 0.0).await;
    assert_eq!(server.metric("rookery_shard_queue").await, 0.0);
}
