//! A whole shard, with members on polling.

mod joins;

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use proptest::prelude::*;
use rookery_protocol::{Data, Room};
use tokio::sync::oneshot;

use super::state::CHUNK;
use super::*;
use crate::connection::outbox::Ending;
use crate::message::{Publication, Source};
use crate::rooms::encoded_publication::EncodedPublication;
use crate::rooms::index::RoomIndex;
use crate::rooms::member::Member;
use crate::rooms::presence::occupant::JoinedRoster;
use crate::rooms::shares::MAX_HELD;
use crate::rooms::testing::{context, member};
use crate::telemetry::metrics::{Disconnected, Metrics, Outcome};

/// More than one chunk.
const MEMBERS: usize = CHUNK + 40;

struct Fixture {
    queue: ShardQueue,
    members: Vec<Arc<Member>>,
    recorder: Arc<DeliveryRecorder>,
}

fn silent() -> Reply {
    Box::new(|_, _| None)
}

impl Fixture {
    /// A shard without members.
    fn empty() -> Self {
        let recorder = DeliveryRecorder::for_test();
        let metrics = Arc::new(Metrics::new().unwrap());
        let index = Arc::new(RoomIndex::new(1, "pod-test".into(), metrics));
        let rooms = ShardRooms::new(0, index, Arc::new(AtomicUsize::new(100)));
        let (queue, shard) = Shard::new(rooms, recorder.clone());
        tokio::spawn(shard.run());
        Fixture { queue, members: Vec::new(), recorder }
    }

    /// Members of `a`; every second is in `b` as well, every tenth in `s`.
    async fn new() -> Self {
        let mut fixture = Fixture::empty();
        let context = context(&fixture.recorder);
        for n in 0..MEMBERS {
            let member = member(&id(n), &context);
            let rooms = rooms_of(n).into_iter().map(Room::from).collect();
            fixture.send(ShardCommand::Connect(member.clone())).await;
            fixture.join(&member, rooms, silent()).await;
            fixture.members.push(member);
        }
        fixture
    }

    async fn send(&self, command: ShardCommand) {
        self.queue.send(command).await;
    }

    /// The member of a room of its own, once the shard has nothing to do.
    async fn calm(&self) -> Arc<Member> {
        let calm = member(&id(MEMBERS), &context(&self.recorder));
        self.send(ShardCommand::Connect(calm.clone())).await;
        self.join(&calm, vec!["calm".into()], silent()).await;
        while self.queue.waiting() > 0 {
            tokio::task::yield_now().await;
        }
        calm
    }

    async fn join(&self, member: &Arc<Member>, rooms: Vec<Room>, reply: Reply) {
        let member = member.clone();
        let (interests, leases) = (Vec::new(), Vec::new());
        let (by_backend, carried_out) = (false, None);
        let join = Join { member, rooms, interests, leases, by_backend, reply, carried_out };
        self.send(ShardCommand::Join(Box::new(join))).await;
    }

    async fn publish(&self, number: usize, rooms: &[&str], except: &[&str]) {
        self.publish_counted(number, rooms, except, None).await;
    }

    async fn publish_counted(
        &self,
        number: usize,
        rooms: &[&str],
        except: &[&str],
        count: Option<oneshot::Sender<usize>>,
    ) {
        let args = [Data::Number(number.into())];
        self.publish_arguments(&args, rooms, except, count).await;
    }

