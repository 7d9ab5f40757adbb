//! How an outbox ends, over real sockets. What it writes until then is tested in [`interleavings`].

mod client;
mod interleavings;
mod polls;
mod sent;
mod story;

use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex as Lock;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::message::Hop;
use crate::telemetry::latency::DeliveryTag;

/// How long a condition may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The fewest bytes of a message that is compressed for clients that take compressed ones.
const THRESHOLD: usize = 200;

/// Bytes asked of the kernel for each of a test socket's buffers; it grants more.
const SMALL: usize = 4096;

/// The reasons with which an outbox called back.
type Ends = Arc<Lock<Vec<Disconnected>>>;

/// An outbox, and what was recorded of its deliveries.
struct Fixture {
    outbox: Arc<Outbox>,
    recorder: Arc<DeliveryRecorder>,
    ends: Ends,
    tag: Arc<DeliveryTag>,
    /// Deliveries so far.
    handed: u64,
}

impl Fixture {
    fn new(revision: Revision, queue: usize, write_stall: Duration) -> Self {
        let recorder = DeliveryRecorder::for_test();
        let context = Arc::new(OutboxContext {
            parser: Parser::Json,
            deflate: Some(Deflate { threshold: THRESHOLD }),
            limits: Arc::new(OutboxLimits::new(queue, write_stall, 64 << 10)),
            recorder: recorder.clone(),
            backlog: Arc::default(),
            runtime: Handle::current(),
            tracker: TaskTracker::new(),
        });
        let outbox = Outbox::new(revision, context);
        let ends = Ends::default();
        let ended = ends.clone();
        outbox.on_close(move |reason, _| ended.lock().push(reason));
        let tag = Arc::new(DeliveryTag {
            accepted: Instant::now(),
            class: "default".into(),
            hop: Hop::Local,
            room: None,
            trace: None,
        });
        Fixture { outbox, recorder, ends, tag, handed: 0 }
    }

    fn count(&self, outcome: Outcome) -> u64 {
        self.recorder.count(outcome)
    }

    /// Moves the session to a WebSocket with small buffers; returns the client's end.
    async fn attach(&self, read: &[u8]) -> TcpStream {
        self.attach_with(read, false).await
    }

    /// The same; with `compressed`, the client takes compressed messages.
    async fn attach_with(&self, read: &[u8], compressed: bool) -> TcpStream {
        self.outbox.set_accepted(Accepted { binary: true, compressed });
        let (client, server) = sockets().await;
        assert!(self.outbox.attach(server, read));
        if let Transport::WebSocket(socket) = &self.outbox.state.lock().transport {
            socket2::SockRef::from(&**socket).set_send_buffer_size(SMALL).unwrap();
        }
        client
    }

    /// Delivers as a shard does, which records what is written at once or gone.
    fn deliver(&mut self, packets: Vec<(Encoded, bool)>) -> Delivered {
        let n = packets.len();
        self.handed += n as u64;
        let packets = packets.into_iter().map(|(encoded, volatile)| Packet {
            encoded: Arc::new(encoded),
            tag: Some(self.tag.clone()),
            volatile,
        });
        let delivered = self.outbox.deliver(&PacketBatch::new(packets.collect()));
        match delivered {
            Delivered::Written => self.recorder.written(&self.tag, n, &[]),
            Delivered::Gone => self.recorder.dropped(Outcome::Gone, n as u64),
            Delivered::Kept => {}
        }
        delivered
    }

    fn deliver_text(&mut self, size: usize) -> Delivered {
        self.deliver(vec![(Encoded::message(&"x".repeat(size), Vec::new()), false)])
    }

    /// Delivers until the kernel takes no more; returns the bytes of text.
    fn fill(&mut self) -> usize {
        let mut bytes = 0;
        while self.deliver_text(1000) == Delivered::Written {
            bytes += 1000;
        }
        bytes + 1000
    }

    /// Asserts that every delivery has exactly one outcome, and that nothing waits any more.
    fn assert_balanced(&self) {
        let recorded: u64 = Outcome::ALL.iter().map(|outcome| self.count(*outcome)).sum();
        assert_eq!(recorded, self.handed);
        assert_eq!(self.backlog(), 0);
    }

    /// Bytes that the shard counts as waiting.
    fn backlog(&self) -> usize {
        self.outbox.context.backlog.bytes()
    }

    async fn ended(&self) -> Disconnected {
        until("the callback is called", || !self.ends.lock().is_empty()).await;
        let ends = self.ends.lock();
        assert_eq!(ends.len(), 1, "the callback is called once");
        ends[0]
    }
}

async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(SMALL as u32).unwrap();
    let connecting = socket.connect(listener.local_addr().unwrap());
    let (client, accepted) = tokio::join!(connecting, listener.accept());
    (client.unwrap(), accepted.unwrap().0)
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    waited.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"));
}

/// Reads until the end of the connection.
async fn read_all(mut client: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, client.read_to_end(&mut bytes)).await;
    read.expect("the connection ends").expect("it is not reset");
    bytes
}

