//! Pods on the sharded wire, each on its own channels.

use std::time::Duration;

use rookery_config::{Redis, SubscriptionMode, Wire};
use rookery_protocol::packet::PacketHead;
use rookery_server::message::Selector;

use super::pod::{Pod, publication};
use super::redis_server::RedisServer;
use super::{documented_rights, know_each_other, until};

const MODES: [SubscriptionMode; 2] = [SubscriptionMode::Dynamic, SubscriptionMode::DynamicPrivate];

const PATIENCE: Duration = Duration::from_secs(3600);

fn config(url: String, subscription_mode: SubscriptionMode) -> Redis {
    Redis { wire: Wire::Sharded, subscription_mode, ..Redis::at(url) }
}

async fn up(name: &str, redis: &RedisServer, mode: SubscriptionMode) -> Pod {
    let pod = Pod::configured(name, config(redis.url(), mode));
    pod.is_up().await;
    pod
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publications_reach_the_pods_that_have_members_and_no_others() {
    for mode in MODES {
        let redis = RedisServer::start().await;
        let (a, b) = (up("pod-aaaa", &redis, mode).await, up("pod-bbbb", &redis, mode).await);
        know_each_other(&[&a, &b]).await;
        let id = "pod-bbbb000000000001";
        b.add(id, None, &["room"]).await;
        let idle = b.messages_in();
        for n in 0..50 {
            assert!(a.publish(&["elsewhere"], &format!("e{n}")));
        }
        assert!(
            a.publish(&["room"], "room") && a.publish(&[id], "member") && a.publish(&[], "all")
        );
        assert!(a.publish(&["room", "elsewhere"], "several"));
        redis.publish("bridge", br#"{"room":"room"}"#).await;
        for event in ["room", "member", "all", "several", "bridged"] {
            b.gets(event).await;
        }
        a.gets("bridged").await;
        // To a pod's own members nothing comes back.
        assert_eq!(b.messages_in() - idle, 5, "{mode:?}");
        assert_eq!(a.events(), ["bridged"]);
        assert_eq!(b.metrics.redis_dropped.get() + a.metrics.redis_unsent.get(), 0);
        let at = b.received().into_iter().find(|p| p.event == "room").unwrap();
        assert_eq!((at.args, at.id), (publication(&[], "").args, "id".into()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_has_a_channel_of_its_own_only_in_the_private_mode() {
    for mode in MODES {
        let redis = RedisServer::start().await;
        let (a, b) = (up("pod-aaaa", &redis, mode).await, up("pod-bbbb", &redis, mode).await);
        let id = "pod-bbbb000000000001";
        b.add(id, None, &["room"]).await;
        let heard_by_a = a.messages_in();
        for n in 0..20 {
            assert!(a.publish(&[id], &format!("e{n}")) && b.publish(&[id], "own"));
        }
        b.gets("e19").await;
        assert!(b.publish(&[], "last"));
        a.gets("last").await;
        let is_private = mode == SubscriptionMode::DynamicPrivate;
        let own = format!("socket.io#/#{id}#");
        assert_eq!(redis.shard_channels().await.contains(&own), is_private);
        // On the shared channel each pod hears its own publications, too.
        assert_eq!(a.messages_in() - heard_by_a, if is_private { 1 } else { 41 }, "{mode:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_that_node_takes_for_a_client_is_subscribed_only_in_the_private_mode() {
    for mode in MODES {
        let redis = RedisServer::start().await;
        let (a, b) = (up("pod-aaaa", &redis, mode).await, up("pod-bbbb", &redis, mode).await);
        let twenty = "room:of:20:character";
        b.add("pod-bbbb000000000001", None, &[twenty, "another"]).await;
        assert!(a.publish(&[twenty], "crosses"));
        b.gets("crosses").await;
        let channels = redis.shard_channels().await;
        let has = |room: &str| channels.contains(&format!("socket.io#/#{room}#"));
        assert_eq!(has(twenty), mode == SubscriptionMode::DynamicPrivate, "{mode:?}");
        assert!(has("another"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_are_subscribed_while_they_have_members_and_again_after_an_outage() {
    let mut redis = RedisServer::start().await;
    let config = config(redis.url(), SubscriptionMode::Dynamic);
    let a = Pod::start("pod-aaaa", config, Duration::ZERO);
    a.is_up().await;
    let fixed = redis.shard_channels().await;
    let expected = [
        "socket.io#/#",
        "socket.io#/#pod-aaaa#",
        "socket.io#/admin#",
        "socket.io#/admin#pod-aaaa#",
        "socket.io-rookery#",
        "socket.io-rookery#pod-aaaa#",
    ];
    assert_eq!(fixed, expected);
    assert_eq!(redis.channels().await, ["bridge"]);
    let held: Vec<_> = futures_util::future::join_all((0..1200).map(|n| {
        let a = &a;
        async move { a.subscribe(&format!("room {n}")).await }
    }))
    .await;
    assert_eq!(redis.shard_channels().await.len(), fixed.len() + 1200);
    redis.kill();
    until("the pod is disconnected", async || !a.backplane.is_up()).await;
    redis.run().await;
    a.is_up().await;
    assert_eq!(redis.shard_channels().await.len(), fixed.len() + 1200);
    drop(held);
    until("all are given up", async || redis.shard_channels().await == fixed).await;
}

/// A room's channel is that of a pod's answers where it has the pod's name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_with_the_name_of_a_pod_does_not_take_its_answers_along() {
    let redis = RedisServer::start().await;
    let config = config(redis.url(), SubscriptionMode::Dynamic);
    let a = Pod::start("pod-aaaa", config, Duration::ZERO);
    a.is_up().await;
    drop((a.subscribe("pod-aaaa").await, a.subscribe("another").await));
    let another = "socket.io#/#another#".to_owned();
    until("rooms are given up", async || !redis.shard_channels().await.contains(&another)).await;
    assert!(redis.shard_channels().await.contains(&"socket.io#/#pod-aaaa#".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_health_nothing_is_lost_and_after_a_cut_what_was_lost_is_counted() {
    let redis = RedisServer::start().await;
    let mode = SubscriptionMode::Dynamic;
    let (a, b) = (up("pod-aaaa", &redis, mode).await, up("pod-bbbb", &redis, mode).await);
    let _room = b.subscribe("room").await;
    for n in 0..500 {
        for rooms in [&["room"][..], &[], &["room", "y"], &["elsewhere"]] {
            assert!(a.publish(rooms, &format!("e{n}")));
        }
    }
    until("all arrive", async || b.events().len() == 1500).await;
    assert_eq!(b.metrics.redis_gaps.get() + b.metrics.redis_repeats.get(), 0);

    let (reconnects, mut published) = (b.metrics.redis_reconnects.get(), 1500);
    redis.order("CLIENT KILL TYPE pubsub").await;
    while b.metrics.redis_reconnects.get() == reconnects || !b.backplane.is_up() {
        published += u64::from(a.publish(&["room"], "in the outage"));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(a.publish(&["room"], "last"));
    b.gets("last").await;
    assert_eq!(b.events().len() as u64 + b.metrics.redis_gaps.get(), published + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_orders_and_acknowledgements_cross_between_pods() {
    let redis = RedisServer::start().await;
    let mode = SubscriptionMode::Dynamic;
    let (a, b) = (up("pod-aaaa", &redis, mode).await, up("pod-bbbb", &redis, mode).await);
    know_each_other(&[&a, &b]).await;
    let id = "pod-bbbb000000000001";
    let member = b.add(id, Some("ann"), &["room"]).await;
    let patient = a.broker.clone().with_query_deadline(PATIENCE);
    let members = patient.members("/", "room").await;
    assert_eq!((members.members.len(), members.unanswered.len()), (1, 0));
    assert_eq!(members.members[0].user.as_deref(), Some("ann"));
    let joined = patient.join_selected("/", &Selector::room("room"), &["new".into()]).await;
    assert_eq!((joined.matched, joined.unanswered.len()), (1, 0));

    let publish = a.broker.publish_with_acks(publication(&["new"], "ask"), PATIENCE);
    let acknowledge = async {
        let polled = member.outbox.poll(false).await.unwrap();
        let body = String::from_utf8(polled.body).unwrap();
        let packet = body.split('\u{1e}').next().unwrap().strip_prefix('4').unwrap();
        let asked = PacketHead::parse(packet).unwrap().id.unwrap();
        b.broker.acknowledged(&member, asked, vec!["yes".into()], 3);
    };
    let (receipt, ()) = futures_util::future::join(publish, acknowledge).await;
    let receipt = receipt.unwrap();
    assert_eq!(
        (receipt.acks, receipt.recipients, receipt.timed_out),
        (vec!["yes".into()], 1, false)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_the_documented_rights_can_do_everything() {
    for mode in MODES {
        let redis = RedisServer::start().await;
        let rights = documented_rights::with_bridge(&documented_rights::sharded());
        redis.order(&format!("ACL SETUSER rookery on >secret {rights}")).await;
        let url = format!("redis://rookery:secret@{}", redis.address());
        let pod = |name| Pod::configured(name, config(url.clone(), mode));
        let (a, b) = (pod("pod-aaaa"), pod("pod-bbbb"));
        a.is_up().await;
        b.is_up().await;
        know_each_other(&[&a, &b]).await;
        let id = "pod-bbbb000000000001";
        b.add(id, Some("ann"), &["room"]).await;
        assert!(
            a.publish(&["room"], "room") && a.publish(&[id], "member") && a.publish(&[], "all")
        );
        redis.publish("bridge", br#"{"room":"room"}"#).await;
        for event in ["room", "member", "all", "bridged"] {
            b.gets(event).await;
        }
        let patient = a.broker.clone().with_query_deadline(PATIENCE);
        let members = patient.members("/", "room").await;
        assert_eq!((members.members.len(), members.unanswered.len()), (1, 0));
        assert_eq!(a.metrics.redis_unsent.get() + b.metrics.redis_dropped.get(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_may_not_subscribe_comes_up_once_it_may() {
    let redis = RedisServer::start().await;
    redis.order("ACL SETUSER rookery on nopass ~* &* +@all -ssubscribe").await;
    let url = format!("redis://rookery:x@{}", redis.address());
    let a = Pod::configured("pod-aaaa", config(url, SubscriptionMode::Dynamic));
    until("it can publish", async || a.backplane.commands("key").is_some()).await;
    assert!(!a.backplane.is_up());
    redis.order("ACL SETUSER rookery +ssubscribe").await;
    a.is_up().await;
}
