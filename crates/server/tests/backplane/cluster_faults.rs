//! Faults of a real Redis Cluster, in traffic.

use std::time::Duration;

use rookery_config::Wire;

use super::cluster_servers::RedisCluster;
use super::pair::Pair;
use super::until;

const CHANNEL: &str = "socket.io#/#room#";

/// What happens to a primary.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    Killed,
    /// It hangs, and goes on after its replica has taken over.
    Frozen,
}

/// Lets the primary that owns the room's channel fail, in traffic: its replica takes over.
async fn fail_over(mut cluster: RedisCluster, fault: Fault) {
    let mut pair = Pair::with(cluster.config()).await;
    let _rooms = (pair.a.subscribe("room").await, pair.b.subscribe("room").await);
    pair.hear_each_other().await;
    let before = cluster.owner(CHANNEL).await;
    match fault {
        Fault::Killed => cluster.servers[before].process.kill(),
        Fault::Frozen => cluster.servers[before].process.signal("STOP"),
    }
    let (cluster, other) = (&cluster, (before + 1) % cluster.servers.len());
    pair.publish_until("the replica takes over", async |_| {
        cluster.owner_by(other, CHANNEL).await != before
    })
    .await;
    if fault == Fault::Frozen {
        cluster.servers[before].process.signal("CONT");
    }
    pair.publish_until("both pods are up", async |pair| {
        pair.a.backplane.is_up() && pair.b.backplane.is_up()
    })
    .await;
    pair.hear_each_other().await;
    pair.every_loss_is_counted();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_killed_is_left_on_the_classic_wire() {
    fail_over(RedisCluster::start(Wire::Classic).await, Fault::Killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_hangs_is_left_on_either_wire() {
    for wire in [Wire::Classic, Wire::Sharded] {
        fail_over(RedisCluster::start(wire).await, Fault::Frozen).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_killed_is_left_for_its_replica_on_the_sharded_wire() {
    fail_over(RedisCluster::start(Wire::Sharded).await, Fault::Killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_with_the_documented_rights_follow_a_failover_by_tls() {
    fail_over(RedisCluster::secured(Wire::Sharded).await, Fault::Killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_at_other_primaries_crosses_while_one_is_away() {
    let mut cluster = RedisCluster::start(Wire::Sharded).await;
    let mut pair = Pair::with(cluster.config()).await;
    let _room = (pair.a.subscribe("room").await, pair.b.subscribe("room").await);
    // Replicas are not needed, but nobody takes over.
    for replica in &mut cluster.servers[3..] {
        replica.process.kill();
    }
    pair.hear_each_other().await;
    assert_eq!(pair.a.metrics.redis_reconnects.get() + pair.b.metrics.redis_reconnects.get(), 0);
    let mut rooms = Vec::new();
    for n in 0.. {
        let room = format!("room {n}");
        if cluster.owner(&format!("socket.io#/#{room}#")).await == rooms.len() {
            rooms.push(room);
        }
        if rooms.len() == 3 {
            break;
        }
    }
    let mut held = Vec::new();
    for room in &rooms {
        held.push(pair.b.subscribe(room).await);
    }
    cluster.servers[0].process.kill();
    until("the loss is noticed", async || !pair.a.publish(&[&rooms[0]], "lost")).await;
    until("it is not up", async || !pair.a.backplane.is_up() && !pair.b.backplane.is_up()).await;
    for room in &rooms[1..] {
        assert!(pair.a.publish(&[room], room));
        pair.b.gets(room).await;
    }
    let unsent = pair.a.metrics.redis_unsent.get();
    assert!(!pair.a.publish(&[&rooms[0]], "lost"));
    assert_eq!(pair.a.metrics.redis_unsent.get(), unsent + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_in_traffic_takes_its_channel_along() {
    let cluster = RedisCluster::start(Wire::Sharded).await;
    let mut pair = Pair::with(cluster.config()).await;
    let _rooms = (pair.a.subscribe("room").await, pair.b.subscribe("room").await);
    pair.hear_each_other().await;
    let before = cluster.owner(CHANNEL).await;
    for step in 1..=6 {
        let next = (before + step) % 3;
        let cluster = &cluster;
        let (moved, done) = tokio::sync::watch::channel(false);
        let moving = async {
            cluster.move_slot(CHANNEL, next).await;
            moved.send_replace(true);
        };
        let traffic = pair.publish_until("the slot has moved", async |_| *done.borrow());
        tokio::join!(moving, traffic);
        pair.publish_until("both are subscribed at the new owner", async |_| {
            let count = ["PUBSUB", "SHARDNUMSUB", CHANNEL];
            let port = cluster.servers[next].port;
            let subscribers: Option<(String, usize)> = cluster.order(port, &count).await;
            subscribers.is_some_and(|(_, count)| count == 2)
        })
        .await;
        pair.hear_each_other().await;
    }
    pair.every_loss_is_counted();
    let reconnects = pair.a.metrics.redis_reconnects.get() + pair.b.metrics.redis_reconnects.get();
    assert_eq!(reconnects, 0, "no connection is given up for a slot that moves");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_slots_that_move_leave_no_room_behind() {
    let cluster = RedisCluster::start(Wire::Sharded).await;
    let pair = Pair::with(cluster.config()).await;
    let rooms: Vec<String> = (0..40).map(|n| format!("room {n}")).collect();
    let _held = futures_util::future::join_all(rooms.iter().map(|r| pair.b.subscribe(r))).await;
    for room in &rooms {
        let channel = format!("socket.io#/#{room}#");
        let next = (cluster.owner(&channel).await + 1) % 3;
        cluster.move_slot(&channel, next).await;
    }
    // What was published while a slot moved may be lost, and what is published later is not.
    for room in &rooms {
        until("the room is heard", async || {
            pair.a.publish(&[room], room);
            tokio::time::sleep(Duration::from_millis(5)).await;
            pair.b.events().contains(room)
        })
        .await;
    }
    let (gaps, unsent) = (pair.b.metrics.redis_gaps.get(), pair.a.metrics.redis_unsent.get());
    for room in &rooms {
        assert!(pair.a.publish(&[room], &format!("{room} last")));
    }
    for room in &rooms {
        pair.b.gets(&format!("{room} last")).await;
    }
    assert_eq!(pair.b.metrics.redis_gaps.get(), gaps);
    assert_eq!(pair.a.metrics.redis_unsent.get(), unsent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_added_is_used_and_left_once_it_owns_nothing() {
    let mut cluster = RedisCluster::start(Wire::Sharded).await;
    let mut pair = Pair::with(cluster.config()).await;
    let _rooms = (pair.a.subscribe("room").await, pair.b.subscribe("room").await);
    pair.hear_each_other().await;
    let (before, added) = (cluster.owner(CHANNEL).await, cluster.add_server().await);
    let port = cluster.servers[added].port;
    for (next, expected) in [(added, 2), (before, 0)] {
        cluster.move_slot(CHANNEL, next).await;
        let cluster = &cluster;
        pair.publish_until("who subscribes at the new primary", async |_| {
            let list = ["CLIENT", "LIST", "TYPE", "PUBSUB"];
            let clients: Option<String> = cluster.order(port, &list).await;
            clients.is_some_and(|clients| clients.lines().count() == expected)
        })
        .await;
        pair.hear_each_other().await;
    }
    pair.every_loss_is_counted();
}
