//! The answers to GETs.

use rookery_protocol::payload::{self, Form, Packet as Polled};

use super::*;

/// The packets in the answer to the next GET.
async fn poll(one: &Fixture) -> Vec<Polled> {
    let polled = one.outbox.poll(false).await.unwrap();
    let octets = polled.form == Form::V3Binary;
    payload::decode(&polled.body, one.outbox.revision(), octets).expect("a payload")
}

#[tokio::test]
async fn an_answer_holds_at_most_16_packets_in_order_until_the_session_has_ended() {
    for revision in [Revision::V4, Revision::V3] {
        let mut one = Fixture::new(revision, 64 << 20, PATIENCE);
        let text = |n: usize| format!("2[\"n\",{n}]");
        one.deliver((0..35).map(|n| (Encoded::message(&text(n), Vec::new()), false)).collect());
        let mut numbers = 0;
        for expected in [16, 16, 3] {
            if expected == 3 {
                one.outbox.close(Disconnected::Drain, Ending::Finish);
            }
            let packets = poll(&one).await;
            assert_eq!(packets.len(), expected);
            for packet in packets {
                assert_eq!(packet, Polled::Message(text(numbers)));
                numbers += 1;
            }
        }
        assert_eq!(poll(&one).await, [Polled::Close]);
        one.assert_balanced();
    }
}

#[tokio::test]
async fn attachments_count_and_stay_with_their_packet() {
    for revision in [Revision::V4, Revision::V3] {
        let mut one = Fixture::new(revision, 64 << 20, PATIENCE);
        let binary = || Encoded::message("510-[]", vec![Bytes::from_static(b"x"); 10]);
        let packets = [Encoded::message("2[]", Vec::new()), binary(), binary(), binary()];
        one.deliver(packets.into_iter().map(|packet| (packet, false)).collect());
        for expected in [12, 11, 11] {
            assert_eq!(poll(&one).await.len(), expected);
        }
        one.outbox.close(Disconnected::Client, Ending::Abort);
        one.assert_balanced();
    }
}

#[tokio::test]
async fn a_session_that_is_ending_moves_to_the_websocket_with_what_waits() {
    for reason in [Disconnected::Drain, Disconnected::TokenExpired, Disconnected::Dismissed] {
        let mut one = Fixture::new(Revision::V4, 64 << 20, PATIENCE);
        one.deliver_text(100);
        one.outbox.close(reason, Ending::Finish);
        let client = one.attach(&[]).await;
        let bytes = read_all(client).await;
        assert_eq!(bytes.iter().filter(|byte| **byte == b'x').count(), 100);
        assert!(bytes.ends_with(&[0x88, 2, 0x03, 0xe8]), "a Close frame comes last");
        assert_eq!(one.ended().await, reason);
        assert_eq!(one.count(Outcome::Gone), 0);
        one.assert_balanced();
    }
}

/// Starts a GET, and cancels it while it waits.
async fn cancel_a_poll(one: &Fixture) {
    let outbox = one.outbox.clone();
    let waiting = tokio::spawn(async move { outbox.poll(false).await });
    let waits = || match &one.outbox.state.lock().transport {
        Transport::Polling(polling) => polling.waiting.is_some(),
        _ => false,
    };
    until("the GET waits", waits).await;
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn a_cancelled_get_ends_the_session_and_what_comes_is_not_taken() {
    let mut one = Fixture::new(Revision::V4, 64 << 20, PATIENCE);
    cancel_a_poll(&one).await;
    assert_eq!(one.ended().await, Disconnected::TransportError);
    assert_eq!(one.deliver_text(1), Delivered::Gone);
    assert_eq!(one.outbox.poll(false).await, Err(NotPolling::Elsewhere));
    one.assert_balanced();
}

#[tokio::test]
async fn a_get_cancelled_in_an_upgrade_ends_the_session_only_if_the_upgrade_fails() {
    for succeeds in [true, false] {
        let mut one = Fixture::new(Revision::V4, 64 << 20, PATIENCE);
        one.outbox.set_upgrading(true);
        cancel_a_poll(&one).await;
        assert_eq!(one.deliver_text(100), Delivered::Kept);
        let client = match succeeds {
            true => Some(one.attach(&[]).await),
            false => None,
        };
        one.outbox.set_upgrading(false);
        if succeeds {
            assert_eq!(one.outbox.ending(), None);
            assert_eq!(one.count(Outcome::Gone), 0);
            one.outbox.close(Disconnected::Client, Ending::Abort);
        } else {
            assert_eq!(one.ended().await, Disconnected::TransportError);
            assert_eq!(one.count(Outcome::Gone), 1);
        }
        one.assert_balanced();
        drop(client);
    }
}

#[tokio::test]
async fn a_client_that_does_not_poll_for_what_waits_is_ended_after_the_write_stall() {
    let stall = Duration::from_secs(10);
    let second = Duration::from_secs(1);
    let mut one = Fixture::new(Revision::V4, 64 << 20, stall);
    let start = Instant::now();
    for at in [0, 100, 200] {
        one.outbox.end_if_stalled(start + at * second);
    }
    assert_eq!(one.outbox.ending(), None, "nothing waits");
    one.deliver_text(1);
    for at in [300, 309] {
        one.outbox.end_if_stalled(start + at * second);
    }
    assert_eq!(poll(&one).await.len(), 1);
    one.deliver_text(1);
    one.outbox.end_if_stalled(start + 310 * second);
    assert_eq!(one.outbox.ending(), None, "it has polled");
    one.deliver_text(40 << 10);
    assert_eq!(poll(&one).await.len(), 2);
    one.deliver_text(1);
    one.deliver_text(1);
    for at in [400, 410, 419] {
        one.outbox.end_if_stalled(start + at * second);
        assert_eq!(one.outbox.ending(), None, "it may be reading the last answer");
    }
    one.outbox.end_if_stalled(start + 421 * second);
    assert_eq!(one.ended().await, Disconnected::Slow);
    assert_eq!(one.count(Outcome::DroppedSlow), 2);
    one.assert_balanced();
}

#[tokio::test]
async fn a_client_that_upgrades_need_not_poll() {
    let mut one = Fixture::new(Revision::V4, 64 << 20, Duration::from_secs(10));
    one.deliver_text(1);
    one.outbox.set_upgrading(true);
    let start = Instant::now();
    for at in [0, 100] {
        one.outbox.end_if_stalled(start + Duration::from_secs(at));
    }
    assert_eq!(one.outbox.ending(), None);
    one.outbox.set_upgrading(false);
    for at in [200, 209] {
        one.outbox.end_if_stalled(start + Duration::from_secs(at));
        assert_eq!(one.outbox.ending(), None);
    }
    one.outbox.end_if_stalled(start + Duration::from_secs(210));
    assert_eq!(one.ended().await, Disconnected::Slow);
    one.assert_balanced();
}
