//! Joins that are answered with who is there.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rookery_protocol::encoded::Encoded;

use super::*;
use crate::message::RoomKey;
use crate::rooms::presence::occupant::{Occupant, Roster, TrackedOccupant};
use crate::rooms::presence::registry::PresenceRegistry;
use crate::rooms::shard::state::{ANSWERED_BYTES, JOINS};

const ROOM: &str = "shown";

/// A shard with a room with presence.
struct Presence {
    fixture: Fixture,
    registry: Arc<PresenceRegistry>,
}

impl Presence {
    fn new() -> Self {
        let registry = PresenceRegistry::new(Duration::from_secs(3));
        Presence { fixture: Fixture::empty(), registry }
    }

    async fn connect(&self, number: usize) -> Arc<Member> {
        let member = member(&id(number), &context(&self.fixture.recorder));
        self.fixture.send(ShardCommand::Connect(member.clone())).await;
        member
    }

    /// Asks for a join; the answer is an event `there` with the names of the roster.
    async fn join(
        &self,
        member: &Arc<Member>,
        answered: impl FnOnce(&Encoded) + Send + 'static,
    ) -> oneshot::Receiver<()> {
        let tracked = TrackedOccupant { occupant: occupant(0), is_shown: true };
        let (lease, _) = self.registry.acquire(&key(), 0, tracked);
        let reply: Reply = Box::new(|_, rosters| {
            let json = rosters.iter().map(|joined| joined.roster.json());
            let args = [Data::from(json.collect::<String>())];
            let answer = Encoded::event("/", "there", &args);
            answered(&answer);
            Some(answer)
        });
        let (carried_out, waits) = oneshot::channel();
        let join = Join {
            member: member.clone(),
            rooms: vec![ROOM.into()],
            interests: Vec::new(),
            leases: vec![Some(lease)],
            by_backend: false,
            reply,
            carried_out: Some(carried_out),
        };
        self.fixture.send(ShardCommand::Join(Box::new(join))).await;
        waits
    }

    /// These are there, as the members are told by the event.
    async fn tell(&self, there: &BTreeSet<usize>, events: Vec<(&str, usize)>) {
        let occupants = there.iter().map(|n| Arc::new(occupant(*n))).collect();
        let roster = Some(Roster::new(there.len(), Some(occupants)));
        let events = events.into_iter().map(|(event, n)| {
            let data = Data::from(&*name(n));
            let mut event = publication(event, &[data], &[ROOM], &[]);
            event.source = Source::Presence;
            Arc::new(EncodedPublication::new(event, None, |_| "default".into(), None))
        });
        let update = PresenceUpdate { key: key(), roster, events: events.collect() };
        self.fixture.send(ShardCommand::Presence(Arc::new(update))).await;
    }
}

fn key() -> RoomKey {
    RoomKey { namespace: "/".into(), room: ROOM.into() }
}

fn name(number: usize) -> String {
    format!("user-{number}")
}

fn occupant(number: usize) -> Occupant {
    Occupant::user(name(number).into(), None)
}

/// A burst of joins with answers of this many names, and one publication to another room behind them. Gives
/// how many joins were answered, and with how many bytes each, before it was delivered.
async fn answered_before(names: usize, burst: usize) -> (usize, usize) {
    let shard = Presence::new();
    let calm = shard.connect(burst).await;
    shard.fixture.join(&calm, vec!["calm".into()], silent()).await;
    let mut members = Vec::new();
    for number in 0..burst {
        members.push(shard.connect(number).await);
    }
    shard.tell(&(0..names).collect(), Vec::new()).await;
    while shard.fixture.queue.waiting() > 0 {
        tokio::task::yield_now().await;
    }
    let (answered, size) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let joins = async {
        let mut waits = Vec::new();
        for member in &members {
            let (answered, size) = (answered.clone(), size.clone());
            let count = move |answer: &Encoded| {
                answered.fetch_add(1, Ordering::Relaxed);
                size.store(answer.size(), Ordering::Relaxed);
            };
            waits.push(shard.join(member, count).await);
        }
        shard.fixture.publish(1, &["calm"], &[]).await;
        waits
    };
    // Without a budget that would let the shard work meanwhile.
    let waits = tokio::task::unconstrained(joins).await;
    assert_eq!(answered.load(Ordering::Relaxed), 0);
    calm.outbox.poll(false).await.unwrap();
    let before = answered.load(Ordering::Relaxed);
    for wait in waits {
        wait.await.unwrap();
    }
    assert_eq!(answered.load(Ordering::Relaxed), burst, "each is carried out in the end");
    (before, size.load(Ordering::Relaxed))
}

