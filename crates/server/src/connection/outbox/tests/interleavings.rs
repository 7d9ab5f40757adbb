//! Random interleavings of everything that an outbox and its stream do, over a real socket with
//! small buffers: no packet is torn, reordered, duplicated or lost, and every outcome is counted.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;

use super::client::{Numbered, Received};
use super::sent::{Hooks, engines_number, packets, said};
use super::story::{End, Shape, Step, Story, story};
use super::*;
use crate::connection::stream::SessionStream;
use rookery_protocol::frames::ClientMessages;

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn no_packet_is_torn_reordered_duplicated_or_lost(story in story()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(tell(story));
    }
}

#[tokio::test]
async fn packets_for_engine_and_hooks_are_handled_in_the_order_in_which_they_were_sent() {
    for (revision, deflate) in
        [(Revision::V4, false), (Revision::V4, true), (Revision::V3, false), (Revision::V3, true)]
    {
        let mut world = World::new(revision, deflate, 1 << 20).await;
        world.send(8).await;
        world.attach(11).await;
        world.send(9).await;
        while world.hooks.heard.lock().len() < 20 {
            world.step(Step::Done).await;
            world.read().await;
        }
        assert_eq!(*world.hooks.heard.lock(), (0..20).collect::<Vec<_>>());
        assert_eq!(world.hooks.inflated.load(Ordering::Relaxed) > 0, deflate);
    }
}

/// One session: the engine's side, the shard's, and the client's.
struct World {
    fixture: Fixture,
    revision: Revision,
    /// Messages on the WebSocket are compressed, both ways.
    deflate: bool,
    stream: Option<SessionStream>,
    hooks: Arc<Hooks>,
    /// Bytes that the engine still has to write, and where each packet ends in its output.
    unwritten: Vec<u8>,
    ends: VecDeque<(usize, u64)>,
    wrote: usize,
    /// Every packet that may reach the client.
    sent: BTreeMap<u64, Numbered>,
    /// The numbers of those that it must get, in order.
    due: Vec<u64>,
    client: Option<TcpStream>,
    received: Received,
    /// The client's packets: how many it sent, and what the engine read of its part of them.
    said: u64,
    unread: Vec<u8>,
}

async fn tell(story: Story) {
    let revision = if story.v3 { Revision::V3 } else { Revision::V4 };
    let mut world = World::new(revision, story.deflate, story.queue).await;
    for step in story.steps {
        world.step(step).await;
    }
    world.end(story.end);
    let due = world.due.len();
    for step in story.afterwards {
        world.step(step).await;
    }
    assert_eq!(world.due.len(), due, "nothing is accepted after the end");
    world.check(story.end).await;
}

