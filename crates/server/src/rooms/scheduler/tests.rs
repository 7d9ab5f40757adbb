//! Which publications share a batch.

use std::sync::Arc;
use std::time::Instant;

use rookery_protocol::Room;

use super::*;
use crate::message::{Publication, Source};
use crate::rooms::encoded_publication::EncodedPublication;
use crate::rooms::member::Member;
use crate::rooms::testing::{context, member};
use crate::telemetry::latency::DeliveryRecorder;

/// Three members, all in `room`; the first is in `other` too.
fn membership() -> (Membership, Vec<Arc<Member>>) {
    let context = context(&DeliveryRecorder::for_test());
    let mut membership = Membership::default();
    let members: Vec<_> = (0..3).map(|n| member(&format!("pod-test{n:012}"), &context)).collect();
    for member in &members {
        membership.add(member.clone());
        membership.join(member, &["room".into()], 10).unwrap();
    }
    membership.join(&members[0], &["other".into()], 10).unwrap();
    (membership, members)
}

fn arrival(membership: &Membership, except: &[&str]) -> Arrival {
    let except: Vec<Room> = except.iter().map(|room| Room::from(*room)).collect();
    let exclusion = membership.exclusion("/", &except);
    let publication = Publication {
        id: "id".into(),
        namespace: "/".into(),
        rooms: ["room".into()].into(),
        except: except.into(),
        event: "n".to_owned(),
        args: Default::default(),
        volatile: false,
        compress: true,
        source: Source::Client,
        address: None,
        accepted: Instant::now(),
        traceparent: None,
    };
    let publication =
        Arc::new(EncodedPublication::new(publication, None, |_| "default".into(), None));
    Arrival { publication, count: None, exclusion }
}

#[tokio::test]
async fn publications_that_leave_out_their_senders_are_joined_into_one_batch() {
    let (membership, members) = membership();
    let mut scheduler = BatchScheduler::default();
    for except in [&[&*members[0].id][..], &[&*members[1].id], &[], &["of-another-pod-00001"]] {
        scheduler.collect(arrival(&membership, except));
    }
    scheduler.begin_ready(&membership);
    let mut batch = scheduler.take_next().expect("a batch");
    assert!(scheduler.take_next().is_none(), "all of them share it");
    assert_eq!(batch.publication_count(), 4);
    let list = batch.recipients().list().clone();
    let packets: Vec<(u64, usize)> = (0..list.len())
        .map(|at| (list[at].member.key, batch.packets(at).map_or(0, |p| p.packets().len())))
        .collect();
    let due = [(members[0].key, 3), (members[1].key, 3), (members[2].key, 4)];
    assert_eq!(packets, due, "each sender gets all but its own");
}

#[tokio::test]
async fn a_publication_that_leaves_out_a_room_has_a_batch_of_its_own() {
    let (membership, _) = membership();
    let mut scheduler = BatchScheduler::default();
    for except in [&[][..], &["other"], &[]] {
        scheduler.collect(arrival(&membership, except));
    }
    let mut recipients = Vec::new();
    loop {
        scheduler.begin_ready(&membership);
        let Some(mut batch) = scheduler.take_next() else { break };
        recipients.push((batch.publication_count(), batch.recipients().len()));
        batch.set_served(batch.recipients().len());
        scheduler.put_back(batch);
    }
    assert_eq!(recipients, [(1, 3), (1, 2), (1, 3)]);
    assert_eq!(scheduler.backlog(), 0);
}
