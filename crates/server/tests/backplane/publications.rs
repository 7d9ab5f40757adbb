//! Publications between pods, and which of them a pod hears.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rookery_protocol::Data;
use rookery_server::message::{Selector, Source};

use super::pod::{Pod, QUEUE, publication};
use super::redis_server::RedisServer;
use super::until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publication_reaches_the_other_pods_once_and_never_its_own() {
    let redis = RedisServer::start().await;
    let (a, b) = (Pod::up("pod-aaaa", &redis).await, Pod::up("pod-bbbb", &redis).await);
    let _rooms = (a.subscribe("room").await, b.subscribe("room").await);
    for (rooms, event) in
        [(&["room"][..], "one"), (&["room", "other"], "two"), (&[], "all"), (&["room"], "last")]
    {
        let mut old = publication(rooms, event);
        old.accepted = Instant::now() - Duration::from_secs(60);
        assert!(a.backplane.publish(&old));
        b.gets(event).await;
        let delivered = b.received();
        let got = delivered.last().unwrap();
        assert_eq!((got.rooms.len(), got.args.len()), (rooms.len(), 2));
        assert_eq!(got.args[1], Data::Binary(vec![0, 255].into()));
        assert_eq!(got.source, Source::Redis);
        assert_eq!(&*got.id.text(), "id");
        let age = got.accepted.elapsed();
        assert!((Duration::from_secs(59)..Duration::from_secs(120)).contains(&age), "{age:?}");
    }
    assert_eq!(b.events(), ["one", "two", "all", "last"]);
    assert!(b.publish(&["room"], "answer"));
    a.gets("answer").await;
    assert_eq!(a.events(), ["answer"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_arrives_whole_and_in_order() {
    let redis = RedisServer::start().await;
    let (a, b) = (Pod::up("pod-aaaa", &redis).await, Pod::up("pod-bbbb", &redis).await);
    let _room = b.subscribe("room").await;
    let sent: Vec<String> = (0..20_000).map(|n| format!("e{n}")).collect();
    for event in &sent {
        assert!(a.publish(&["room"], event));
    }
    b.gets("e19999").await;
    assert_eq!(b.events(), sent);
    assert_eq!(a.metrics.redis_unsent.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_without_members_of_a_room_hears_nothing_of_it() {
    let redis = RedisServer::start().await;
    let a = Pod::up("pod-aaaa", &redis).await;
    let b = Pod::lingering("pod-bbbb", &redis, Duration::from_millis(300));
    b.is_up().await;
    let before = b.messages_in();
    for n in 0..50 {
        assert!(a.publish(&["elsewhere"], &format!("e{n}")));
    }
    assert!(a.publish(&["a", "b"], "general"));
    b.gets("general").await;
    assert_eq!(b.messages_in(), before + 1);

    let (first, second) = (b.subscribe("room").await, b.subscribe("room").await);
    drop(second);
    assert!(a.publish(&["room"], "still subscribed"));
    b.gets("still subscribed").await;
    drop(first);
    let channel = "socket.io#/#room#".to_owned();
    assert!(redis.channels().await.contains(&channel));
    let gone = async || !redis.channels().await.contains(&channel);
    until("the channel is given up", gone).await;
    let before = b.messages_in();
    assert!(a.publish(&["room"], "unheard"));
    assert!(a.publish(&["a", "b"], "general 2"));
    b.gets("general 2").await;
    assert_eq!(b.messages_in(), before + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_is_subscribed_while_it_has_members() {
    let redis = RedisServer::start().await;
    let a = Pod::up("pod-aaaa", &redis).await;
    let b = Pod::lingering("pod-bbbb", &redis, Duration::from_millis(300));
    b.is_up().await;
    let ids = ["pod-bbbb000000000001", "pod-bbbb000000000002"];
    for id in ids {
        b.add(id, None, &["room"]).await;
    }
    assert!(a.publish(&["room"], "two members"));
    b.gets("two members").await;
    let leave = async |id: &str| {
        b.rooms.leave_selected("/", &Selector::Member(id.into()), &["room".into()]).await
    };
    assert_eq!(leave(ids[0]).await, 1);
    assert!(a.publish(&["room"], "one member"));
    b.gets("one member").await;
    assert_eq!(leave(ids[1]).await, 1);
    let channel = "socket.io#/#room#".to_owned();
    let gone = async || !redis.channels().await.contains(&channel);
    until("the channel is given up", gone).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_are_addressed_by_their_ids_without_a_subscription() {
    let redis = RedisServer::start().await;
    let (a, b) = (Pod::up("pod-aaaa", &redis).await, Pod::up("pod*bbbb", &redis).await);
    let id = "pod*bbbb0123456789ab";
    b.add(id, None, &[]).await;
    assert!(b.interests.is_empty());
    assert!(a.publish(&[id], "to one"));
    b.gets("to one").await;
    assert!(a.publish(&["pod-bbbb0123456789ab"], "to nobody"));
    assert!(a.publish(&[], "to all"));
    b.gets("to all").await;
    assert_eq!(b.events(), ["to one", "to all"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_and_full_shards_are_counted() {
    let redis = RedisServer::start().await;
    let (a, b) = (Pod::up("pod-aaaa", &redis).await, Pod::up("pod-bbbb", &redis).await);
    b.shard.is_stuck.store(true, Ordering::Relaxed);
    // One is in the hands of whoever is stuck.
    for n in 0..=QUEUE + 1 {
        assert!(a.publish(&[], &format!("e{n}")));
    }
    until("the drop is counted", async || b.metrics.redis_dropped.get() >= 1).await;
    b.shard.is_stuck.store(false, Ordering::Relaxed);
    redis.signal("STOP");
    let mut big = publication(&[], "big");
    big.args = [Data::from("x".repeat(1 << 20))].into();
    let mut accepted = 0;
    while a.backplane.publish(&big) {
        accepted += 1;
        assert!(accepted < 64, "the queue is not bounded");
    }
    assert_eq!(a.metrics.redis_unsent.get(), 1);
    redis.signal("CONT");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_messages_are_dropped_and_the_link_lives_on() {
    let redis = RedisServer::start().await;
    let a = Pod::up("pod-aaaa", &redis).await;
    let mut redis = redis.connection().await;
    let channels = ["socket.io#/#", "socket.io-request#/#", "socket.io-response#/#", "bridge"];
    let garbage: [&[u8]; 5] =
        [b"", b"\xff\xff", b"\xdd\xff\xff\xff\xff", &[0x91; 5000], b"{\"a\":"];
    for channel in channels.into_iter().chain(["socket.io-rookery#"]) {
        for message in garbage {
            let publish = redis::cmd("PUBLISH").arg(channel).arg(message).to_owned();
            publish.query_async::<()>(&mut redis).await.unwrap();
        }
    }
    until("all but answers are counted", async || a.metrics.redis_dropped.get() == 20).await;
    assert!(a.backplane.is_up());
    assert_eq!(a.metrics.redis_reconnects.get(), 0);
}
