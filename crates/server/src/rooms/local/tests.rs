//! Full shards.

use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use rookery_protocol::Data;

use super::*;
use crate::message::Source;
use crate::rooms::shard::ShardRooms;
use crate::rooms::testing::{context, member};
use crate::telemetry::latency::DeliveryRecorder;
use crate::telemetry::metrics::Metrics;
use tokio::sync::mpsc;

/// Two shards with a member of `room` each, whose queues take one command and are read by nobody.
pub(crate) fn two_full_shards() -> (LocalRooms, Vec<mpsc::Receiver<ShardCommand>>) {
    let metrics = Arc::new(Metrics::new().unwrap());
    let index = Arc::new(RoomIndex::new(2, "pod-test".into(), metrics));
    let context = context(&DeliveryRecorder::for_test());
    for shard in 0..2 {
        let mut rooms = ShardRooms::new(shard, index.clone(), Arc::new(AtomicUsize::new(10)));
        let member = member(&format!("pod-test{shard:012}"), &context);
        rooms.add(member.clone());
        rooms.join(&member, &["room".into()], &mut []);
    }
    let (shards, queues): (Vec<_>, _) = (0..2).map(|_| mpsc::channel(1)).unzip();
    let shards = shards.into_iter().map(ShardQueue::from).collect();
    let classify: Classify = Arc::new(|_| "default".into());
    let presence = PresenceRegistry::new(Default::default());
    let tracer = Tracer::off();
    let parts = LocalRoomsParts { shards, index, interests: None, presence, classify, tracer };
    (LocalRooms::new(parts), queues)
}

/// A publication to `room`.
pub(crate) fn publication() -> Publication {
    Publication {
        id: "id".into(),
        namespace: "/".into(),
        rooms: ["room".into()].into(),
        except: Default::default(),
        event: "n".to_owned(),
        args: [Data::from("x")].into(),
        volatile: false,
        compress: true,
        source: Source::Api,
        address: None,
        accepted: Instant::now(),
        traceparent: None,
    }
}

fn fill(rooms: &LocalRooms, shard: usize) {
    let query = ShardCommand::Query(Box::new(|_| {}));
    assert!(rooms.parts.shards[shard].try_send(query).is_ok());
}

#[tokio::test]
async fn a_full_shard_does_not_lose_the_messages_of_another() {
    let (rooms, mut queues) = two_full_shards();
    assert!(rooms.try_deliver(publication(), None));
    assert!(queues.iter_mut().all(|queue| queue.try_recv().is_ok()));
    fill(&rooms, 0);
    assert!(!rooms.try_deliver(publication(), None), "one shard did not get it");
    assert!(matches!(queues[1].try_recv(), Ok(ShardCommand::Publish(..))));
}

#[tokio::test]
async fn a_reservation_is_for_all_shards_or_for_none() {
    let (rooms, mut queues) = two_full_shards();
    fill(&rooms, 1);
    assert!(rooms.try_reserve(&publication()).is_none());
    fill(&rooms, 0);
    let _ = (queues[0].try_recv(), queues[1].try_recv());
    let reservation = rooms.try_reserve(&publication()).expect("both queues have room");
    drop(reservation);
    assert!(queues.iter_mut().all(|queue| queue.try_recv().is_err()), "nothing was delivered");
    let reservation = rooms.reserve(&publication()).await;
    drop(rooms.deliver(reservation, publication(), false));
    assert!(
        queues.iter_mut().all(|queue| matches!(queue.try_recv(), Ok(ShardCommand::Publish(..))))
    );
}