impl World {
    async fn new(revision: Revision, deflate: bool, queue: usize) -> Self {
        let fixture = Fixture::new(revision, queue, PATIENCE);
        let hooks = Arc::new(Hooks::default());
        let stream = SessionStream::new(fixture.outbox.clone(), hooks.clone(), 1 << 20);
        let mut world = World {
            fixture,
            revision,
            deflate,
            stream: Some(stream),
            hooks,
            unwritten: Vec::new(),
            ends: VecDeque::new(),
            wrote: 0,
            sent: BTreeMap::new(),
            due: Vec::new(),
            client: None,
            received: Received::new(revision),
            said: 0,
            unread: Vec::new(),
        };
        // The engine's first heartbeat, which the stream answers, or its answer to the CONNECT that
        // a client of revision 3 need not send.
        match revision {
            Revision::V4 => world.write_bytes(&[0x81, 1, b'2']),
            Revision::V3 => world.write_bytes(&[0x81, 2, b'4', b'0']),
        };
        world.read().await;
        world
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Engine(shapes) => self.engine(shapes),
            Step::Write(n) => self.write(n),
            Step::Deliver(packets) => self.deliver(packets),
            Step::Receive(n) => self.receive(n).await,
            Step::Send(n) => self.send(n).await,
            Step::Read => self.read().await,
            Step::Done => drop(self.hooks.done.lock().take()),
            Step::ReleasePoll => drop(self.fixture.outbox.release_poll()),
            Step::Attach(read) => self.attach(read).await,
            Step::Yield => tokio::task::yield_now().await,
        }
        let waits = self.fixture.outbox.state.lock().queue.bytes();
        assert_eq!(self.fixture.backlog(), waits, "the shard counts what waits");
    }

    fn packet(&mut self, (size, binary): Shape) -> (u64, Numbered) {
        let number = self.sent.len() as u64;
        let packet = Numbered::new(number, size, binary);
        self.sent.insert(number, packet.clone());
        (number, packet)
    }

    fn engine(&mut self, shapes: Vec<Shape>) {
        for shape in shapes {
            let (number, packet) = self.packet(shape);
            self.unwritten.extend(packet.frames(self.revision));
            self.ends.push_back((self.wrote + self.unwritten.len(), number));
        }
    }

    /// A packet takes its place in the order when its last byte is written.
    fn write(&mut self, most: usize) {
        let bytes: Vec<u8> = self.unwritten.drain(..most.min(self.unwritten.len())).collect();
        if bytes.is_empty() || !self.write_bytes(&bytes) {
            return;
        }
        self.wrote += bytes.len();
        while let Some((_, number)) = self.ends.pop_front_if(|(end, _)| *end <= self.wrote) {
            self.due.push(number);
        }
    }

    /// Returns false where the stream has ended.
    fn write_bytes(&mut self, bytes: &[u8]) -> bool {
        let Some(stream) = &mut self.stream else { return false };
        let mut context = Context::from_waker(Waker::noop());
        match Pin::new(stream).poll_write(&mut context, bytes) {
            Poll::Ready(Ok(n)) => assert_eq!(n, bytes.len()),
            Poll::Ready(Err(_)) => {
                assert!(self.fixture.outbox.ending().is_some());
                return false;
            }
            Poll::Pending => panic!("a write never waits"),
        }
        true
    }

    fn deliver(&mut self, packets: Vec<(Shape, bool)>) {
        let packets: Vec<_> = packets.into_iter().map(|(s, v)| (self.packet(s), v)).collect();
        let before = self.fixture.count(Outcome::DroppedVolatile);
        let encoded = packets.iter().map(|((_, packet), v)| (packet.encoded(), *v)).collect();
        let delivered = self.fixture.deliver(encoded);
        let dropped = self.fixture.count(Outcome::DroppedVolatile) - before;
        let volatile = packets.iter().filter(|(_, volatile)| *volatile).count() as u64;
        assert!(dropped == 0 || dropped == volatile, "all volatile packets of a batch or none");
        if delivered != Delivered::Gone {
            let kept = packets.iter().filter(|(_, volatile)| dropped == 0 || !volatile);
            self.due.extend(kept.map(|((number, _), _)| *number));
        }
    }

    async fn receive(&mut self, most: usize) {
        if let Some(client) = &self.client {
            self.received.read(client, most, &self.sent);
            return;
        }
        let waits = {
            let state = self.fixture.outbox.state.lock();
            state.queue.is_empty() && state.phase == Phase::Open
        };
        if waits {
            return;
        }
        if let Ok(polled) = self.fixture.outbox.poll(most.is_multiple_of(2)).await {
            self.received.polled(&polled, &self.sent);
        }
    }

    async fn send(&mut self, n: usize) {
        let numbers = self.said..self.said + n as u64;
        match &mut self.client {
            Some(client) => {
                let frames: Vec<u8> =
                    numbers.clone().flat_map(|n| said(n, self.revision, self.deflate)).collect();
                if client.write_all(&frames).await.is_err() {
                    return;
                }
            }
            None => {
                let packets = numbers.clone().flat_map(packets).collect();
                // The POST waits while too much is unread, and the client gives it up.
                let feed = self.fixture.outbox.feed(packets);
                if !matches!(tokio::time::timeout(Duration::ZERO, feed).await, Ok(Ok(()))) {
                    return;
                }
            }
        }
        self.said = numbers.end;
    }

    /// Lets the client's reader run, and reads until nothing is available.
    async fn read(&mut self) {
        for _ in 0..3 {
            tokio::task::yield_now().await;
            self.read_available();
        }
    }

    fn read_available(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        loop {
            let Some(stream) = &mut self.stream else { return };
            let mut chunk = [0; 512];
            let mut buf = ReadBuf::new(&mut chunk);
            match Pin::new(stream).poll_read(&mut context, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    self.unread.extend_from_slice(buf.filled());
                }
                _ => return,
            }
            self.engine_reads();
        }
    }

    /// Takes the frames that the engine has read.
    fn engine_reads(&mut self) {
        let mut rest = &mut self.unread[..];
        while let Some(message) = ClientMessages::new(1000).next(&mut rest).expect("frames") {
            let text = std::str::from_utf8(&message.payload).expect("a heartbeat");
            if text == "3" {
                assert_eq!(self.hooks.heard.lock().len(), 0, "the answer to the first heartbeat");
            } else {
                self.hooks.heard.lock().push(engines_number(text).expect("a number"));
            }
        }
        let unread = rest.len();
        self.unread.drain(..self.unread.len() - unread);
        let heard = self.hooks.heard.lock();
        assert!(heard.iter().copied().eq(0..heard.len() as u64), "out of order: {heard:?}");
    }

    /// The client sends packets right after its `5`; some of their bytes were read with it.
    async fn attach(&mut self, read: usize) {
        if self.client.is_some() || self.fixture.outbox.ending().is_some() {
            return;
        }
        let mut bytes = Vec::new();
        for n in self.said..self.said + 3 {
            bytes.extend(said(n, self.revision, self.deflate));
        }
        let (early, late) = bytes.split_at(read.min(bytes.len()));
        let mut client = self.fixture.attach_with(early, self.deflate).await;
        client.write_all(late).await.unwrap();
        self.said += 3;
        self.client = Some(client);
    }

    fn end(&mut self, end: End) {
        match end {
            End::Finish => self.fixture.outbox.close(Disconnected::Drain, Ending::Finish),
            End::Abort => self.fixture.outbox.close(Disconnected::Drain, Ending::Abort),
            End::EngineCloses => {
                self.write(usize::MAX);
                self.write_bytes(&[0x88, 0]);
                self.stream = None;
            }
            End::EngineGoes => self.stream = None,
        }
        if matches!(end, End::EngineCloses | End::EngineGoes) {
            // A session that the engine drops ends a moment later; here it ends at once.
            self.fixture.outbox.close(Disconnected::TransportError, Ending::Finish);
        }
    }

    async fn check(mut self, end: End) {
        // The engine reads the end, and drops its stream.
        self.read().await;
        self.hooks.done.lock().take();
        self.stream = None;
        tokio::time::timeout(PATIENCE, self.receive_all()).await.expect("the client sees the end");
        let reason = self.fixture.ended().await;
        self.fixture.assert_balanced();
        let got = &self.received.numbers;
        assert_eq!(got[..], self.due[..got.len()], "in order and once");
        assert!(self.hooks.heard.lock().len() as u64 <= self.said);
        // A polling client that the engine gave up is not waited for.
        let given_up = self.client.is_none() && matches!(end, End::EngineCloses | End::EngineGoes);
        let whole = reason != Disconnected::Slow && !matches!(end, End::Abort) && !given_up;
        if whole {
            assert_eq!(got.len(), self.due.len(), "all of it");
            assert!(self.received.closed, "the client sees the close");
            assert_eq!(self.fixture.count(Outcome::DroppedSlow), 0);
        }
        if reason == Disconnected::Slow {
            assert!(self.fixture.count(Outcome::Gone) <= self.fixture.handed);
        }
    }

    async fn receive_all(&mut self) {
        match self.client.take() {
            Some(client) => {
                while self.received.read(&client, 64 << 10, &self.sent) {
                    let _ = client.readable().await;
                }
            }
            None => {
                while let Ok(polled) = self.fixture.outbox.poll(false).await {
                    self.received.polled(&polled, &self.sent);
                }
            }
        }
    }
}
