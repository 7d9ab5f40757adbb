//! Pods that are killed or stop, a Redis that loses its data, and a backend that is away.

use super::*;
use crate::pod::LEAVE_DELAY;

/// Waits until a later change is told, so that whatever was to be told before it has been.
async fn something_else_is_told(pod: &Pod, backend: &TestBackend, n: u32) {
    let id = format!("{}99999999{n:04}", pod.backplane.pod());
    let member = pod.connect(&id, "marker").await;
    let room = format!("marker-{n}");
    pod.enter(&member, &room).await;
    backend.knows(&room, &["marker"]).await;
    tokio::time::sleep(LEAVE_DELAY).await;
    pod.lose(member).await;
    backend.is_vacated(&room).await;
}

#[tokio::test]
async fn a_room_is_occupied_told_of_its_members_and_vacated() {
    let (redis, backend) = (RedisServer::start().await, TestBackend::start().await);
    let (a, b) = (up("pod-aaaa", &redis, &backend).await, up("pod-bbbb", &redis, &backend).await);
    know_each_other(&[&a, &b]).await;
    let ada = a.connect("pod-aaaa000000000001", "ada").await;
    let bob = b.connect("pod-bbbb000000000001", "bob").await;
    assert_eq!(a.enter(&ada, "hooked").await, Vec::<String>::new(), "members are told nothing");
    b.enter(&bob, "hooked").await;
    b.enter(&bob, "quiet").await;
    backend.knows("hooked", &["ada", "bob"]).await;
    // A second member of a user is no event.
    let again = b.connect("pod-bbbb000000000002", "ada").await;
    b.enter(&again, "hooked").await;
    a.leave(&ada, "hooked").await;
    b.leave(&bob, "hooked").await;
    backend.knows("hooked", &["ada"]).await;
    b.leave(&again, "hooked").await;
    backend.is_vacated("hooked").await;
    let expected = [
        "hooked room_occupied ",
        "hooked member_joined ada",
        "hooked member_joined bob",
        "hooked member_left bob",
        "hooked member_left ada",
        "hooked room_vacated ",
    ];
    assert_eq!(backend.log("hooked"), expected);
    assert!(backend.log("quiet").is_empty());
    assert_eq!((a.told(), b.told()), ((0, 0), (1, 0)), "of the room without hooks alone");
    b.leave(&bob, "quiet").await;
    nothing_is_left(&redis).await;
}

#[tokio::test]
async fn the_members_of_a_killed_pod_leave_and_rooms_that_it_alone_had_are_vacated() {
    let (redis, backend) = (RedisServer::start().await, TestBackend::start().await);
    let a = killable("pod-aaaa", &redis, &backend).await;
    let (b, c) = (up("pod-bbbb", &redis, &backend).await, up("pod-cccc", &redis, &backend).await);
    know_each_other(&[&a.pod, &b, &c]).await;
    let ada = a.pod.connect("pod-aaaa000000000001", "ada").await;
    let bob = b.connect("pod-bbbb000000000001", "bob").await;
    let eve = c.connect("pod-cccc000000000001", "eve").await;
    a.pod.enter(&ada, "both").await;
    a.pod.enter(&ada, "alone").await;
    a.pod.enter(&ada, "hooked").await;
    b.enter(&bob, "both").await;
    c.enter(&eve, "both").await;
    backend.knows("both", &["ada", "bob", "eve"]).await;
    backend.knows("alone", &["ada"]).await;
    backend.knows("hooked", &["ada"]).await;
    a.kill();
    backend.knows("both", &["bob", "eve"]).await;
    backend.is_vacated("alone").await;
    backend.is_vacated("hooked").await;
    let alone = ["room_occupied ", "member_joined ada", "member_left ada", "room_vacated "];
    assert_eq!(backend.log("alone"), alone.map(|line| format!("alone {line}")));
    b.leave(&bob, "both").await;
    c.leave(&eve, "both").await;
    backend.is_vacated("both").await;
    nothing_is_left(&redis).await;
    let expired = || b.metrics.presence.expired.get() + c.metrics.presence.expired.get();
    until("its occupants are counted once", async || expired() == 3).await;
}