    async fn publish_arguments(
        &self,
        args: &[Data],
        rooms: &[&str],
        except: &[&str],
        count: Option<oneshot::Sender<usize>>,
    ) {
        let publication = publication("n", args, rooms, except);
        let encoded = EncodedPublication::new(publication, None, |_| "default".into(), None);
        self.send(ShardCommand::Publish(Arc::new(encoded), count)).await;
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

fn publication(event: &str, args: &[Data], rooms: &[&str], except: &[&str]) -> Publication {
    Publication {
        id: "id".into(),
        namespace: "/".into(),
        rooms: rooms.iter().map(|room| Room::from(*room)).collect(),
        except: except.iter().map(|room| Room::from(*room)).collect(),
        event: event.to_owned(),
        args: args.into(),
        volatile: false,
        compress: true,
        source: Source::Api,
        address: None,
        accepted: Instant::now(),
        traceparent: None,
    }
}

fn id(member: usize) -> String {
    format!("pod-test{member:012}")
}

/// Targets that overlap in every way: one room, several, everybody; with a room or members
/// excepted.
const TARGETS: [(&[&str], &[&str]); 12] = [
    (&["a"], &[]),
    (&["a"], &["s"]),
    (&["b"], &[]),
    (&["b", "a"], &[]),
    (&["a", "b"], &["s"]),
    (&[], &[]),
    (&["a"], &["pod-test000000000000"]),
    (&["a"], &["pod-test000000000001", "pod-test000000000551", "of-another-pod-00001"]),
    (&["b", "a"], &["pod-test000000000002"]),
    (&["a"], &["pod-test000000000003", "pod-test000000000003"]),
    (&["pod-test000000000004"], &["pod-test000000000004", "pod-test000000000004"]),
    (&["pod-test000000000004"], &["pod-test000000000005"]),
];

fn rooms_of(member: usize) -> Vec<&'static str> {
    let rooms = [("a", 1), ("b", 2), ("s", 10)];
    rooms.iter().filter(|(_, of)| member.is_multiple_of(*of)).map(|(room, _)| *room).collect()
}

fn is_recipient(member: usize, (rooms, except): (&[&str], &[&str])) -> bool {
    let (mine, id) = (rooms_of(member), id(member));
    let is_in = |room: &&str| mine.contains(room) || **room == *id;
    let targeted = rooms.is_empty() || rooms.iter().any(is_in);
    targeted && !except.iter().any(|room| mine.contains(room) || *room == id)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_room_s_messages_arrive_in_order_and_once(
        story in prop::collection::vec((0..TARGETS.len(), any::<bool>()), 1..120),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let received = runtime.block_on(async {
            let fixture = Fixture::new().await;
            for (number, (target, pause)) in story.iter().enumerate() {
                let (rooms, except) = TARGETS[*target];
                fixture.publish(number, rooms, except).await;
                if *pause {
                    tokio::task::yield_now().await;
                }
            }
            fixture.received().await
        });
        for (member, got) in received.iter().enumerate() {
            let due: Vec<usize> = story
                .iter()
                .enumerate()
                .filter(|(_, (target, _))| is_recipient(member, TARGETS[*target]))
                .map(|(number, _)| number)
                .collect();
            let mut sorted = got.clone();
            sorted.sort_unstable();
            prop_assert_eq!(&sorted, &due, "each once, to member {}", member);
            let mine = rooms_of(member);
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
    let fixture = Fixture::new().await;
    let lost = fixture.members.last().unwrap().clone();
    fixture.publish(1, &["a"], &[]).await;
    lost.outbox.close(Disconnected::Client, Ending::Abort);
    fixture.send(ShardCommand::Disconnect(lost)).await;
    while fixture.recorder.count(Outcome::Gone) < 1 {
        tokio::task::yield_now().await;
    }
}

/// Recipients, and what became of the deliveries to them.
fn ledger(recorder: &DeliveryRecorder) -> (u64, u64) {
    let outcomes = Outcome::ALL.iter().map(|outcome| recorder.count(*outcome));
    (recorder.recipients(), outcomes.sum())
}

#[tokio::test]
async fn a_member_that_leaves_before_its_chunk_is_counted() {
    let mut fixture = Fixture::new().await;
    let leaver = fixture.members.pop().unwrap();
    fixture.publish(1, &["a"], &[]).await;
    fixture.publish(2, &["a"], &[]).await;
    let reply = silent();
    let member = leaver.clone();
    fixture.send(ShardCommand::Leave { member, rooms: vec!["a".into()], reply }).await;
    while fixture.recorder.count(Outcome::Gone) < 2 {
        tokio::task::yield_now().await;
    }
    let received = fixture.received().await;
    assert!(received.iter().all(|got| *got == [1, 2]));
    // What it gets as a member of the namespace.
    leaver.outbox.poll(false).await.unwrap();
    let (recipients, outcomes) = ledger(&fixture.recorder);
    assert_eq!(recipients, outcomes);
}

#[tokio::test]
async fn a_hot_room_is_joined_and_does_not_grow_the_backlog_without_bound() {
    let fixture = Fixture::new().await;
    let many = BACKLOG + 4 * TAKEN;
    for number in 0..many {
        fixture.publish(number, &["a"], &[]).await;
    }
    let received = fixture.received().await;
    assert!(received.iter().all(|got| got.len() == many && got.is_sorted()));
}

/// As many large publications to a big room as one channel may hold, and one to another room behind
/// them: that one is delivered after a few turns, when most of the others still wait.
#[tokio::test]
async fn a_publication_does_not_wait_for_those_of_a_busy_room_before_it() {
    let fixture = Fixture::new().await;
    let calm = fixture.calm().await;
    let large = [Data::from("x".repeat(4 << 10))];
    let publish = async {
        for _ in 0..MAX_HELD {
            fixture.publish_arguments(&large, &["a"], &[], None).await;
        }
        fixture.publish(1, &["calm"], &[]).await;
    };
    // Without a budget that would let the shard work meanwhile.
    tokio::task::unconstrained(publish).await;
    assert_eq!(fixture.queue.waiting(), MAX_HELD + 1);
    calm.outbox.poll(false).await.unwrap();
    let busy = fixture.members[0].outbox.poll(false).await.unwrap();
    let delivered = busy.body.split(|byte| *byte == 0x1e).count();
    assert!(delivered < MAX_HELD / 4, "{delivered} of {MAX_HELD} were delivered before");
}

/// Large publications that become one write for each member: a chunk is bounded in bytes too, so one to
/// another room is delivered before most members of the big room were served.
#[tokio::test]
async fn a_publication_does_not_wait_for_large_writes_to_all_of_a_big_room() {
    let fixture = Fixture::new().await;
    let calm = fixture.calm().await;
    let large = [Data::from("x".repeat(100 << 10))];
    fixture.publish_arguments(&large, &["a"], &[], None).await;
    fixture.publish_arguments(&large, &["a"], &[], None).await;
    fixture.publish(1, &["calm"], &[]).await;
    calm.outbox.poll(false).await.unwrap();
    let served = fixture.members.iter().filter(|member| member.outbox.queued_bytes() > 0).count();
    assert!(served < MEMBERS / 8, "{served} of {MEMBERS} members were served before");
}

#[tokio::test]
async fn a_publisher_learns_how_many_members_its_publication_goes_to() {
    let fixture = Fixture::new().await;
    for (rooms, except) in TARGETS {
        let (count, counted) = oneshot::channel();
        fixture.publish_counted(0, rooms, except, Some(count)).await;
        let due = (0..MEMBERS).filter(|member| is_recipient(*member, (rooms, except))).count();
        assert_eq!(counted.await, Ok(due), "{rooms:?} except {except:?}");
    }
}

#[tokio::test]
async fn a_disconnect_that_overtakes_the_connect_leaves_no_member_behind() {
    let fixture = Fixture::empty();
    let ghost = member(&id(0), &context(&fixture.recorder));
    ghost.set_disconnected();
    fixture.send(ShardCommand::Disconnect(ghost.clone())).await;
    fixture.send(ShardCommand::Connect(ghost.clone())).await;
    let (answer, answered) = oneshot::channel();
    let reply = Box::new(move |change, _: &[JoinedRoster]| {
        let _ = answer.send(change);
        None
    });
    fixture.join(&ghost, vec!["a".into()], reply).await;
    assert!(answered.await.is_err(), "a join of a member that is gone is not answered");
    for rooms in [&["a"][..], &[]] {
        let (count, counted) = oneshot::channel();
        fixture.publish_counted(1, rooms, &[], Some(count)).await;
        assert_eq!(counted.await, Ok(0));
    }
}

#[tokio::test]
async fn a_shard_that_panics_is_reported() {
    let critical = rookery_ops::critical::CriticalTasks::default();
    let (metrics, recorder) = (Arc::new(Metrics::new().unwrap()), DeliveryRecorder::for_test());
    let index = Arc::new(RoomIndex::new(1, "pod-test".into(), metrics));
    let rooms = ShardRooms::new(0, index, Arc::new(AtomicUsize::new(100)));
    let (queue, shard) = Shard::new(rooms, recorder);
    queue.send(ShardCommand::Query(Box::new(|_| panic!("as it may")))).await;
    critical.watch("shard 0", &tokio_util::sync::CancellationToken::new(), shard.run()).await;
    assert_eq!(critical.failed().await.to_string(), "shard 0 panicked");
}
