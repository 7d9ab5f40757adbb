//! Members that stop reading use bounded memory, are disconnected, and delay nobody.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::client::{Member, Poller};
use crate::harness::{Rookery, exclusive_permit, shared_permit, until, within};
use crate::http::{Connection, Request};

const STALLED: usize = 50;

/// Total bytes published to the room.
const BYTES: usize = 100 << 20;

/// Memory allowed for the stalled clients: `limits.queue` plus overhead, in bytes.
const BOUND: u64 = STALLED as u64 * (2 << 20);

/// Message sizes in bytes, used in turn.
const SIZES: [usize; 4] = [1 << 10, 4 << 10, 16 << 10, 16 << 10];

#[tokio::test]
async fn stalled_members_are_disconnected_and_do_not_delay_their_room() {
    let _permit = exclusive_permit().await;
    let server = Rookery::start("limits: { queue: 1MiB, writeStall: 3s }\n").await;
    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        let mut member = Member::connect(&server).await;
        member.join("room").await;
        stalled.push(member);
    }
    let mut healthy = Member::connect(&server).await;
    healthy.join("room").await;
    let before = memory(&server, "VmRSS");

    let (published, publications) = mpsc::unbounded_channel();
    let publish = publish(&server, published);
    let hear = hear(&mut healthy, publications);
    let (queued, mut waits) = within("all messages", async { tokio::join!(publish, hear) }).await;

    let grown = memory(&server, "VmHWM").saturating_sub(before);
    assert!(grown + queued < BOUND, "{grown} of the process, {queued} of its sockets");
    until("the stalled are gone", async || {
        server.metric("rookery_connections{transport=\"websocket\"}").await == 1.0
    })
    .await;
    assert_eq!(server.disconnects("slow").await, STALLED as f64);
    let dropped = server.deliveries("dropped_slow").await;
    assert!(dropped > 0.0);
    // Every delivery to a member is counted with exactly one outcome.
    assert_eq!(server.deliveries("dropped_volatile").await, 0.0);

    waits.sort();
    let p99 = waits[waits.len() * 99 / 100];
    let own = server.internal("/api/rooms/room/latency").await;
    println!(
        "{} messages, {dropped} dropped; the process grew by {grown} bytes, its sockets held \
         {queued}; the healthy member's p99 {p99:?}; the server's own account: {}",
        waits.len(),
        own.text()
    );
    assert!(p99 < Duration::from_millis(100), "p99 {p99:?}; the server's own: {}", own.text());
}

/// Publishes messages one after the other; returns the peak of bytes in the sockets.
async fn publish(server: &Rookery, published: mpsc::UnboundedSender<Instant>) -> u64 {
    let mut connection = Connection::open(server.internal).await.unwrap();
    let (mut left, mut n, mut most) = (BYTES, 0, 0);
    while left > 0 {
        let size = SIZES[n % SIZES.len()].min(left);
        let body = json!({ "room": "room", "event": "n", "args": [n, "x".repeat(size)] });
        let request = Request::post("/api/publish", body.to_string())
            .header("content-type", "application/json");
        published.send(Instant::now()).unwrap();
        let answer = connection.send(&request).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        left -= size;
        n += 1;
        if n % 64 == 0 {
            most = most.max(queued(server));
        }
    }
    most
}

/// Receives every message in order; returns how long each took.
async fn hear(
    member: &mut Member,
    mut publications: mpsc::UnboundedReceiver<Instant>,
) -> Vec<Duration> {
    let mut waits = Vec::new();
    while let Some(start) = publications.recv().await {
        let (_, number) = member.event().await;
        waits.push(start.elapsed());
        assert_eq!(number, Value::from(waits.len() - 1));
    }
    waits
}

/// A field of the process's status, in bytes.
fn memory(server: &Rookery, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// Bytes in the send queues of the client connections.
fn queued(server: &Rookery) -> u64 {
    let port = format!(":{:04X}", server.clients.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table
        .lines()
        .filter_map(|line| {
            let mut columns = line.split_whitespace().skip(1);
            let local = columns.next()?;
            let queues = columns.nth(2)?;
            let sent = queues.split_once(':')?.0;
            local.ends_with(&port).then(|| u64::from_str_radix(sent, 16).ok())?
        })
        .sum()
}

/// As one that was killed while no GET of it waited.
#[tokio::test]
async fn a_client_that_does_not_poll_for_what_waits_is_gone_after_the_write_stall() {
    let _permit = shared_permit().await;
    let server = Rookery::start("limits: { writeStall: 500ms }\n").await;
    for eio in [4, 3] {
        let before = server.deliveries("dropped_slow").await;
        let poller = Poller::connect(&server, eio).await;
        poller.join("r").await;
        server.publish("r", "n", json!(1)).await;
        assert_eq!(poller.events().await, [("n".to_owned(), json!(1))]);
        assert_eq!(server.publish("r", "n", json!(2)).await, 1);
        until("it is gone", async || server.connections().await == 0.0).await;
        assert_eq!(server.publish("r", "n", json!(3)).await, 0);
        assert_eq!(server.deliveries("dropped_slow").await, before + 1.0, "what waited is counted");
        assert_eq!(poller.get().await.json()["code"], 1);
    }
    assert_eq!(server.disconnects("slow").await, 2.0);
}
