//! Redis that is away, silent or refuses; and a pod that stops.

use rookery_server::message::RoomKey;

use super::pod::Pod;
use super::redis_server::RedisServer;
use super::{know_each_other, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_rooms_at_once_are_confirmed_and_come_back_with_redis() {
    let mut redis = RedisServer::start().await;
    let (a, b) = (Pod::up("pod-aaaa", &redis).await, Pod::up("pod-bbbb", &redis).await);
    let rooms: Vec<String> = (0..3000).map(|n| format!("room {n}")).collect();
    let subscribed = rooms.iter().map(|room| b.subscribe(room));
    let _interests = futures_util::future::join_all(subscribed).await;
    let room_channels =
        async || redis.channels().await.iter().filter(|c| c.contains("#room ")).count();
    assert_eq!(room_channels().await, 3000);

    redis.kill();
    until("the loss is noticed", async || !a.backplane.is_up() && !b.backplane.is_up()).await;
    assert_eq!(b.metrics.redis_up.get(), 0);
    // The two connections notice it one after the other.
    until("publications are not taken", async || !a.publish(&["room 1"], "lost")).await;
    let unsent = a.metrics.redis_unsent.get();
    assert!(!a.publish(&["room 1"], "lost"));
    assert_eq!(a.metrics.redis_unsent.get(), unsent + 1);
    // At once, or as soon as the subscriber's connection is seen to be gone as well.
    let _new = b.subscribe("new").await;

    redis.run().await;
    a.is_up().await;
    b.is_up().await;
    assert!(b.metrics.redis_reconnects.get() >= 2);
    assert_eq!(b.metrics.redis_up.get(), 1);
    for room in ["room 2999", "new"] {
        assert!(a.publish(&[room], room));
        b.gets(room).await;
    }
    assert_eq!(b.events(), ["room 2999", "new"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_starts_without_redis_and_finds_it_later() {
    let mut redis = RedisServer::stopped();
    let a = Pod::new("pod-aaaa", &redis);
    let (_room, confirmation) = a.interests.acquire(&RoomKey::new("/", "room"));
    assert!(confirmation.is_none());
    assert!(!a.publish(&["room"], "lost"));
    assert_eq!(a.metrics.redis_unsent.get(), 1);
    let rooms = a.broker.rooms("/", "").await;
    assert_eq!(rooms.unanswered, ["redis"]);
    redis.run().await;
    a.is_up().await;
    assert_eq!(a.metrics.redis_reconnects.get(), 0);
    assert!(redis.channels().await.contains(&"socket.io#/#room#".to_owned()));
    assert!(a.backplane.commands("key").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_redis_is_noticed_and_what_was_underway_is_counted() {
    let redis = RedisServer::start().await;
    let a = Pod::up("pod-aaaa", &redis).await;
    redis.signal("STOP");
    let accepted = (0..100).filter(|n| a.publish(&["room"], &format!("e{n}"))).count();
    assert_eq!(accepted, 100);
    let (_new, confirmation) = a.interests.acquire(&RoomKey::new("/", "new"));
    until("the silence is noticed", async || !a.backplane.is_up()).await;
    until("all are counted", async || a.metrics.redis_unsent.get() == 100).await;
    if let Some(confirmed) = confirmation {
        confirmed.await;
    }
    redis.signal("CONT");
    a.is_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_redis_forbids_does_not_break_the_link() {
    let redis = RedisServer::start().await;
    let (a, b) = (Pod::up("pod-aaaa", &redis).await, Pod::up("pod-bbbb", &redis).await);
    let mut allowed = redis::cmd("ACL");
    allowed.arg("SETUSER").arg("default").arg("resetchannels").arg("&socket.io-*").arg("&bridge");
    for namespace in ["/", "/admin"] {
        allowed.arg(format!("&socket.io#{namespace}#"));
        for pod in ["pod-aaaa", "pod-bbbb"] {
            allowed.arg(format!("&socket.io#{namespace}#{pod}*"));
        }
    }
    allowed.arg("&socket.io#/#allowed#").arg("&socket.io#emitter");
    allowed.query_async::<()>(&mut redis.connection().await).await.unwrap();

    let many: Vec<String> = (0..30).map(|n| format!("forbidden{n}")).collect();
    let rooms = ["forbidden", "allowed"].into_iter().chain(many.iter().map(String::as_str));
    let _interests = futures_util::future::join_all(rooms.map(|room| b.subscribe(room))).await;
    until("the allowed room is subscribed", async || {
        redis.channels().await.contains(&"socket.io#/#allowed#".to_owned())
    })
    .await;
    assert!(a.publish(&["forbidden"], "refused"));
    assert!(a.publish(&["allowed"], "passes"));
    b.gets("passes").await;
    until("the refusal is counted", async || a.metrics.redis_unsent.get() == 1).await;
    assert_eq!(b.events(), ["passes"]);
    until("not every refusal is a line", async || b.metrics.log_lines_suppressed.get() > 0).await;
    assert_eq!(a.metrics.redis_reconnects.get() + b.metrics.redis_reconnects.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_stops_sends_what_waits_and_says_goodbye() {
    let redis = RedisServer::start().await;
    let (a, b) = (Pod::up("pod-aaaa", &redis).await, Pod::up("pod-bbbb", &redis).await);
    know_each_other(&[&a, &b]).await;
    for n in 0..1000 {
        assert!(a.publish(&[], &format!("e{n}")));
    }
    a.shutdown.cancel();
    a.tracker.close();
    a.tracker.wait().await;
    b.gets("e999").await;
    assert_eq!(a.metrics.redis_unsent.get(), 0);
    until("the goodbye is heard", async || b.backplane.peers().is_empty()).await;
    assert!(!a.publish(&[], "too late"));
}
