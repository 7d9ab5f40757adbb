//! Failovers by real sentinels, in traffic.

use rookery_config::Redis;
use rookery_policy::Namespaces;
use rookery_server::backplane::inspection::{Tracking, inspect};
use rookery_server::telemetry::metrics::Metrics;

use super::pair::Pair;
use super::pod::Pod;
use super::sentinels::{PRIMARY, RedisWithSentinels};

/// What makes the sentinels choose another primary.
#[derive(Clone, Copy, PartialEq)]
enum Cause {
    /// The primary is killed.
    Killed,
    /// The primary hangs, and goes on after its successor was chosen: until it is told that it is a
    /// replica, it takes itself for the primary.
    Frozen,
    /// `SENTINEL FAILOVER`: the old primary stays one for some seconds.
    Ordered,
}

/// Runs a failover in traffic: both pods have to leave the old primary for its successor.
async fn fail_over(redis: &mut RedisWithSentinels, cause: Cause) {
    let mut pair = Pair::with(redis.config()).await;
    let _rooms = (pair.a.subscribe("room").await, pair.b.subscribe("room").await);
    pair.hear_each_other().await;
    let before = redis.primary().await.unwrap();
    match cause {
        Cause::Killed => redis.servers[0].kill(),
        Cause::Frozen => redis.servers[0].signal("STOP"),
        Cause::Ordered => {
            let order = ["SENTINEL", "FAILOVER", PRIMARY];
            redis.order::<()>(redis.sentinels[0].port, &order).await.unwrap();
        }
    }
    let redis = &*redis;
    pair.publish_until("the sentinels name another primary", async |_| {
        redis.primary().await.is_some_and(|primary| primary != before)
    })
    .await;
    if cause == Cause::Frozen {
        redis.servers[0].signal("CONT");
    }
    let new = redis.primary().await.unwrap();
    pair.publish_until("both pods are at the new primary", async |pair| {
        let count = ["PUBSUB", "NUMSUB", "socket.io#/#room#"];
        let subscribers: Option<(String, usize)> = redis.order(new, &count).await;
        subscribers.is_some_and(|(_, count)| count == 2)
            && pair.a.backplane.is_up()
            && pair.b.backplane.is_up()
    })
    .await;
    pair.hear_each_other().await;
    pair.every_loss_is_counted();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_killed_is_left_for_its_successor() {
    fail_over(&mut RedisWithSentinels::start().await, Cause::Killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_hangs_is_left_and_not_returned_to_when_it_goes_on() {
    fail_over(&mut RedisWithSentinels::start().await, Cause::Frozen).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_by_order_is_followed_while_the_old_primary_still_lives() {
    fail_over(&mut RedisWithSentinels::start().await, Cause::Ordered).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_with_the_documented_rights_follow_a_failover_by_tls_with_client_certificates() {
    fail_over(&mut RedisWithSentinels::secured().await, Cause::Killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_that_are_away_or_hang_are_not_needed() {
    let mut redis = RedisWithSentinels::start().await;
    redis.sentinels[0].kill();
    redis.sentinels[1].signal("STOP");
    let a = Pod::configured("pod-aaaa", redis.config());
    a.is_up().await;
    // The link to Redis does not depend on them.
    redis.sentinels[2].kill();
    let room = a.subscribe("room").await;
    assert!(a.publish(&["room"], "alone") && a.backplane.is_up());
    drop(room);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_may_ask_for_the_address_alone_finds_the_primary() {
    let mut redis = RedisWithSentinels::start().await;
    for sentinel in &redis.sentinels {
        let rule = "ACL SETUSER default resetchannels -@all +sentinel|get-master-addr-by-name \
                    +sentinel|failover +acl";
        let words: Vec<&str> = rule.split_whitespace().collect();
        redis.order::<()>(sentinel.port, &words).await.unwrap();
    }
    fail_over(&mut redis, Cause::Ordered).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_a_client_certificate_is_not_let_in() {
    let redis = RedisWithSentinels::secured().await;
    let primary = redis.primary().await.unwrap();
    let mut config = Redis { sentinel: None, mode: None, ..redis.config() };
    config.addresses = vec![format!("127.0.0.1:{primary}")];
    let metrics = Metrics::new().unwrap();
    let namespaces = Namespaces::compile(&["/"]).unwrap();
    inspect(&config, &namespaces, Tracking::Off, &metrics)
        .await
        .expect("it is let in with its certificate");
    (config.tls.cert_file, config.tls.key_file) = (None, None);
    let refused =
        inspect(&config, &namespaces, Tracking::Off, &metrics).await.unwrap_err().to_string();
    assert!(refused.contains("ertificate"), "{refused}");
}