#[tokio::test]
async fn a_publication_does_not_wait_for_a_burst_of_joins_before_it() {
    const TURNS: usize = 3;
    let (short, _) = answered_before(1, 1000).await;
    assert!(short <= TURNS * JOINS, "{short} of 1,000 joins were carried out before");
    let (long, size) = answered_before(1000, 100).await;
    let most = TURNS * ANSWERED_BYTES.div_ceil(size);
    assert!(most < TURNS * JOINS && long <= most, "{long} of 100 joins, {size} bytes each");
}

#[derive(Clone, Debug)]
enum Step {
    /// The next member asks to join.
    Join,
    /// Somebody comes, or goes where it is there.
    Toggle(usize),
    /// Several at once.
    ToggleAll(Vec<usize>),
    /// Something else is published in the room.
    Publish,
    /// The shard works meanwhile.
    Pause,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Join),
        2 => (0..20_usize).prop_map(Step::Toggle),
        1 => prop::collection::vec(0..20_usize, 1..8).prop_map(Step::ToggleAll),
        2 => Just(Step::Pause),
        1 => Just(Step::Publish),
    ]
}

/// Who a member knows to be there, by its answer and the events that followed.
fn follow(body: &str, known: &mut Option<BTreeSet<String>>) {
    for packet in body.split('\u{1e}') {
        let json = packet.strip_prefix("42").unwrap();
        let (event, text): (String, String) = serde_json::from_str(json).unwrap();
        match (&*event, known.as_mut()) {
            ("there", None) => {
                let roster: serde_json::Value = serde_json::from_str(&text).unwrap();
                let members = roster["members"].as_array().unwrap().iter();
                let names = members.map(|member| member["user"].as_str().unwrap().to_owned());
                *known = Some(names.collect());
            }
            ("came", Some(known)) => assert!(known.insert(text), "came twice"),
            ("went", Some(known)) => assert!(known.remove(&text), "went and was not there"),
            ("n", Some(_)) => {}
            (event, known) => panic!("{event} after {known:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_member_of_a_burst_is_told_of_what_changes_after_its_answer_and_of_nothing_else(
        story in prop::collection::vec(step(), 1..120),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let shard = Presence::new();
            let (mut there, mut members, mut waits) = (BTreeSet::new(), Vec::new(), Vec::new());
            shard.tell(&there, Vec::new()).await;
            for step in story {
                let toggled = match step {
                    Step::Join => {
                        let member = shard.connect(members.len()).await;
                        waits.push(shard.join(&member, |_| {}).await);
                        members.push(member);
                        continue;
                    }
                    Step::Pause => {
                        tokio::task::yield_now().await;
                        continue;
                    }
                    Step::Publish => {
                        shard.fixture.publish_arguments(&[Data::from("")], &[ROOM], &[], None).await;
                        continue;
                    }
                    Step::Toggle(number) => BTreeSet::from([number]),
                    Step::ToggleAll(numbers) => numbers.into_iter().collect(),
                };
                let mut events = Vec::new();
                for number in toggled {
                    let came = there.insert(number) || !there.remove(&number);
                    events.push((if came { "came" } else { "went" }, number));
                }
                shard.tell(&there, events).await;
            }
            for wait in waits {
                wait.await.unwrap();
            }
            // A change that everybody is told of: nothing is under way behind it.
            there.insert(1000);
            shard.tell(&there, vec![("came", 1000)]).await;
            let due: BTreeSet<String> = there.iter().map(|n| name(*n)).collect();
            for member in members {
                let mut known = None;
                while known.as_ref() != Some(&due) {
                    let polled = member.outbox.poll(false).await.unwrap();
                    follow(std::str::from_utf8(&polled.body).unwrap(), &mut known);
                }
            }
        });
    }
}

#[tokio::test]
async fn a_member_that_is_gone_before_its_join_is_carried_out_is_no_member() {
    let shard = Presence::new();
    shard.tell(&BTreeSet::from([0]), Vec::new()).await;
    let lost = shard.connect(0).await;
    let wait = shard.join(&lost, |_| panic!("a member that is gone is not answered")).await;
    lost.set_disconnected();
    shard.fixture.send(ShardCommand::Disconnect(lost)).await;
    wait.await.unwrap();
    let (count, counted) = oneshot::channel();
    shard.fixture.publish_counted(1, &[ROOM], &[], Some(count)).await;
    assert_eq!(counted.await, Ok(0));
    let left = shard.registry.next_due();
    assert!(left.is_some(), "it leaves as one whose connection ended");
}
