//! Several pods over a real Redis.

#![allow(clippy::unwrap_used)]

mod acks;
mod bridge;
mod cluster;
mod cluster_faults;
mod cluster_servers;
mod documented_rights;
mod failovers;
mod fairness;
mod gaps;
mod inspection;
mod killable;
mod node_servers;
mod outages;
mod pair;
mod pod;
mod presence;
mod publications;
mod questions;
mod ranking;
mod redis_processes;
mod redis_server;
mod resubscription;
mod rights;
mod room_hooks;
mod sentinel_failovers;
mod sentinels;
mod sharded;
mod sockets;
mod unusable_topologies;

use std::time::Duration;

use pod::Pod;
use redis_server::RedisServer;

/// Waits for a condition; panics, with its name, when it does not come.
pub async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let patience = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), patience)
        .await
        .unwrap_or_else(|_| panic!("not within 30 s: {what}"));
}

async fn know_each_other(pods: &[&Pod]) {
    for pod in pods {
        let all = async || pod.backplane.peers().len() == pods.len() - 1;
        until("pods know each other", all).await;
    }
}

/// A pod that was heard once, still listens, and never answers.
async fn dead_peer(redis: &RedisServer, name: &str) -> redis::aio::PubSub {
    let client = redis::Client::open(redis.url()).unwrap();
    let mut listening = client.get_async_pubsub().await.unwrap();
    listening.subscribe(&["socket.io-rookery#", "socket.io-request#/#"]).await.unwrap();
    let hello = format!(r#"{{"kind":"hello","pod":"{name}","greet":false}}"#);
    redis.publish("socket.io-rookery#", hello.as_bytes()).await;
    listening
}
