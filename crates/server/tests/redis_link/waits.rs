//! Rankings of rooms over several pods.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rookery_server::message::Scope;
use rookery_server::rooms::ranking::{Place, SortBy, WaitsAnswer, WaitsQuery};

use super::server::Server;
use super::{Pod, dead_peer, know_each_other, until};

fn by_members(limit: usize, scope: Scope) -> WaitsQuery {
    WaitsQuery { namespaces: vec!["/".into()], sort: SortBy::Members, limit, scope }
}

fn counts(answer: &WaitsAnswer) -> Vec<(&str, usize)> {
    answer.rooms.iter().map(|room| (&*room.place.room, room.members)).collect()
}

async fn two_pods(server: &Server) -> [Pod; 2] {
    let (a, b) = (Pod::up("pod-aaaa", server).await, Pod::up("pod-bbbb", server).await);
    know_each_other(&[&a, &b]).await;
    a.members.add("pod-aaaa000000000001", None, &["x", "y"]);
    b.members.add("pod-bbbb000000000001", None, &["x", "z"]);
    b.members.add("pod-bbbb000000000002", None, &["x", "z"]);
    [a, b]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_are_ranked_over_all_pods() {
    let server = Server::start().await;
    let [a, b] = two_pods(&server).await;
    for pod in [&a, &b] {
        let answer = pod.cluster.busiest(&by_members(10, Scope::Cluster)).await;
        assert_eq!(counts(&answer), [("x", 3), ("z", 2), ("y", 1)]);
        assert_eq!((answer.pods, answer.unanswered.len()), (2, 0));
        let answer = pod.cluster.busiest(&by_members(1, Scope::Cluster)).await;
        assert_eq!(counts(&answer), [("x", 3)]);
    }
    let answer = a.cluster.busiest(&by_members(10, Scope::Local)).await;
    assert_eq!(counts(&answer), [("x", 1), ("y", 1)]);
    let by_rate = WaitsQuery { sort: SortBy::Rate, ..by_members(10, Scope::Cluster) };
    assert!(a.cluster.busiest(&by_rate).await.rooms.is_empty(), "nothing was delivered");
    let place = Place { namespace: "/".into(), room: "z".into() };
    assert_eq!(counts(&a.cluster.waits(&place, Scope::Cluster).await), [("z", 2)]);
    assert_eq!(counts(&a.cluster.waits(&place, Scope::Local).await), [("z", 0)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shards_are_not_asked_for_their_fullest_rooms_each_time() {
    let server = Server::start().await;
    let a = Pod::up("pod-aaaa", &server).await;
    a.members.add("pod-aaaa000000000001", None, &["x"]);
    let asked = || a.members.asked.load(Ordering::Relaxed);
    let first = async |namespace: &str, limit| {
        let query =
            WaitsQuery { namespaces: vec![namespace.into()], ..by_members(limit, Scope::Local) };
        a.cluster.busiest(&query).await.rooms.len()
    };
    for limit in 1..100 {
        assert_eq!(first("/", limit).await, 1);
    }
    let before = asked();
    assert!((1..99).contains(&before), "{before}");
    first("/admin", 10).await;
    assert_eq!(asked(), before + 1, "other namespaces have other rooms");
    a.members.add("pod-aaaa000000000002", None, &["y"]);
    until("the new room is found", async || first("/", 10).await == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_ranking_waits_for_the_other_as_long_as_its_question_may_take() {
    let server = Server::start().await;
    let a = Pod::up("pod-aaaa", &server).await;
    a.members.add("pod-aaaa000000000001", None, &["x"]);
    a.members.stuck.store(true, Ordering::Relaxed);
    let cluster = a.cluster.clone().with_deadline(Duration::from_secs(1));
    let query = by_members(10, Scope::Local);
    let answers = tokio::join!(cluster.busiest(&query), cluster.busiest(&query));
    for answer in [answers.0, answers.1] {
        assert_eq!((answer.unanswered, answer.rooms.len()), (vec!["pod-aaaa".to_owned()], 0));
    }
    a.members.stuck.store(false, Ordering::Relaxed);
    let answer = a.cluster.busiest(&query).await;
    assert_eq!((answer.unanswered.len(), counts(&answer)), (0, vec![("x", 1)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_does_not_answer_is_named_and_the_others_are_heard() {
    let server = Server::start().await;
    let [a, _b] = two_pods(&server).await;
    // As silent as an older version, to which these questions mean nothing.
    let dead = dead_peer(&server, "pod-dead").await;
    until("the dead peer is known", async || a.link.peers().len() == 2).await;
    let cluster = a.cluster.clone().with_deadline(Duration::from_secs(2));
    let answer = cluster.busiest(&by_members(10, Scope::Cluster)).await;
    assert_eq!(answer.unanswered, ["pod-dead"]);
    assert_eq!(counts(&answer), [("x", 3), ("z", 2), ("y", 1)]);
    assert!(cluster.busiest(&by_members(10, Scope::Local)).await.unanswered.is_empty());
    drop(dead);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_what_is_here_is_the_answer() {
    let mut server = Server::start().await;
    let [a, _b] = two_pods(&server).await;
    server.kill();
    until("the loss is noticed", async || !a.link.is_up()).await;
    let answer = a.cluster.busiest(&by_members(10, Scope::Cluster)).await;
    assert_eq!(answer.unanswered, ["redis"]);
    assert_eq!(counts(&answer), [("x", 1), ("y", 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_pod_does_not_understand_is_not_answered() {
    let server = Server::start().await;
    let a = Pod::up("pod-aaaa", &server).await;
    for ask in [r#"{"later":1}"#, r#"{"first":[["/"],"age",5]}"#] {
        let dropped = a.metrics.redis_dropped.get();
        let question =
            format!(r#"{{"kind":"question","pod":"pod-bbbb","id":1,"namespace":"/","ask":{ask}}}"#);
        let publish = redis::cmd("PUBLISH").arg("socket.io-rookery#").arg(question).to_owned();
        publish.query_async::<()>(&mut server.connection().await).await.unwrap();
        until("it is counted", async || a.metrics.redis_dropped.get() == dropped + 1).await;
    }
    assert!(a.link.is_up());
}
