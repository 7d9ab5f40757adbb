//! Rankings of rooms over several pods.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rookery_server::message::{RoomKey, Scope};
use rookery_server::rooms::ranking::{RankedNamespaces, RoomRanking, RoomRankingQuery, SortBy};

use super::redis_server::RedisServer;
use super::{Pod, dead_peer, know_each_other, until};

fn by_members(limit: usize, scope: Scope) -> RoomRankingQuery {
    RoomRankingQuery {
        namespaces: RankedNamespaces::Named(vec!["/".into()]),
        sort: SortBy::Members,
        limit,
        scope,
    }
}

fn counts(answer: &RoomRanking) -> Vec<(&str, usize)> {
    answer.rooms.iter().map(|room| (&*room.key.room, room.members)).collect()
}

async fn two_pods(redis: &RedisServer) -> [Pod; 2] {
    let (a, b) = (Pod::up("pod-aaaa", redis).await, Pod::up("pod-bbbb", redis).await);
    know_each_other(&[&a, &b]).await;
    a.add("pod-aaaa000000000001", None, &["x", "y"]).await;
    b.add("pod-bbbb000000000001", None, &["x", "z"]).await;
    b.add("pod-bbbb000000000002", None, &["x", "z"]).await;
    [a, b]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_are_ranked_over_all_pods() {
    let redis = RedisServer::start().await;
    let [a, b] = two_pods(&redis).await;
    for pod in [&a, &b] {
        let answer = pod.broker.rank_rooms(&by_members(10, Scope::Cluster)).await;
        assert_eq!(counts(&answer), [("x", 3), ("z", 2), ("y", 1)]);
        assert_eq!((answer.pods, answer.unanswered.len()), (2, 0));
        let answer = pod.broker.rank_rooms(&by_members(1, Scope::Cluster)).await;
        assert_eq!(counts(&answer), [("x", 3)]);
    }
    let answer = a.broker.rank_rooms(&by_members(10, Scope::Local)).await;
    assert_eq!(counts(&answer), [("x", 1), ("y", 1)]);
    let by_rate = RoomRankingQuery { sort: SortBy::Rate, ..by_members(10, Scope::Cluster) };
    assert!(a.broker.rank_rooms(&by_rate).await.rooms.is_empty(), "nothing was delivered");
    let key = RoomKey::new("/", "z");
    assert_eq!(counts(&a.broker.room_figures(&key, Scope::Cluster).await), [("z", 2)]);
    assert_eq!(counts(&a.broker.room_figures(&key, Scope::Local).await), [("z", 0)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shards_are_not_asked_for_their_fullest_rooms_each_time() {
    let redis = RedisServer::start().await;
    let a = Pod::up("pod-aaaa", &redis).await;
    a.add("pod-aaaa000000000001", None, &["x"]).await;
    // Each ranking also asks how many members the rooms that it found have.
    let asked = || a.shard.queries.load(Ordering::Relaxed);
    let first = async |namespace: &str, limit| {
        let query = RoomRankingQuery {
            namespaces: RankedNamespaces::Named(vec![namespace.into()]),
            ..by_members(limit, Scope::Local)
        };
        a.broker.rank_rooms(&query).await.rooms.len()
    };
    let start = asked();
    for limit in 1..100 {
        assert_eq!(first("/", limit).await, 1);
    }
    let before = asked();
    let fullest = before - start - 99;
    assert!((1..99).contains(&fullest), "{fullest}");
    first("/admin", 10).await;
    assert_eq!(asked(), before + 1, "other namespaces have other rooms");
    a.add("pod-aaaa000000000002", None, &["y"]).await;
    until("the new room is found", async || first("/", 10).await == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_ranking_waits_for_the_other_as_long_as_its_question_may_take() {
    let redis = RedisServer::start().await;
    let a = Pod::up("pod-aaaa", &redis).await;
    a.add("pod-aaaa000000000001", None, &["x"]).await;
    a.shard.is_stuck.store(true, Ordering::Relaxed);
    let broker = a.broker.clone().with_query_deadline(Duration::from_secs(1));
    let query = by_members(10, Scope::Local);
    let answers = tokio::join!(broker.rank_rooms(&query), broker.rank_rooms(&query));
    for answer in [answers.0, answers.1] {
        assert_eq!((answer.unanswered, answer.rooms.len()), (vec!["pod-aaaa".to_owned()], 0));
    }
    a.shard.is_stuck.store(false, Ordering::Relaxed);
    let answer = a.broker.rank_rooms(&query).await;
    assert_eq!((answer.unanswered.len(), counts(&answer)), (0, vec![("x", 1)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_does_not_answer_is_named_and_the_others_are_heard() {
    let redis = RedisServer::start().await;
    let [a, _b] = two_pods(&redis).await;
    // As silent as an older version, to which these questions mean nothing.
    let dead = dead_peer(&redis, "pod-dead").await;
    until("the dead peer is known", async || a.backplane.peers().len() == 2).await;
    let broker = a.broker.clone().with_query_deadline(Duration::from_secs(2));
    let answer = broker.rank_rooms(&by_members(10, Scope::Cluster)).await;
    assert_eq!(answer.unanswered, ["pod-dead"]);
    assert_eq!(counts(&answer), [("x", 3), ("z", 2), ("y", 1)]);
    assert!(broker.rank_rooms(&by_members(10, Scope::Local)).await.unanswered.is_empty());
    drop(dead);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_what_is_here_is_the_answer() {
    let mut redis = RedisServer::start().await;
    let [a, _b] = two_pods(&redis).await;
    redis.kill();
    until("the loss is noticed", async || !a.backplane.is_up()).await;
    let answer = a.broker.rank_rooms(&by_members(10, Scope::Cluster)).await;
    assert_eq!(answer.unanswered, ["redis"]);
    assert_eq!(counts(&answer), [("x", 1), ("y", 1)]);
}
