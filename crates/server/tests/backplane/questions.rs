//! Questions and orders to the members of all pods.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use rookery_protocol::Room;
use rookery_server::message::{Scope, Selector};
use rookery_server::rooms::ranking::{RankedNamespaces, RoomRankingQuery, SortBy};

use super::pod::Pod;
use super::redis_server::RedisServer;
use super::{dead_peer, know_each_other, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_reach_all_pods() {
    let redis = RedisServer::start().await;
    let (a, b) = (Pod::up("pod-aaaa", &redis).await, Pod::up("pod-bbbb", &redis).await);
    know_each_other(&[&a, &b]).await;
    a.add("pod-aaaa000000000001", Some("ann"), &["x:1", "y:1"]).await;
    b.add("pod-bbbb000000000001", Some("ann"), &["x:1"]).await;
    b.add("pod-bbbb000000000002", Some("bob"), &["x:2"]).await;

    let rooms = a.broker.rooms("/", "x:").await;
    let counts: Vec<_> = rooms.rooms.iter().map(|(room, n)| (&**room, *n)).collect();
    assert_eq!(counts, [("x:1", 2), ("x:2", 1)]);
    assert!(rooms.unanswered.is_empty());

    let mut members = b.broker.members("/", "x:1").await.members;
    members.sort_by(|x, y| x.id.cmp(&y.id));
    let named: Vec<_> = members.iter().map(|m| (m.id.as_str(), &m.id[..8])).collect();
    assert_eq!(named, [("pod-aaaa000000000001", "pod-aaaa"), ("pod-bbbb000000000001", "pod-bbbb")]);
    assert_eq!(members[0].user.as_deref(), Some("ann"));
    assert!(members[0].connected_at.is_some());

    let new = [Room::from("new")];
    let ann = Selector::User("ann".into());
    assert_eq!(a.broker.join_selected("/", &ann, &new).await.matched, 2);
    assert_eq!(b.rooms_of("pod-bbbb000000000001").await.unwrap(), ["x:1", "new"]);
    let left =
        a.broker.leave_selected("/", &Selector::Member("pod-bbbb000000000001".into()), &new).await;
    assert_eq!((left.matched, left.unanswered.len()), (1, 0));
    assert_eq!(b.rooms_of("pod-bbbb000000000001").await.unwrap(), ["x:1"]);
    assert_eq!(a.broker.disconnect_selected("/", &Selector::room("x:1"), true).await.matched, 2);
    assert_eq!(
        a.broker.disconnect_selected("/", &Selector::User("nobody".into()), true).await.matched,
        0
    );
    assert_eq!(b.rooms_of("pod-bbbb000000000001").await, None);
    assert!(b.rooms_of("pod-bbbb000000000002").await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_peer_is_named_at_the_deadline_and_then_forgotten() {
    let redis = RedisServer::start().await;
    let (a, b) = (Pod::up("pod-aaaa", &redis).await, Pod::up("pod-bbbb", &redis).await);
    b.add("pod-bbbb000000000001", None, &["x"]).await;
    know_each_other(&[&a, &b]).await;
    let dead = dead_peer(&redis, "pod-dead").await;
    until("the dead peer is known", async || a.backplane.peers().len() == 2).await;
    let deadline = Duration::from_millis(600);
    let broker = a.broker.clone().with_query_deadline(deadline);
    let asked = Instant::now();
    let members = broker.members("/", "x").await;
    assert!(asked.elapsed() >= deadline);
    assert_eq!(members.unanswered, ["pod-dead"]);
    assert_eq!(members.members.len(), 1);
    until("it is forgotten", async || a.backplane.peers() == ["pod-bbbb"]).await;
    assert!(a.broker.members("/", "x").await.unanswered.is_empty());
    drop(dead);
}

/// How many messages these pods sent to Redis besides heartbeats and publications.
fn messages_out(pods: &[Pod]) -> u64 {
    pods.iter().map(Pod::messages_out).sum()
}

/// What a question costs these pods in messages, once all of them are counted.
async fn cost(pods: &[Pod], messages: u64, ask: impl Future<Output = ()>) {
    let before = messages_out(pods);
    ask.await;
    until("the answers are counted", async || messages_out(pods) >= before + messages).await;
    // Whatever else a question causes comes before the answer to the next one.
    soon(pods[1].broker.rooms("/", "nothing")).await;
    let next = pods.len() as u64;
    until("the next one is counted", async || messages_out(pods) >= before + messages + next).await;
    assert_eq!(messages_out(pods), before + messages + next);
}

async fn soon<T>(question: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, question).await.expect("the deadline is not waited for")
}

/// Far above what an answer takes, and far below the deadline of the questions below.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_fifty_instances_a_question_is_one_message_and_each_answer_one_more() {
    const PODS: usize = 50;
    let redis = RedisServer::start().await;
    let mut pods = Vec::new();
    for n in 0..PODS {
        let pod = Pod::up(&format!("pod-{n:04}"), &redis).await;
        pod.add(&member(n), Some("ann"), &["room"]).await;
        pods.push(pod);
    }
    know_each_other(&pods.iter().collect::<Vec<_>>()).await;
    let broker = pods[0].broker.clone().with_query_deadline(Duration::from_secs(3600));

    cost(&pods, PODS as u64, async {
        let members = soon(broker.members("/", "room")).await;
        assert_eq!((members.members.len(), members.unanswered.len()), (PODS, 0));
    })
    .await;
    cost(&pods, PODS as u64, async {
        let ann = Selector::User("ann".into());
        let joined = soon(broker.join_selected("/", &ann, &["new".into()])).await;
        assert_eq!((joined.matched, joined.unanswered.len()), (PODS, 0));
    })
    .await;
    // Only the instance of a member is asked for it.
    cost(&pods, 2, async {
        let one = Selector::Member(member(7).as_str().into());
        let left = soon(broker.leave_selected("/", &one, &["new".into()])).await;
        assert_eq!((left.matched, left.unanswered.len()), (1, 0));
    })
    .await;
    cost(&pods, 2, async {
        let one = Selector::Member(member(7).as_str().into());
        let gone = soon(broker.disconnect_selected("/", &one, true)).await;
        assert_eq!((gone.matched, gone.unanswered.len()), (1, 0));
    })
    .await;

    // One that said goodbye is neither asked nor named.
    let last = pods.pop().unwrap();
    last.shutdown.cancel();
    last.tracker.close();
    last.tracker.wait().await;
    let is_known = async || pods[0].backplane.peers().len() == PODS - 2;
    until("the goodbye is heard", is_known).await;
    let members = soon(broker.members("/", "room")).await;
    assert_eq!((members.members.len(), members.unanswered.len()), (PODS - 2, 0));
}

fn member(n: usize) -> String {
    format!("pod-{n:04}000000000001")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_whose_connection_is_gone_is_named_without_waiting_for_it() {
    let redis = RedisServer::start().await;
    let (a, b) = (Pod::up("pod-aaaa", &redis).await, Pod::up("pod-bbbb", &redis).await);
    know_each_other(&[&a, &b]).await;
    b.add("pod-bbbb000000000001", None, &["x"]).await;
    drop(dead_peer(&redis, "pod-dead").await);
    until("the dead peer is known", async || a.backplane.peers().len() == 2).await;
    let count = redis::cmd("PUBSUB").arg("NUMSUB").arg("socket.io-rookery#").to_owned();
    until("Redis knows that it is gone", async || {
        let counted = count.query_async::<(String, usize)>(&mut redis.connection().await).await;
        counted.unwrap().1 == 2
    })
    .await;
    let broker = a.broker.clone().with_query_deadline(Duration::from_secs(3600));
    let members = soon(broker.members("/", "x")).await;
    assert_eq!((members.members.len(), members.unanswered), (1, vec!["pod-dead".to_owned()]));
    let of_the_dead = Selector::Member("pod-dead000000000001".into());
    let matched = broker.disconnect_selected("/", &of_the_dead, true);
    let matched = soon(matched).await;
    assert_eq!((matched.matched, matched.unanswered), (0, vec!["pod-dead".to_owned()]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_a_pod_does_not_know_is_answered_at_once() {
    let redis = RedisServer::start().await;
    let a = Pod::up("pod-aaaa", &redis).await;
    let client = redis::Client::open(redis.url()).unwrap();
    let (mut sink, mut answers) = client.get_async_pubsub().await.unwrap().split();
    sink.subscribe("socket.io-rookery#pod-bbbb#").await.unwrap();
    for ask in [r#"{"later":1}"#, r#"{"first":{"namespaces":["/"],"sort":"age","limit":5}}"#] {
        let question =
            format!(r#"{{"kind":"question","pod":"pod-bbbb","id":1,"namespace":"/","ask":{ask}}}"#);
        redis.publish("socket.io-rookery#", question.as_bytes()).await;
        let answer = tokio::time::timeout(Duration::from_secs(30), answers.next()).await;
        let answer = answer.unwrap_or_else(|_| panic!("no answer to {ask}")).unwrap();
        let answer: serde_json::Value = serde_json::from_slice(answer.get_payload_bytes()).unwrap();
        assert_eq!((&answer["kind"], &answer["id"]), (&"answer".into(), &1.into()));
        assert_eq!((&answer["pod"], &answer["answer"]), (&"pod-aaaa".into(), &"unknown".into()));
    }
    assert!(a.backplane.is_up());
    assert_eq!(a.metrics.redis_dropped.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_does_not_know_a_question_is_named_without_waiting_for_it() {
    let redis = RedisServer::start().await;
    let a = Pod::up("pod-aaaa", &redis).await;
    let listening = dead_peer(&redis, "pod-bbbb").await;
    until("the peer is known", async || a.backplane.peers().len() == 1).await;
    let (connection, mut questions) = (redis.connection().await, listening.into_on_message());
    let answering = tokio::spawn(async move {
        while let Some(message) = questions.next().await {
            let message: serde_json::Value =
                serde_json::from_slice(message.get_payload_bytes()).unwrap_or_default();
            if message["kind"] == "question" {
                let answer = serde_json::json!({
                    "v": 1, "kind": "answer", "pod": "pod-bbbb", "id": message["id"],
                    "answer": "unknown",
                });
                let channel = "socket.io-rookery#pod-aaaa#";
                let publish = redis::cmd("PUBLISH").arg(channel).arg(answer.to_string()).to_owned();
                publish.query_async::<()>(&mut connection.clone()).await.unwrap();
            }
        }
    });
    let broker = a.broker.clone().with_query_deadline(Duration::from_secs(3600));
    let members = tokio::time::timeout(Duration::from_secs(30), broker.members("/", "x")).await;
    assert_eq!(members.expect("the deadline is not waited for").unanswered, ["pod-bbbb"]);
    let query = RoomRankingQuery {
        namespaces: RankedNamespaces::Named(vec!["/".into()]),
        sort: SortBy::Members,
        limit: 10,
        scope: Scope::Cluster,
    };
    let ranking = tokio::time::timeout(Duration::from_secs(30), broker.rank_rooms(&query)).await;
    assert_eq!(ranking.expect("the deadline is not waited for").unanswered, ["pod-bbbb"]);
    answering.abort();
}
