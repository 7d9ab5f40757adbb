//! A Redis user who has exactly the rights that docs/redis.md lists.

use std::time::Duration;

use rookery_server::message::Selector;

use super::pod::Pod;
use super::redis_server::RedisServer;
use super::{documented_rights, know_each_other, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_the_documented_rights_can_do_everything() {
    let redis = RedisServer::start().await;
    let rights = documented_rights::with_bridge(&documented_rights::classic());
    redis.order(&format!("ACL SETUSER rookery on >secret {rights}")).await;
    let url = format!("redis://rookery:secret@{}", redis.address());
    let (a, b) = (Pod::at("pod-aaaa", &url), Pod::at("pod-bbbb", &url));
    a.is_up().await;
    b.is_up().await;
    know_each_other(&[&a, &b]).await;
    let id = "pod-bbbb000000000001";
    b.add(id, Some("ann"), &["room"]).await;
    let _room = b.subscribe("room").await;
    // To a room, to one member, to the namespace and over the bridge: each once.
    assert!(a.publish(&["room"], "room") && a.publish(&[id], "member") && a.publish(&[], "all"));
    redis.publish("bridge", br#"{"room":"room"}"#).await;
    for event in ["room", "member", "all", "bridged"] {
        b.gets(event).await;
    }
    assert!(a.publish(&["room"], "last"));
    b.gets("last").await;
    let mut events = b.events();
    events.sort();
    assert_eq!(events, ["all", "bridged", "last", "member", "room"]);
    let patient = a.broker.clone().with_query_deadline(Duration::from_secs(3600));
    let members = patient.members("/", "room").await;
    assert_eq!((members.members.len(), members.unanswered.len()), (1, 0));
    let of = Selector::Member(id.into());
    assert_eq!(patient.join_selected("/", &of, &["new".into()]).await.matched, 1);
    let key = "socket.io:rookery:idem:/:id";
    let mut commands = a.backplane.commands(key).unwrap();
    let mut kept = redis::cmd("EVAL");
    kept.arg("redis.call('SET', KEYS[1], 'x', 'PX', 9) redis.call('DEL', KEYS[1]) return redis.call('GET', KEYS[1])");
    kept.arg(1).arg(key);
    assert_eq!(commands.query::<Option<String>>(&kept).await.unwrap(), None);
    assert_eq!(a.metrics.redis_unsent.get() + b.metrics.redis_dropped.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_narrowest_permitted_pattern_is_subscribed() {
    let redis = RedisServer::start().await;
    for (rights, pattern) in [
        ("allchannels", "socket.io#/#pod-aaaa*"),
        ("resetchannels &socket.io* &bridge &socket.io#/#* &socket.io#/admin#*", "socket.io#/#*"),
        ("resetchannels &socket.io* &bridge", "socket.io*"),
    ] {
        redis.order(&format!("ACL SETUSER rookery on nopass ~* +@all {rights}")).await;
        let a = Pod::at("pod-aaaa", &format!("redis://rookery:x@{}", redis.address()));
        a.is_up().await;
        let counted = redis::cmd("PUBSUB").arg("NUMPAT").to_owned();
        let expected = if pattern == "socket.io*" { 1 } else { 2 };
        until(pattern, async || {
            let mut connection = redis.connection().await;
            counted.query_async::<usize>(&mut connection).await.unwrap() == expected
        })
        .await;
        a.shutdown.cancel();
        a.tracker.close();
        a.tracker.wait().await;
        drop(a);
        until("the pod is gone", async || redis.channels().await.is_empty()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publication_that_redis_refuses_is_not_said_to_reach_the_cluster() {
    let redis = RedisServer::start().await;
    let a = Pod::up("pod-aaaa", &redis).await;
    assert!(a.publish(&["room"], "permitted"));
    redis.order("ACL SETUSER default -publish").await;
    until("the refusal is known", async || !a.publish(&["room"], "refused")).await;
    // A heartbeat, within a second, tells it for rooms that nothing was published to yet.
    tokio::time::timeout(Duration::from_secs(30), async {
        for n in 0.. {
            if !a.publish(&[&format!("room {n}")], "refused") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    redis.order("ACL SETUSER default +publish resetchannels &socket.io-* &socket.io#/#room#").await;
    until("it is permitted again", async || a.publish(&["room"], "permitted")).await;
    until("the other room is refused", async || !a.publish(&["another room"], "refused")).await;
    until("refusals are counted", async || a.metrics.redis_unsent.get() > 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_cannot_listen_still_reaches_the_others() {
    let redis = RedisServer::start().await;
    redis.order("ACL SETUSER deaf on nopass ~* &* +@all").await;
    let a = Pod::at("pod-aaaa", &format!("redis://deaf:x@{}", redis.address()));
    let b = Pod::up("pod-bbbb", &redis).await;
    a.is_up().await;
    let _room = b.subscribe("room").await;
    redis.order("ACL SETUSER deaf -subscribe").await;
    redis.order("CLIENT KILL TYPE pubsub USER deaf").await;
    until("the listening connection is down", async || !a.backplane.is_up()).await;
    assert!(a.publish(&["room"], "crosses"));
    b.gets("crosses").await;
}