#[tokio::test]
async fn finishing_writes_everything_and_then_closes() {
    let mut one = Fixture::new(Revision::V4, 64 << 20, PATIENCE);
    let client = one.attach(&[]).await;
    let mut texts = one.fill();
    for _ in 0..50 {
        one.deliver_text(1000);
        texts += 1000;
    }
    one.outbox.close(Disconnected::Drain, Ending::Finish);
    assert_eq!(one.deliver_text(1), Delivered::Gone);
    assert!(!one.outbox.send(Arc::new(Encoded::engine(b"2"))));
    // A second close changes neither the reason nor what is written.
    one.outbox.close(Disconnected::Dismissed, Ending::Finish);
    let bytes = read_all(client).await;
    assert_eq!(bytes.iter().filter(|b| **b == b'x').count(), texts);
    assert!(bytes.ends_with(&[0x88, 2, 0x03, 0xe8]), "a Close frame comes last");
    assert_eq!(one.ended().await, Disconnected::Drain);
    assert_eq!(one.count(Outcome::Gone), 1);
    one.assert_balanced();
}

#[tokio::test]
async fn aborting_counts_what_waits_as_gone() {
    let mut one = Fixture::new(Revision::V4, 64 << 20, PATIENCE);
    let client = one.attach(&[]).await;
    one.fill();
    one.outbox.close(Disconnected::Dismissed, Ending::Finish);
    one.outbox.close(Disconnected::Client, Ending::Abort);
    assert_eq!(one.ended().await, Disconnected::Dismissed);
    assert!(one.count(Outcome::Gone) >= 1);
    one.assert_balanced();
    drop(client);
}

#[tokio::test]
async fn a_full_queue_disconnects_the_client_and_counts_the_drops() {
    for polling in [false, true] {
        let mut one = Fixture::new(Revision::V4, 10_000, PATIENCE);
        let _client = match polling {
            true => None,
            false => Some(one.attach(&[]).await),
        };
        while one.outbox.ending().is_none() {
            one.deliver_text(1000);
        }
        assert_eq!(one.ended().await, Disconnected::Slow);
        let dropped = one.count(Outcome::DroppedSlow);
        // One push may go beyond the limit.
        assert!((9..=11).contains(&dropped), "{dropped}");
        assert_eq!(one.count(Outcome::Gone), 0);
        one.assert_balanced();
    }
}

#[tokio::test]
async fn a_client_that_stops_reading_is_reset() {
    let mut one = Fixture::new(Revision::V4, 64 << 20, Duration::from_millis(50));
    let mut client = one.attach(&[]).await;
    one.fill();
    // More than the kernel can take of it later.
    for _ in 0..20 {
        one.deliver_text(50_000);
    }
    assert_eq!(one.ended().await, Disconnected::Slow);
    assert!(one.count(Outcome::DroppedSlow) >= 1);
    one.assert_balanced();
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, client.read_to_end(&mut bytes)).await;
    let error = read.expect("it ends").expect_err("by a reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn finishing_waits_no_longer_than_the_write_stall() {
    for polling in [false, true] {
        let mut one = Fixture::new(Revision::V4, 64 << 20, Duration::from_millis(50));
        let _client = match polling {
            true => None,
            false => Some(one.attach(&[]).await),
        };
        if polling {
            one.deliver_text(1000);
        } else {
            one.fill();
        }
        one.outbox.close(Disconnected::Drain, Ending::Finish);
        one.ended().await;
        one.assert_balanced();
    }
}

#[tokio::test]
async fn volatile_packets_are_dropped_where_something_waits() {
    let mut one = Fixture::new(Revision::V4, 64 << 20, PATIENCE);
    let _client = one.attach(&[]).await;
    one.fill();
    let text = |volatile| (Encoded::message("x", Vec::new()), volatile);
    one.deliver(vec![text(true), text(false), text(true)]);
    assert_eq!(one.count(Outcome::DroppedVolatile), 2);
    one.outbox.close(Disconnected::Client, Ending::Abort);
    one.assert_balanced();
}

#[tokio::test]
async fn the_backlog_counts_bytes_until_they_are_written_or_dropped() {
    let mut one = Fixture::new(Revision::V4, 64 << 20, PATIENCE);
    let context = one.outbox.context.clone();
    one.deliver_text(1000);
    let waits = context.backlog.bytes();
    assert!((1000..1100).contains(&waits), "{waits}");
    one.deliver_text(1000);
    assert_eq!(context.backlog.bytes(), 2 * waits);
    // Now the kernel takes what waits.
    let _client = one.attach(&[]).await;
    assert_eq!(context.backlog.bytes(), 0);
    assert_eq!(one.deliver_text(1), Delivered::Written);
    assert_eq!(context.backlog.bytes(), 0);
    let mut other = Fixture::new(Revision::V4, 64 << 20, PATIENCE);
    other.outbox = Outbox::new(Revision::V4, context.clone());
    other.deliver_text(1000);
    assert_eq!(context.backlog.bytes(), waits);
    // A dropped outbox removes its bytes.
    drop(other);
    assert_eq!(context.backlog.bytes(), 0);
}

#[tokio::test]
async fn a_waiting_get_is_answered_when_the_session_ends() {
    for (reason, ending) in
        [(Disconnected::Drain, Ending::Finish), (Disconnected::PingTimeout, Ending::Abort)]
    {
        let one = Fixture::new(Revision::V4, 64 << 20, PATIENCE);
        let outbox = one.outbox.clone();
        let waiting = tokio::spawn(async move { outbox.poll(false).await });
        let waits = || match &one.outbox.state.lock().transport {
            Transport::Polling(polling) => polling.waiting.is_some(),
            _ => false,
        };
        until("the GET waits", waits).await;
        one.outbox.close(reason, ending);
        let polled = waiting.await.unwrap().unwrap();
        assert_eq!((&polled.body[..], polled.last), (&b"1"[..], Some(reason)));
        assert_eq!(one.ended().await, reason);
        assert_eq!(one.outbox.poll(false).await, Err(NotPolling::Elsewhere));
    }
}