#[tokio::test]
async fn what_a_killed_pod_could_not_send_is_sent_with_the_same_ids() {
    let (redis, backend) = (RedisServer::start().await, TestBackend::start().await);
    let a = killable("pod-aaaa", &redis, &backend).await;
    let b = up("pod-bbbb", &redis, &backend).await;
    know_each_other(&[&a.pod, &b]).await;
    backend.set_down(true);
    let ada = a.pod.connect("pod-aaaa000000000001", "ada").await;
    let bob = b.connect("pod-bbbb000000000001", "bob").await;
    a.pod.enter(&ada, "both").await;
    a.pod.enter(&ada, "alone").await;
    until("its events were sent", async || backend.attempted().len() == 4).await;
    b.enter(&bob, "both").await;
    let before = backend.attempted();
    a.kill();
    backend.set_down(false);
    backend.knows("both", &["bob"]).await;
    backend.is_vacated("alone").await;
    assert!(before.is_subset(&backend.accepted()), "each was repeated with its id");
    let alone = ["room_occupied ", "member_joined ada", "member_left ada", "room_vacated "];
    assert_eq!(backend.log("alone"), alone.map(|line| format!("alone {line}")));
    b.leave(&bob, "both").await;
    backend.is_vacated("both").await;
    nothing_is_left(&redis).await;
}

#[tokio::test]
async fn nothing_is_told_twice_after_redis_lost_everything() {
    let mut redis = RedisServer::start().await;
    let backend = TestBackend::start().await;
    let (a, b) = (up("pod-aaaa", &redis, &backend).await, up("pod-bbbb", &redis, &backend).await);
    know_each_other(&[&a, &b]).await;
    let ada = a.connect("pod-aaaa000000000001", "ada").await;
    let bob = b.connect("pod-bbbb000000000001", "bob").await;
    a.enter(&ada, "both").await;
    b.enter(&bob, "both").await;
    b.enter(&bob, "alone").await;
    backend.knows("both", &["ada", "bob"]).await;
    backend.knows("alone", &["bob"]).await;
    redis.kill();
    let is_down = async || !a.backplane.is_up() && !b.backplane.is_up();
    until("both pods know", is_down).await;
    // What happens meanwhile is told when Redis is back.
    let eve = a.connect("pod-aaaa000000000002", "eve").await;
    a.enter(&eve, "both").await;
    b.leave(&bob, "both").await;
    redis.run().await;
    a.is_up().await;
    b.is_up().await;
    backend.knows("both", &["ada", "eve"]).await;
    something_else_is_told(&b, &backend, 1).await;
    let expected = ["room_occupied ", "member_joined ada", "member_joined bob"];
    assert_eq!(backend.log("both")[..3], expected.map(|line| format!("both {line}")));
    assert_eq!(backend.log("both").len(), 5, "{:?}", backend.log("both"));
    assert_eq!(backend.log("alone").len(), 2, "{:?}", backend.log("alone"));
    b.leave(&bob, "alone").await;
    backend.is_vacated("alone").await;
}

#[tokio::test]
async fn a_member_that_moves_from_a_pod_that_stops_is_no_event() {
    let (redis, backend) = (RedisServer::start().await, TestBackend::start().await);
    let a = up("pod-aaaa", &redis, &backend).await;
    let (b, c) = (up("pod-bbbb", &redis, &backend).await, up("pod-cccc", &redis, &backend).await);
    know_each_other(&[&a, &b, &c]).await;
    let ada = a.connect("pod-aaaa000000000001", "ada").await;
    a.enter(&ada, "r").await;
    a.enter(&ada, "left").await;
    backend.knows("r", &["ada"]).await;
    backend.knows("left", &["ada"]).await;
    a.lose(ada).await;
    let moved = b.connect("pod-bbbb000000000001", "ada").await;
    b.enter(&moved, "r").await;
    a.shutdown.cancel();
    a.tracker.close();
    a.tracker.wait().await;
    // The room that it did not come back to shows when all is over.
    backend.is_vacated("left").await;
    something_else_is_told(&c, &backend, 1).await;
    assert_eq!(backend.log("r"), ["r room_occupied ", "r member_joined ada"]);
    b.leave(&moved, "r").await;
    backend.is_vacated("r").await;
    nothing_is_left(&redis).await;
}

