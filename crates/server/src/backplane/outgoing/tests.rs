use rookery_protocol::Data;
use smallvec::smallvec;

use super::*;
use crate::message::{AddressKey, MemberId};

fn publication(client: &str) -> Publication {
    let (member, args) = (MemberId::from(client), smallvec![Data::from("x")]);
    Publication::of_client(&member, "/".into(), "room".into(), "event".into(), args, false)
}

fn publish(queue: &Outgoing, client: &str, bytes: usize) -> Result<(), NotQueued> {
    queue.push_publication(&publication(client), String::new(), vec![0; bytes])
}

fn publish_at(
    queue: &Outgoing,
    address: [u8; 4],
    client: &str,
    bytes: usize,
) -> Result<(), NotQueued> {
    let address = Some(AddressKey::of(address.into(), 64));
    let publication = Publication { address, ..publication(client) };
    queue.push_publication(&publication, String::new(), vec![0; bytes])
}

/// Takes out everything; gives how many messages there were.
fn drain(queue: &Outgoing, receiver: &mut OutgoingReceiver) -> usize {
    let messages: Vec<_> = std::iter::from_fn(|| receiver.try_recv()).collect();
    messages.iter().filter(|message| queue.taken(message)).count()
}

#[test]
fn nothing_is_accepted_without_a_link_nor_sent_by_the_next_one() {
    let (queue, mut receiver) = Outgoing::new();
    assert_eq!(publish(&queue, "a", 1), Err(NotQueued::Closed));
    queue.open();
    assert_eq!(publish(&queue, "a", 1), Ok(()));
    queue.close();
    assert_eq!(publish(&queue, "a", 1), Err(NotQueued::Closed));
    queue.open();
    assert_eq!(publish(&queue, "a", 1), Ok(()));
    assert!(!queue.taken(&receiver.try_recv().unwrap()));
    assert!(queue.taken(&receiver.try_recv().unwrap()));
    assert!(receiver.try_recv().is_none());
    assert_eq!(queue.bytes.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn what_was_accepted_before_the_receiver_closes_is_received_and_nothing_is_accepted_after() {
    let (queue, mut receiver) = Outgoing::new();
    queue.open();
    assert_eq!(publish(&queue, "a", 1), Ok(()));
    assert!(queue.push("c".into(), vec![1], MessageKind::Answer));
    receiver.close();
    assert!(publish(&queue, "a", 1).is_err(), "nobody would count it");
    for kind in [MessageKind::Answer, MessageKind::Publication] {
        assert_eq!(receiver.recv().await.map(|message| message.kind), Some(kind));
    }
    assert!(receiver.recv().await.is_none());
}

#[test]
fn it_is_bounded_in_bytes_and_in_publications() {
    let (queue, mut receiver) = Outgoing::new();
    queue.open();
    assert_eq!(publish(&queue, "a", MAX_BYTES), Ok(()), "a single one may take all");
    assert_eq!(publish(&queue, "b", 1), Err(NotQueued::Full));
    assert_eq!(drain(&queue, &mut receiver), 1);
    for n in 0..2 * MAX_PUBLICATIONS {
        let _ = publish(&queue, &n.to_string(), 1);
    }
    assert_eq!(publish(&queue, "b", 1), Err(NotQueued::Full));
    assert_eq!(drain(&queue, &mut receiver), MAX_PUBLICATIONS);
    assert!(queue.shares.lock().is_empty());
    assert_eq!(queue.bytes.load(Ordering::Relaxed), 0);
}

#[test]
fn one_publisher_cannot_fill_it() {
    for (bytes, publications) in [(100 << 10, 0), (1, MAX_PUBLICATIONS)] {
        let (queue, mut receiver) = Outgoing::new();
        queue.open();
        let flood = std::iter::repeat_with(|| publish(&queue, "hostile", bytes));
        let taken = flood.take_while(Result::is_ok).count();
        assert_eq!(publish(&queue, "hostile", bytes), Err(NotQueued::OverShare(Shared::Publisher)));
        assert!(taken * bytes <= MAX_BYTES * 5 / 8 && taken >= publications / 2, "{taken}");
        for _ in 0..taken / 4 {
            assert_eq!(publish(&queue, "healthy", bytes), Ok(()));
        }
        drain(&queue, &mut receiver);
        assert_eq!(publish(&queue, "hostile", bytes), Ok(()), "once there is room again");
        drain(&queue, &mut receiver);
        assert!(queue.shares.lock().is_empty());
    }
}

#[test]
fn one_address_cannot_fill_it_however_many_members_it_has() {
    let (bytes, members) = (20 << 10, 50);
    let (queue, mut receiver) = Outgoing::new();
    queue.open();
    let mut taken = 0;
    loop {
        let before = taken;
        for member in 0..members {
            let published = publish_at(&queue, [9, 9, 9, 9], &format!("member {member}"), bytes);
            taken += usize::from(published.is_ok());
        }
        if taken == before {
            break;
        }
    }
    assert!(taken * bytes <= MAX_BYTES * 5 / 8, "{taken}");
    let refused = publish_at(&queue, [9, 9, 9, 9], "a new member", MAX_BYTES * 3 / 8);
    assert_eq!(refused, Err(NotQueued::OverShare(Shared::Address)));
    for _ in 0..taken / 4 {
        assert_eq!(publish_at(&queue, [8, 8, 8, 8], "healthy", bytes), Ok(()));
    }
    drain(&queue, &mut receiver);
    assert!(queue.shares.lock().is_empty());
}

#[test]
fn publications_keep_neither_questions_nor_answers_nor_heartbeats_out() {
    let (queue, mut receiver) = Outgoing::new();
    queue.open();
    assert_eq!(publish(&queue, "a", MAX_BYTES), Ok(()));
    for kind in [MessageKind::Question, MessageKind::Answer, MessageKind::Heartbeat] {
        assert!(queue.push("c".into(), vec![1], kind));
    }
    let kinds: Vec<_> =
        std::iter::from_fn(|| receiver.try_recv()).map(|message| message.kind).collect();
    let order = [
        MessageKind::Answer,
        MessageKind::Heartbeat,
        MessageKind::Publication,
        MessageKind::Question,
    ];
    assert_eq!(kinds, order);
}

#[test]
fn what_is_no_publication_is_bounded_too() {
    let (queue, _receiver) = Outgoing::new();
    queue.open();
    let bounds = [
        (MessageKind::Question, MAX_PUBLICATIONS + MAX_MESSAGES),
        (MessageKind::Answer, MAX_MESSAGES - MAX_HEARTBEATS),
        (MessageKind::Heartbeat, MAX_HEARTBEATS),
    ];
    for (kind, bound) in bounds {
        let push = || queue.push("c".into(), vec![1], kind);
        let flood = std::iter::repeat_with(push);
        assert_eq!(flood.take_while(|queued| *queued).count(), bound, "{kind:?}");
    }
    let (queue, _receiver) = Outgoing::new();
    queue.open();
    assert!(!queue.push("c".into(), vec![0; MAX_BYTES], MessageKind::Answer));
}
