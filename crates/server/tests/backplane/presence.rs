//! Rooms with presence on several pods.

use std::sync::Arc;
use std::time::Duration;

use rookery_server::rooms::member::Member;

use super::killable::Killable;
use super::pod::LEAVE_DELAY;
use super::*;

/// Waits until a pod says that these users are in the room.
async fn present(pod: &Pod, users: &[&str]) {
    let what = format!("{users:?} are present for {}", pod.backplane.pod().to_owned());
    until(&what, async || pod.present("r").await == users).await;
}

/// Waits until the members of a pod were told of so many joins and leaves.
async fn told(pod: &Pod, joins: u64, leaves: u64) {
    let what = format!("{joins} joins and {leaves} leaves are told");
    until(&what, async || pod.told() == (joins, leaves)).await;
}

/// Two pods that know each other.
async fn two_pods(redis: &RedisServer) -> (Pod, Pod) {
    let (a, b) = (Pod::up("pod-aaaa", redis).await, Pod::up("pod-bbbb", redis).await);
    know_each_other(&[&a, &b]).await;
    (a, b)
}

/// A member of a user, in the room.
async fn entered(pod: &Pod, id: &str, user: &str) -> Arc<Member> {
    let member = pod.connect(id, user).await;
    pod.enter(&member, "r").await;
    member
}

#[tokio::test]
async fn an_answer_to_a_join_names_who_is_there_on_every_pod() {
    let redis = RedisServer::start().await;
    let (a, b) = two_pods(&redis).await;
    let ada = a.connect("pod-aaaa000000000001", "ada").await;
    assert_eq!(a.enter(&ada, "r").await, ["ada"]);
    let bob = b.connect("pod-bbbb000000000001", "bob").await;
    assert_eq!(b.enter(&bob, "r").await, ["ada", "bob"]);
    // Of ada's own join nobody is told, as nobody was there; bob's own answer names her.
    told(&a, 2, 0).await;
    assert_eq!(a.present("r").await, ["ada", "bob"]);
    // A second member of a user is neither a join nor, when it goes, a leave.
    let again = b.connect("pod-bbbb000000000002", "ada").await;
    assert_eq!(b.enter(&again, "r").await, ["ada", "bob"]);
    b.leave(&again, "r").await;
    b.leave(&bob, "r").await;
    present(&a, &["ada"]).await;
    told(&a, 2, 1).await;
    a.leave(&ada, "r").await;
    present(&b, &[]).await;
    let keys = async || {
        let keys = redis::cmd("KEYS").arg("*").to_owned();
        keys.query_async::<Vec<String>>(&mut redis.connection().await).await.unwrap().is_empty()
    };
    until("nothing stays in Redis", keys).await;
}

#[tokio::test]
async fn a_user_that_moves_to_another_pod_within_the_delay_neither_leaves_nor_joins() {
    let redis = RedisServer::start().await;
    let (a, b) = two_pods(&redis).await;
    entered(&b, "pod-bbbb000000000001", "bob").await;
    let ada = entered(&a, "pod-aaaa000000000001", "ada").await;
    told(&b, 2, 0).await;
    a.lose(ada).await;
    let moved = b.connect("pod-bbbb000000000002", "ada").await;
    assert_eq!(b.enter(&moved, "r").await, ["ada", "bob"]);
    // The delay is over when a later loss has become a leave.
    let eve = entered(&a, "pod-aaaa000000000002", "eve").await;
    told(&b, 3, 0).await;
    a.lose(eve).await;
    told(&b, 3, 1).await;
    present(&b, &["ada", "bob"]).await;
    assert!(LEAVE_DELAY > Duration::ZERO);
}

#[tokio::test]
async fn the_users_of_a_killed_pod_leave_when_its_heartbeat_has_ended() {
    let redis = RedisServer::start().await;
    let (a, b) = (Killable::up("pod-aaaa", &redis).await, Pod::up("pod-bbbb", &redis).await);
    let c = Pod::up("pod-cccc", &redis).await;
    know_each_other(&[&a.pod, &b, &c]).await;
    for (pod, id, user) in [
        (&a.pod, "pod-aaaa000000000001", "ada"),
        (&b, "pod-bbbb000000000001", "bob"),
        (&c, "pod-cccc000000000001", "eve"),
    ] {
        let member = pod.connect(id, user).await;
        pod.enter(&member, "r").await;
    }
    let both = a.pod.connect("pod-aaaa000000000002", "bob").await;
    a.pod.enter(&both, "r").await;
    for pod in [&b, &c] {
        present(pod, &["ada", "bob", "eve"]).await;
        told(pod, 3, 0).await;
    }
    a.kill();
    for pod in [&b, &c] {
        told(pod, 3, 1).await;
        present(pod, &["bob", "eve"]).await;
    }
    let expired = || b.metrics.presence.expired.get() + c.metrics.presence.expired.get();
    until("its two occupants are counted once", async || expired() == 2).await;
}

