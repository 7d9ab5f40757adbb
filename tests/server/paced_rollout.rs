//! In a rollout with `drain.order: together`, the old instances close their sessions at the same
//! time, within one reconnect budget, and every client moves once.

use std::time::SystemTime;

use serde_json::Value;

use crate::client::Member;
use crate::harness::{Rookery, exclusive_permit, until, within};
use crate::redis::Redis;

/// Old instances, and as many new ones.
const INSTANCES: usize = 3;

/// Clients of each old instance.
const CLIENTS: usize = 30;

/// Reconnects a second.
const PACE: usize = 30;

const DRAIN: &str = "drain: { lead: 500ms, window: 300ms, patience: 10m, pace: 30/s, \
                     order: together }\n";

async fn server(redis: &Redis, revision: &str, drain: &str) -> Rookery {
    let config = format!("redis: {{ url: \"{}\" }}\n{drain}", redis.url());
    let revision = format!("chat/web/{revision}");
    let server = Rookery::start_with(&config, &[("ROOKERY_REVISION", &revision)]).await;
    until("it is connected", async || server.metric("rookery_redis_up").await == 1.0).await;
    server
}

/// When a line was logged, in seconds.
fn logged_at(server: &Rookery, message: &str) -> f64 {
    let log = server.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut lines = lines.filter(|line| line["message"] == message);
    let line = lines.next().unwrap_or_else(|| panic!("`{message}` is in the log"));
    let time = humantime::parse_rfc3339_weak(line["timestamp"].as_str().unwrap()).unwrap();
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64()
}

#[tokio::test]
async fn old_instances_close_their_sessions_together_within_one_budget() {
    let _permit = exclusive_permit().await;
    let redis = Redis::start().await;
    let mut old = Vec::new();
    for _ in 0..INSTANCES {
        old.push(server(&redis, "old", DRAIN).await);
    }
    let mut members = Vec::new();
    for server in &old {
        for _ in 0..CLIENTS {
            members.push(Member::connect(server).await);
        }
    }
    let mut new = Vec::new();
    for _ in 0..INSTANCES {
        new.push(server(&redis, "new", DRAIN).await);
    }
    old.iter().for_each(Rookery::terminate);
    let clients = members.into_iter().enumerate().map(async |(i, mut member)| {
        while member.packet().await.is_some() {}
        Member::connect(&new[i % INSTANCES]).await
    });
    let _moved = within("every client moves", futures_util::future::join_all(clients)).await;
    for server in &mut old {
        until("an old instance ends", async || server.has_ended()).await;
    }

    let mut connections = 0.0;
    for server in &new {
        connections += server.connections().await;
        assert_eq!(server.disconnects("drain").await, 0.0, "no client moves twice");
    }
    assert_eq!(connections, (INSTANCES * CLIENTS) as f64);
    let begun = old.iter().map(|server| logged_at(server, "closing sessions"));
    let ended = old.iter().map(|server| logged_at(server, "all sessions are closed"));
    let (begun, ended): (Vec<_>, Vec<_>) = (begun.collect(), ended.collect());
    let last = |times: &[f64]| times.iter().copied().fold(f64::MIN, f64::max);
    let first = |times: &[f64]| times.iter().copied().fold(f64::MAX, f64::min);
    assert!(last(&begun) < first(&ended), "together: {begun:?} {ended:?}");
    let budgeted = (INSTANCES * CLIENTS / PACE) as f64;
    let taken = last(&ended) - first(&begun);
    assert!(taken > 0.8 * budgeted, "{taken} s are too few for {budgeted} s of the budget");
}
