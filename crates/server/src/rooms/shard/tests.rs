//! A whole shard, with members on polling: their outboxes keep what was delivered, in order.

use std::collections::HashMap;
use std::sync::Weak;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use super::*;
use crate::connection::outbox::{Outbox, OutboxContext, OutboxLimits};
use crate::message::member_id::next_number;
use crate::message::{Publication, Source};
use crate::rooms::member::Dismiss;
use crate::telemetry::metrics::Metrics;
use rookery_protocol::Data;
use rookery_protocol::Revision;

/// More than one chunk.
const MEMBERS: usize = CHUNK + 40;

struct Unheard;

impl Occupation for Unheard {
    fn occupied(&self, _: &Arc<str>, _: &Room) {}
    fn vacated(&self, _: &Arc<str>, _: &Room) {}
}

struct Nobody;

impl Dismiss for Nobody {
    fn dismiss(&self, _: bool) {}
}

struct Silent;

impl Answer for Silent {
    fn done(self: Box<Self>) -> Option<Encoded> {
        None
    }

    fn too_many_rooms(self: Box<Self>) -> Option<Encoded> {
        None
    }
}

struct World {
    queue: mpsc::Sender<Message>,
    members: Vec<Arc<Member>>,
    recorder: Arc<DeliveryRecorder>,
}

impl World {
    /// Members of `a`; every second is in `b` as well, every tenth in `s`.
    async fn new() -> Self {
        let recorder = DeliveryRecorder::for_test();
        let around = Arc::new(OutboxContext {
            limits: Arc::new(OutboxLimits::new(1 << 30, Duration::from_secs(60), 1 << 30)),
            recorder: recorder.clone(),
            backlog: Arc::default(),
            runtime: Handle::current(),
            tracker: TaskTracker::new(),
        });
        let metrics = Arc::new(Metrics::new().unwrap());
        let index = Arc::new(Index::new(1, "pod-test".into(), metrics));
        let rooms = Rooms::new(0, index, Arc::new(Unheard), Arc::new(AtomicUsize::new(100)));
        let (queue, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(Shard::new(rooms, recorder.clone(), receiver).run());
        let mut world = World { queue, members: Vec::new(), recorder };
        for n in 0..MEMBERS {
            let member = Arc::new(Member {
                id: format!("pod-test{n:012}").into(),
                namespace: "/".into(),
                user: None,
                connected_at: SystemTime::now(),
                outbox: Outbox::new(Revision::V4, around.clone()),
                client: Weak::<Nobody>::new(),
                key: next_number(),
            });
            let rooms = [("a", 1), ("b", 2), ("s", 10)];
            let rooms =
                rooms.iter().filter(|(_, of)| n % of == 0).map(|(room, _)| Room::from(*room));
            world.tell(Message::Arrive(member.clone())).await;
            world.tell(Message::Join(member.clone(), rooms.collect(), Box::new(Silent))).await;
            world.members.push(member);
        }
        world
    }

    async fn tell(&self, message: Message) {
        assert!(self.queue.send(message).await.is_ok());
    }

    async fn publish(&self, number: usize, rooms: &[&str], except: &[&str]) {
        let publication = Arc::new(Publication {
            id: number.to_string().into(),
            namespace: "/".into(),
            rooms: rooms.iter().map(|room| Room::from(*room)).collect(),
            except: except.iter().map(|room| Room::from(*room)).collect(),
            event: "n".to_owned(),
            args: vec![Data::Number(number.into())],
            volatile: false,
            source: Source::Api,
            accepted: Instant::now(),
            traceparent: None,
        });
        let envelope = Arc::new(Envelope::seal(publication, |_| "default".into(), None));
        self.tell(Message::Publish(envelope, None)).await;
    }

    /// The numbers that each member got, once a last publication to everybody has come.
    async fn received(&self) -> Vec<Vec<usize>> {
        const LAST: usize = 1_000_000;
        for rooms in [&["a"][..], &["b"], &[]] {
            self.publish(LAST, rooms, &[]).await;
        }
        let mut all = Vec::new();
        for member in &self.members {
            let mut got: Vec<usize> = Vec::new();
            let lasts = if all.len().is_multiple_of(2) { 3 } else { 2 };
            while got.iter().filter(|n| **n == LAST).count() < lasts {
                let polled = member.outbox.poll(false).await.unwrap();
                let body = String::from_utf8(polled.body).unwrap();
                let numbers = body.split('\u{1e}').map(|packet| {
                    let json = packet.strip_prefix("42").unwrap();
                    serde_json::from_str::<(String, usize)>(json).unwrap().1
                });
                got.extend(numbers);
            }
            got.retain(|n| *n != LAST);
            all.push(got);
        }
        all
    }
}

/// Targets that overlap in every way: one room, several, with an exception, everybody.
const TARGETS: [(&[&str], &[&str]); 6] = [
    (&["a"], &[]),
    (&["a"], &["s"]),
    (&["b"], &[]),
    (&["b", "a"], &[]),
    (&["a", "b"], &["s"]),
    (&[], &[]),
];

fn rooms_of(member: usize) -> Vec<&'static str> {
    [("a", 1), ("b", 2), ("s", 10)]
        .iter()
        .filter(|(_, of)| member.is_multiple_of(*of))
        .map(|(room, _)| *room)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_room_s_messages_keep_their_order_and_come_once(
        story in prop::collection::vec((0..TARGETS.len(), any::<bool>()), 1..120),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let received = runtime.block_on(async {
            let world = World::new().await;
            for (number, (target, pause)) in story.iter().enumerate() {
                let (rooms, except) = TARGETS[*target];
                world.publish(number, rooms, except).await;
                if *pause {
                    tokio::task::yield_now().await;
                }
            }
            world.received().await
        });
        for (member, got) in received.iter().enumerate() {
            let mine = rooms_of(member);
            let due: Vec<usize> = story
                .iter()
                .enumerate()
                .filter(|(_, (target, _))| {
                    let (rooms, except) = TARGETS[*target];
                    let targeted = rooms.is_empty() || rooms.iter().any(|r| mine.contains(r));
                    targeted && !except.iter().any(|r| mine.contains(r))
                })
                .map(|(number, _)| number)
                .collect();
            let mut sorted = got.clone();
            sorted.sort_unstable();
            prop_assert_eq!(&sorted, &due, "each once, to member {}", member);
            let mut last: HashMap<&str, usize> = HashMap::new();
            for number in got {
                for room in TARGETS[story[*number].0].0.iter().filter(|r| mine.contains(*r)) {
                    let before = last.insert(room, *number);
                    prop_assert!(before < Some(*number), "{} after {:?} in {}", number, before, room);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_member_that_is_gone_before_its_chunk_is_counted() {
    let world = World::new().await;
    let lost = world.members.last().unwrap().clone();
    world.publish(1, &["a"], &[]).await;
    lost.outbox.close(
        crate::telemetry::metrics::Disconnected::Client,
        crate::connection::outbox::Ending::Abort,
    );
    world.tell(Message::Depart(lost)).await;
    while world.recorder.count(Outcome::Gone) < 1 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_hot_room_is_joined_and_does_not_grow_the_backlog_without_bound() {
    let world = World::new().await;
    for number in 0..3 * BACKLOG {
        world.publish(number, &["a"], &[]).await;
    }
    let received = world.received().await;
    assert!(received.iter().all(|got| got.len() == 3 * BACKLOG && got.is_sorted()));
}
