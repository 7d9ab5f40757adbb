//! What was published and never came is counted, exactly; and nothing else is.

use std::time::Duration;

use super::pod::Pod;
use super::redis_server::RedisServer;
use super::until;

/// Events that another pod published, and the gaps that the receiver counted.
fn heard_and_lost(pod: &Pod) -> u64 {
    pod.events().len() as u64 + pod.metrics.redis_gaps.get()
}

async fn kill_subscribers(redis: &RedisServer) {
    let kill = redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub").to_owned();
    kill.query_async::<u64>(&mut redis.connection().await).await.unwrap();
}

/// Cuts every subscribing connection, and publishes to the room until the receiver's is up again;
/// gives how many were published.
async fn publish_through_an_outage(redis: &RedisServer, a: &Pod, b: &Pod) -> u64 {
    let (reconnects, mut published) = (b.metrics.redis_reconnects.get(), 0);
    kill_subscribers(redis).await;
    while b.metrics.redis_reconnects.get() == reconnects || !b.backplane.is_up() {
        published += u64::from(a.publish(&["room"], &format!("e{published}")));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    published
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_receiver_misses_while_its_connection_is_cut_is_counted() {
    let redis = RedisServer::start().await;
    let (a, b) = (Pod::up("pod-aaaa", &redis).await, Pod::up("pod-bbbb", &redis).await);
    let _room = b.subscribe("room").await;
    assert!(a.publish(&["room"], "first"));
    b.gets("first").await;

    for round in 0..3 {
        let before = heard_and_lost(&b);
        let lost_before = b.metrics.redis_gaps.get();
        let published = publish_through_an_outage(&redis, &a, &b).await;
        let last = format!("last {round}");
        assert!(a.publish(&["room"], &last));
        b.gets(&last).await;
        assert_eq!(heard_and_lost(&b) - before, published + 1);
        assert!(b.metrics.redis_gaps.get() > lost_before, "the cut lost nothing");
    }
    assert_eq!(b.metrics.redis_repeats.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_health_there_are_no_gaps_whoever_publishes_where() {
    let redis = RedisServer::start().await;
    let (a, b, c) = (
        Pod::up("pod-aaaa", &redis).await,
        Pod::up("pod-bbbb", &redis).await,
        Pod::up("pod-cccc", &redis).await,
    );
    let _interests = (c.subscribe("x").await, c.subscribe("y").await);
    for n in 0..500 {
        for pod in [&a, &b] {
            // To a room, to the namespace, to several rooms, and to a room without members there.
            for rooms in [&["x"][..], &[], &["x", "y"], &["y"], &["elsewhere"]] {
                assert!(pod.publish(rooms, &format!("e{n}")));
            }
        }
    }
    until("all arrive", async || c.events().len() == 500 * 2 * 4).await;
    assert_eq!(c.metrics.redis_gaps.get() + c.metrics.redis_repeats.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_while_a_room_has_no_members_here_is_not_lost() {
    let redis = RedisServer::start().await;
    let a = Pod::up("pod-aaaa", &redis).await;
    let b = Pod::lingering("pod-bbbb", &redis, Duration::ZERO);
    b.is_up().await;
    for visit in ["first", "second"] {
        let room = b.subscribe("room").await;
        assert!(a.publish(&["room"], visit));
        b.gets(visit).await;
        drop(room);
        let is_subscribed =
            async || redis.channels().await.contains(&"socket.io#/#room#".to_owned());
        until("the room is unsubscribed", async || !is_subscribed().await).await;
        for _ in 0..10 {
            assert!(a.publish(&["room"], "to nobody"));
        }
        // Redis has taken the others when this one arrives.
        let all = format!("after the {visit}");
        assert!(a.publish(&[], &all));
        b.gets(&all).await;
    }
    let _room = b.subscribe("room").await;
    assert!(a.publish(&["room"], "third"));
    b.gets("third").await;
    assert_eq!(b.metrics.redis_gaps.get(), 0);
    let to_the_room: Vec<_> =
        b.received().into_iter().filter(|p| !p.rooms.is_empty()).map(|p| p.event).collect();
    assert_eq!(to_the_room, ["first", "second", "third"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_comes_twice_is_delivered_once_and_counted() {
    let redis = RedisServer::start().await;
    let (a, b) = (Pod::up("pod-aaaa", &redis).await, Pod::up("pod-bbbb", &redis).await);
    let client = redis::Client::open(redis.url()).unwrap();
    let mut listening = client.get_async_pubsub().await.unwrap();
    listening.subscribe("socket.io#/#").await.unwrap();
    assert!(a.publish(&[], "once"));
    let message = {
        use futures_util::StreamExt as _;
        listening.on_message().next().await.unwrap()
    };
    b.gets("once").await;
    redis.publish("socket.io#/#", message.get_payload_bytes()).await;
    until("the repeat is counted", async || b.metrics.redis_repeats.get() == 1).await;
    assert!(a.publish(&[], "next"));
    b.gets("next").await;
    assert_eq!(b.events(), ["once", "next"]);
    assert_eq!(b.metrics.redis_gaps.get(), 0);
}