#[tokio::test]
async fn a_room_is_the_same_after_redis_lost_everything() {
    let mut redis = RedisServer::start().await;
    let (a, b) = two_pods(&redis).await;
    entered(&a, "pod-aaaa000000000001", "ada").await;
    entered(&b, "pod-bbbb000000000001", "bob").await;
    told(&a, 2, 0).await;
    redis.kill();
    let is_down = async || !a.backplane.is_up() && !b.backplane.is_up();
    until("both pods know", is_down).await;
    // What happens meanwhile is told here at once, and elsewhere later.
    let eve = a.connect("pod-aaaa000000000002", "eve").await;
    assert_eq!(a.enter(&eve, "r").await, ["ada", "bob", "eve"]);
    told(&a, 3, 0).await;
    redis.run().await;
    a.is_up().await;
    b.is_up().await;
    told(&b, 3, 0).await;
    for pod in [&a, &b] {
        present(pod, &["ada", "bob", "eve"]).await;
        assert_eq!(pod.told(), (3, 0), "nobody left");
    }
}

#[tokio::test]
async fn a_room_that_redis_forgot_is_written_again_without_anybody_leaving() {
    let redis = RedisServer::start().await;
    let (a, b) = two_pods(&redis).await;
    entered(&a, "pod-aaaa000000000001", "ada").await;
    entered(&b, "pod-bbbb000000000001", "bob").await;
    told(&a, 2, 0).await;
    redis.order("FLUSHALL").await;
    // Somebody new makes the room be read, and those who are missing write themselves again.
    let c = Pod::up("pod-cccc", &redis).await;
    entered(&c, "pod-cccc000000000001", "eve").await;
    redis.publish("socket.io-rookery#", RELOAD.as_bytes()).await;
    for pod in [&a, &b, &c] {
        present(pod, &["ada", "bob", "eve"]).await;
    }
    assert_eq!((a.told(), b.told()), ((3, 0), (3, 0)));
}

/// What a pod sends that misses another one in the room.
const RELOAD: &str =
    r#"{"v":1,"kind":"presence","pod":"pod-xxxx","presence":{"namespace":"/","room":"r"}}"#;

#[tokio::test]
async fn a_room_with_more_than_the_maximum_names_nobody() {
    let redis = RedisServer::start().await;
    let a = Pod::up("pod-aaaa", &redis).await;
    let mut members = Vec::new();
    for n in 0..7 {
        let member = a.connect(&format!("pod-aaaa00000000000{n}"), &format!("user-{n}")).await;
        let named = a.enter(&member, "r").await;
        assert_eq!(named.len(), if n < 5 { n + 1 } else { 0 });
        members.push(member);
    }
    assert_eq!(a.told(), (5, 0), "the sixth is not told by name");
    let answer = a.broker.presence(&rookery_server::message::RoomKey::new("/", "r")).await;
    assert_eq!((answer.roster.count, answer.roster.occupants), (7, None));
}

#[tokio::test]
async fn a_join_is_answered_with_who_is_known_while_redis_hangs() {
    let redis = RedisServer::start().await;
    let a = Pod::up("pod-aaaa", &redis).await;
    entered(&a, "pod-aaaa000000000001", "ada").await;
    redis.signal("STOP");
    let bob = a.connect("pod-aaaa000000000002", "bob").await;
    assert_eq!(a.enter(&bob, "r").await, ["ada", "bob"]);
    redis.signal("CONT");
    let b = Pod::up("pod-bbbb", &redis).await;
    present(&b, &["ada", "bob"]).await;
}

#[tokio::test]
async fn the_documented_rights_are_enough() {
    let redis = RedisServer::start().await;
    let rights = documented_rights::with_bridge(&documented_rights::classic());
    let presence = "+hset +hdel +hgetall +pexpire";
    redis.order(&format!("ACL SETUSER rookery on >secret {rights} {presence}")).await;
    let url = format!("redis://rookery:secret@{}", redis.address());
    let (a, b) = (Pod::at("pod-aaaa", &url), Pod::at("pod-bbbb", &url));
    a.is_up().await;
    b.is_up().await;
    know_each_other(&[&a, &b]).await;
    let ada = entered(&a, "pod-aaaa000000000001", "ada").await;
    let bob = b.connect("pod-bbbb000000000001", "bob").await;
    assert_eq!(b.enter(&bob, "r").await, ["ada", "bob"]);
    a.leave(&ada, "r").await;
    present(&b, &["bob"]).await;
    let errors = [&a, &b].map(|pod| pod.metrics.presence.redis_errors.get());
    assert_eq!(errors, [0, 0]);
}