#[tokio::test]
async fn rooms_of_a_cluster_that_is_gone_are_vacated_by_the_next_one() {
    let (redis, backend) = (RedisServer::start().await, TestBackend::start().await);
    let a = killable("pod-aaaa", &redis, &backend).await;
    let ada = a.pod.connect("pod-aaaa000000000001", "ada").await;
    a.pod.enter(&ada, "r").await;
    a.pod.enter(&ada, "hooked").await;
    backend.knows("r", &["ada"]).await;
    backend.knows("hooked", &["ada"]).await;
    a.kill();
    let b = up("pod-bbbb", &redis, &backend).await;
    let bob = b.connect("pod-bbbb000000000001", "bob").await;
    b.enter(&bob, "r").await;
    backend.knows("r", &["bob"]).await;
    backend.is_vacated("hooked").await;
    b.leave(&bob, "r").await;
    backend.is_vacated("r").await;
    nothing_is_left(&redis).await;
}

#[tokio::test]
async fn a_backend_that_was_away_gets_everything_in_order_with_the_same_ids() {
    let (redis, backend) = (RedisServer::start().await, TestBackend::start().await);
    let (a, b) = (up("pod-aaaa", &redis, &backend).await, up("pod-bbbb", &redis, &backend).await);
    know_each_other(&[&a, &b]).await;
    let bob = b.connect("pod-bbbb000000000001", "bob").await;
    b.enter(&bob, "r").await;
    backend.knows("r", &["bob"]).await;
    backend.set_down(true);
    let ada = a.connect("pod-aaaa000000000001", "ada").await;
    a.enter(&ada, "r").await;
    until("an event was sent", async || backend.attempted().len() > 2).await;
    let before = backend.attempted();
    // Another pod has to tell what happens now, and waits until the first one's events are accepted.
    a.leave(&ada, "r").await;
    let eve = b.connect("pod-bbbb000000000002", "eve").await;
    b.enter(&eve, "r").await;
    backend.set_down(false);
    backend.knows("r", &["bob", "eve"]).await;
    assert!(before.is_subset(&backend.accepted()), "each was repeated with its id");
    let told = backend.log("r");
    let at = |line: &str| told.iter().position(|told| *told == format!("r {line}")).unwrap();
    assert!(at("member_joined ada") < at("member_left ada"), "{told:?}");
    assert_eq!(a.metrics.backend.dropped_notifications.get(), 0);
}

#[tokio::test]
async fn the_documented_rights_are_enough() {
    let (redis, backend) = (RedisServer::start().await, TestBackend::start().await);
    let rights = documented_rights::with_bridge(&documented_rights::classic());
    let hooks = documented_rights::of_hooks();
    redis.order(&format!("ACL SETUSER rookery on >secret {rights} {hooks}")).await;
    let url = format!("redis://rookery:secret@{}", redis.address());
    let (a, b) = (telling("pod-aaaa", &url, &backend), telling("pod-bbbb", &url, &backend));
    a.is_up().await;
    b.is_up().await;
    know_each_other(&[&a, &b]).await;
    let ada = a.connect("pod-aaaa000000000001", "ada").await;
    let bob = b.connect("pod-bbbb000000000001", "bob").await;
    a.enter(&ada, "r").await;
    b.enter(&bob, "r").await;
    backend.knows("r", &["ada", "bob"]).await;
    a.leave(&ada, "r").await;
    b.leave(&bob, "r").await;
    backend.is_vacated("r").await;
    nothing_is_left(&redis).await;
    let errors = [&a, &b].map(|pod| pod.metrics.presence.redis_errors.get());
    assert_eq!(errors, [0, 0]);
}
