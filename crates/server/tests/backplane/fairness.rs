//! A flood on one channel, or of one server, leaves the others their places.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rookery_config::Redis;
use rookery_server::rooms::shard::QUEUE;
use rookery_server::rooms::shares::MAX_HELD;

use super::pod::Pod;
use super::redis_server::RedisServer;
use super::until;

/// How many publications of a flood are more than one channel or server may hold.
const MORE: usize = 3000;

/// Publishes to rooms as a Node server, on one connection, without waiting for each.
async fn publish_all(redis: &RedisServer, uid: &str, rooms: impl Iterator<Item = String>) {
    let mut all = redis::pipe();
    for room in rooms {
        let message = format!(
            r#"["{uid}",{{"type":2,"data":["{uid}"],"nsp":"/"}},{{"rooms":["{room}"],"except":[]}}]"#
        );
        all.cmd("PUBLISH").arg(format!("socket.io#/#{room}#")).arg(message);
    }
    all.query_async::<()>(&mut redis.connection().await).await.unwrap();
}

/// A pod whose shard does nothing until it is told to, with members of `busy` and `calm`.
async fn stuck_pod(redis: &RedisServer) -> Pod {
    let config = Redis::at(redis.url());
    let pod = Pod::with_queue("pod-bbbb", config, Duration::from_secs(30), QUEUE);
    pod.is_up().await;
    pod.add("pod-bbbb000000000001", None, &["busy"]).await;
    pod.add("pod-bbbb000000000002", None, &["calm"]).await;
    pod.shard.is_stuck.store(true, Ordering::Relaxed);
    pod
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_on_one_room_s_channel_neither_delays_nor_drops_what_is_for_another_room() {
    let redis = RedisServer::start().await;
    let (a, b) = (Pod::up("pod-aaaa", &redis).await, stuck_pod(&redis).await);
    let flood = std::iter::repeat_n("busy".to_owned(), MAX_HELD + MORE);
    publish_all(&redis, "noisy", flood).await;
    publish_all(&redis, "other", ["calm".to_owned()].into_iter()).await;
    assert!(a.publish(&["calm"], "of a pod"));
    // Nothing of the flood was delivered yet.
    b.gets("other").await;
    b.gets("of a pod").await;
    assert_eq!(b.events().iter().filter(|event| *event == "noisy").count(), MAX_HELD);
    assert_eq!(b.metrics.redis_dropped.get(), MORE as u64);

    b.shard.is_stuck.store(false, Ordering::Relaxed);
    let all = MAX_HELD as u64 + 2;
    until("all that was taken is delivered", async || b.metrics.recipients.get() == all).await;
    // What was delivered holds nothing any more.
    publish_all(&redis, "noisy", ["busy".to_owned()].into_iter()).await;
    until("the room is heard again", async || b.metrics.recipients.get() == all + 1).await;
    assert_eq!(b.metrics.redis_dropped.get(), MORE as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_server_that_floods_many_rooms_does_not_drop_what_others_publish() {
    let redis = RedisServer::start().await;
    let (a, b) = (Pod::up("pod-aaaa", &redis).await, stuck_pod(&redis).await);
    let rooms: Vec<String> = (0..32).map(|n| format!("busy {n}")).collect();
    let members: Vec<&str> = rooms.iter().map(String::as_str).collect();
    b.shard.is_stuck.store(false, Ordering::Relaxed);
    b.add("pod-bbbb000000000003", None, &members).await;
    b.shard.is_stuck.store(true, Ordering::Relaxed);
    let flood = rooms.iter().cycle().take(MAX_HELD + MORE).cloned();
    publish_all(&redis, "noisy", flood).await;
    assert!(a.publish(&["busy 1"], "of a pod"));
    b.gets("of a pod").await;
    assert_eq!(b.events().len(), MAX_HELD + 1);
    assert_eq!(b.metrics.redis_dropped.get(), MORE as u64);
    b.shard.is_stuck.store(false, Ordering::Relaxed);
}
