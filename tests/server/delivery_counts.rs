//! The delivery counters match what clients received.

use serde_json::json;

use crate::client::{Member, Poller};
use crate::harness::{Rookery, shared_permit, until, within};

const PUBLICATIONS: u64 = 200;

#[tokio::test]
async fn every_delivery_is_counted_once() {
    let _permit = shared_permit().await;
    let server = Rookery::start("rooms: [{ match: 'r{n}' }]\n").await;
    let mut members = Vec::new();
    let mut pollers = Vec::new();
    for _ in 0..5 {
        let mut member = Member::connect(&server).await;
        member.join("r1").await;
        members.push(member);
        let poller = Poller::connect(&server, 4).await;
        poller.join("r1").await;
        pollers.push(poller);
    }
    let publish = async {
        for n in 0..PUBLICATIONS {
            assert_eq!(server.publish("r1", "n", json!(n)).await, 10);
        }
    };
    let by_socket = futures_util::future::join_all(members.iter_mut().map(async |member| {
        for n in 0..PUBLICATIONS {
            assert_eq!(member.event().await, ("n".to_owned(), json!(n)));
        }
        PUBLICATIONS
    }));
    let by_polling = futures_util::future::join_all(pollers.iter().map(async |poller| {
        let mut got = 0;
        while got < PUBLICATIONS {
            for event in poller.events().await {
                assert_eq!(event, ("n".to_owned(), json!(got)));
                got += 1;
            }
        }
        got
    }));
    let ((), sockets, polls) =
        within("every message", async { tokio::join!(publish, by_socket, by_polling) }).await;
    let received = sockets.iter().chain(&polls).sum::<u64>() as f64;
    assert_eq!(received, 10.0 * PUBLICATIONS as f64);
    // What a poll took is counted when it was taken; what a batch wrote, at the batch's end.
    until("all are counted", async || server.deliveries("written").await == received).await;
    let count = "rookery_delivery_latency_seconds_count{class=\"r{n}\",hop=\"local\"}";
    assert_eq!(server.metric(count).await, received);
    for outcome in ["dropped_slow", "dropped_volatile", "gone"] {
        assert_eq!(server.deliveries(outcome).await, 0.0, "{outcome}");
    }
    assert_eq!(server.metric("rookery_publications_total{source=\"api\"}").await, 200.0);
    let room = server.internal("/api/rooms/r1/latency").await;
    assert_eq!(room.json()["count"], json!(received as u64), "{}", room.text());
}
