//! Publications whose recipients acknowledge them, on several pods.

use std::time::Duration;

use futures_util::future::join;
use rookery_protocol::Data;
use rookery_protocol::packet::PacketHead;
use rookery_server::message::PublishError;
use rookery_server::rooms::member::Member;

use super::know_each_other;
use super::pod::{Pod, publication};
use super::redis_server::RedisServer;

/// Long enough for everything that is awaited here.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for an event that asks for an acknowledgement, and gives its id.
async fn asked(member: &Member) -> u64 {
    let polled = member.outbox.poll(false).await.unwrap();
    let body = String::from_utf8(polled.body).unwrap();
    let packet = body.split('\u{1e}').next().unwrap().strip_prefix('4').unwrap();
    PacketHead::parse(packet).unwrap().id.expect("an id")
}

/// Waits for an event, and acknowledges it with a text.
async fn acknowledge(pod: &Pod, member: &Member, text: &str) {
    let id = asked(member).await;
    pod.broker.acknowledged(member, id, vec![text.into()], text.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_acknowledgements_of_all_pods_are_collected() {
    let redis = RedisServer::start().await;
    let (a, b) = (Pod::up("pod-aaaa", &redis).await, Pod::up("pod-bbbb", &redis).await);
    know_each_other(&[&a, &b]).await;
    let a1 = a.add("pod-aaaa000000000001", None, &["room"]).await;
    let b1 = b.add("pod-bbbb000000000001", None, &["room"]).await;
    let b2 = b.add("pod-bbbb000000000002", None, &["room"]).await;
    let stranger = b.add("pod-bbbb000000000003", None, &["elsewhere"]).await;
    let publish = a.broker.publish_with_acks(publication(&["room"], "ask"), PATIENCE);
    let acknowledge_all = async {
        acknowledge(&b, &b2, "b2").await;
        let id = asked(&a1).await;
        // Twice counts once.
        for text in ["a1", "again"] {
            a.broker.acknowledged(&a1, id, vec![text.into()], text.len());
        }
        acknowledge(&b, &b1, "b1").await;
    };
    let (receipt, ()) = join(publish, acknowledge_all).await;
    let receipt = receipt.unwrap();
    let mut acks: Vec<_> = receipt.acks.iter().filter_map(Data::as_str).collect();
    acks.sort_unstable();
    assert_eq!(acks, ["a1", "b1", "b2"]);
    assert_eq!((receipt.recipients, receipt.timed_out), (3, false));
    assert_eq!(stranger.outbox.queued_bytes(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recipient_that_is_silent_is_waited_for_no_longer_than_asked() {
    let redis = RedisServer::start().await;
    let (a, b) = (Pod::up("pod-aaaa", &redis).await, Pod::up("pod-bbbb", &redis).await);
    know_each_other(&[&a, &b]).await;
    let a1 = a.add("pod-aaaa000000000001", None, &["room"]).await;
    b.add("pod-bbbb000000000001", None, &["room"]).await;
    let patience = Duration::from_secs(1);
    let publish = a.broker.publish_with_acks(publication(&["room"], "ask"), patience);
    let (receipt, ()) = join(publish, acknowledge(&a, &a1, "a1")).await;
    let receipt = receipt.unwrap();
    assert_eq!(receipt.acks, [Data::from("a1")]);
    assert_eq!((receipt.recipients, receipt.timed_out), (2, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_recipients_nothing_is_waited_for() {
    let redis = RedisServer::start().await;
    let (a, b) = (Pod::up("pod-aaaa", &redis).await, Pod::up("pod-bbbb", &redis).await);
    know_each_other(&[&a, &b]).await;
    let receipt = a.broker.publish_with_acks(publication(&["empty"], "ask"), PATIENCE).await;
    let receipt = receipt.unwrap();
    assert_eq!((receipt.recipients, receipt.acks.len(), receipt.timed_out), (0, 0, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_publications_that_wait_are_refused() {
    let redis = RedisServer::start().await;
    let a = Pod::up("pod-aaaa", &redis).await;
    a.add("pod-aaaa000000000001", None, &["room"]).await;
    let publish = || a.broker.publish_with_acks(publication(&["room"], "ask"), PATIENCE);
    let mut waiting: Vec<_> = (0..1024).map(|_| Box::pin(publish())).collect();
    for publish in &mut waiting {
        assert!(futures_util::poll!(publish).is_pending());
    }
    assert_eq!(publish().await, Err(PublishError::TooManyAcks));
    waiting.pop();
    assert!(futures_util::poll!(Box::pin(publish())).is_pending());
}
