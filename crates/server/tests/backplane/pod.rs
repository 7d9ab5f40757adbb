//! A [`Pod`]: backplane, broker and one shard with real members, and what arrives at them.

mod shard;

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rookery_config as config;
use rookery_ops::critical::CriticalTasks;
use rookery_policy::Namespaces;
use rookery_protocol::{Data, Parser, Revision, Room};
use rookery_server::backplane::{self, Backplane, BackplaneParts, CompiledBridge, Inbound, Tasks};
use rookery_server::broker::{Broker, BrokerParts};
use rookery_server::connection::outbox::{Outbox, OutboxContext, OutboxLimits};
use rookery_server::message::{PodId, Publication, RoomKey, Selector, Source};
use rookery_server::rooms::interest::{Interest, RoomInterests};
use rookery_server::rooms::local::LocalRooms;
use rookery_server::rooms::member::Member;
use rookery_server::rooms::presence::occupant::{JoinedRoster, Occupant, TrackedOccupant};
use rookery_server::rooms::shard::Reply;
use rookery_server::rooms::statistics::RoomStatistics;
use rookery_server::telemetry::latency::Latency;
use rookery_server::telemetry::metrics::Metrics;
use rookery_server::telemetry::trace::Tracer;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::redis_server::RedisServer;
use super::{room_hooks, until};
pub use shard::ShardControl;
use shard::start_shard;

/// Commands that may wait for the shard, where a test does not say it.
pub const QUEUE: usize = 16;

/// How long somebody whose connection ended stays present.
pub const LEAVE_DELAY: Duration = Duration::from_millis(300);

/// What the names of rooms begin with that have hooks and no presence.
pub const HOOKS_ONLY: &str = "hooked";

/// `presence.max`.
pub const MAX_PRESENT: u32 = 5;

/// One pod.
pub struct Pod {
    pub backplane: Backplane,
    pub broker: Broker,
    pub interests: Arc<RoomInterests>,
    pub rooms: LocalRooms,
    pub metrics: Arc<Metrics>,
    pub shutdown: CancellationToken,
    pub tracker: TaskTracker,
    pub shard: Arc<ShardControl>,
    context: Arc<OutboxContext>,
    received: Arc<Mutex<Vec<Publication>>>,
}

impl Pod {
    /// A pod that starts to connect.
    pub fn new(name: &str, redis: &RedisServer) -> Pod {
        Pod::lingering(name, redis, Duration::from_secs(30))
    }

    /// One that connects to this URL.
    pub fn at(name: &str, url: &str) -> Pod {
        Pod::configured(name, config::Redis::at(url.to_owned()))
    }

    /// One with this configuration of Redis.
    pub fn configured(name: &str, redis: config::Redis) -> Pod {
        Pod::start(name, redis, Duration::from_secs(30))
    }

    /// One whose rooms stay subscribed for another time.
    pub fn lingering(name: &str, redis: &RedisServer, linger: Duration) -> Pod {
        Pod::start(name, config::Redis::at(redis.url()), linger)
    }

    /// One with this configuration, whose rooms stay subscribed for another time.
    pub fn start(name: &str, config: config::Redis, linger: Duration) -> Pod {
        Pod::with_queue(name, config, linger, QUEUE)
    }

    /// One for whose shard `queue` commands may wait.
    pub fn with_queue(name: &str, config: config::Redis, linger: Duration, queue: usize) -> Pod {
        Pod::with_backend(name, config, (linger, queue), None)
    }

    /// One that tells this backend of every room.
    pub fn with_backend(
        name: &str,
        config: config::Redis,
        (linger, queue): (Duration, usize),
        backend: Option<&config::Backend>,
    ) -> Pod {
        let (metrics, tracker) = (Arc::new(Metrics::new().unwrap()), TaskTracker::new());
        let namespaces = Namespaces::compile(&["/", "/admin"]).unwrap();
        let namespaces = Arc::new(namespaces);
        let interests = backplane::room_interests(&config, &namespaces, linger);
        let pod = PodId::from(name);
        let latency = Latency::new(1, &Default::default(), name, &metrics);
        let (rooms, shard) = start_shard(&pod, &interests, &latency, &metrics, queue);
        let context = Arc::new(OutboxContext {
            parser: Parser::Json,
            deflate: None,
            limits: Arc::new(OutboxLimits::new(1 << 30, Duration::from_secs(60), 1 << 30)),
            recorder: latency.recorder(0).clone(),
            backlog: Arc::default(),
            runtime: Handle::current(),
            tracker: tracker.clone(),
        });
        let tasks = Tasks {
            runtime: Handle::current(),
            tracker: tracker.clone(),
            shutdown: CancellationToken::new(),
            critical: CriticalTasks::default(),
        };
        let parts = BackplaneParts {
            config,
            pod,
            namespaces,
            interests: interests.clone(),
            metrics: metrics.clone(),
            bridge: vec![bridge()],
            rollout: None,
        };
        let (backplane, inbound) = Backplane::start(parts, &tasks).unwrap();
        let broker = Broker::new(BrokerParts {
            rooms: rooms.clone(),
            statistics: RoomStatistics::new(rooms.clone(), latency, tracker.clone()),
            backplane: Some(backplane.clone()),
            refuse_when_down: false,
            room_hooks: backend.map(|backend| room_hooks::of_pod(backend, &metrics, &tasks)),
            presence_max: MAX_PRESENT,
            metrics: metrics.clone(),
            tracer: Tracer::off(),
        });
        let received = Arc::default();
        let presence = broker.clone().follow_presence(tasks.shutdown.clone());
        tasks.spawn("presence", presence);
        broker.spawn_inbound(recorded(inbound, Arc::clone(&received)), tasks.clone());
        let shutdown = tasks.shutdown;
        Pod {
            backplane,
            broker,
            interests,
            rooms,
            metrics,
            shutdown,
            tracker,
            shard,
            context,
            received,
        }
    }

    /// A pod that is connected.
    pub async fn up(name: &str, redis: &RedisServer) -> Pod {
        let pod = Pod::new(name, redis);
        pod.is_up().await;
        pod
    }

    pub async fn is_up(&self) {
        until("the pod is connected to Redis", async || self.backplane.is_up()).await;
    }

    /// Subscribes a room, for as long as the interest is kept.
    pub async fn subscribe(&self, room: &str) -> Interest {
        let (interest, confirmed) = self.interests.acquire(&RoomKey::new("/", room));
        if let Some(confirmed) = confirmed {
            confirmed.await;
        }
        interest
    }

    pub fn publish(&self, rooms: &[&str], event: &str) -> bool {
        self.backplane.publish(&publication(rooms, event))
    }

    /// Waits until an event arrives.
    pub async fn gets(&self, event: &str) {
        let has = async || self.events().iter().any(|e| e == event);
        until(&format!("{event} arrives"), has).await;
    }

    /// What other servers published, in order.
    pub fn received(&self) -> Vec<Publication> {
        self.received.lock().clone()
    }

    /// The events of [`Pod::received`].
    pub fn events(&self) -> Vec<String> {
        self.received.lock().iter().map(|p| p.event.clone()).collect()
    }

    /// `rookery_redis_messages_total{direction="in"}`.
    pub fn messages_in(&self) -> u64 {
        self.messages("in")
    }

    /// `rookery_redis_messages_total{direction="out"}`.
    pub fn messages_out(&self) -> u64 {
        self.messages("out")
    }

    fn messages(&self, direction: &str) -> u64 {
        let families = self.metrics.registry().gather();
        let family = families.iter().find(|f| f.name() == "rookery_redis_messages_total").unwrap();
        let mut metrics = family.get_metric().iter();
        let counted = metrics.find(|m| m.get_label().iter().any(|l| l.value() == direction));
        counted.unwrap().get_counter().get_value() as u64
    }

    /// Adds a member that is in these rooms.
    pub async fn add(&self, id: &str, user: Option<&str>, rooms: &[&str]) -> Arc<Member> {
        let outbox = Outbox::new(Revision::V4, self.context.clone());
        let member = Arc::new_cyclic(|this: &Weak<Member>| {
            let (this, rooms) = (this.clone(), self.rooms.clone());
            let dismiss = Box::new(move |_| {
                if let Some(member) = this.upgrade() {
                    drop(rooms.disconnect(0, member));
                }
            });
            Member::new(id.into(), "/".into(), user.map(Arc::from), outbox, dismiss)
        });
        if let Some(wait) = self.rooms.connect(0, member.clone()) {
            wait.await;
        }
        let rooms: Vec<Room> = rooms.iter().map(|room| Room::from(*room)).collect();
        self.rooms.join_selected("/", &Selector::Member(id.into()), &rooms).await;
        member
    }

    /// Adds a member of a user.
    pub async fn connect(&self, id: &str, user: &str) -> Arc<Member> {
        let outbox = Outbox::new(Revision::V4, self.context.clone());
        let of: Arc<str> = user.into();
        let described = move |room: &str| {
            let occupant = Occupant::user(of.clone(), None);
            Some(TrackedOccupant { occupant, is_shown: !room.starts_with(HOOKS_ONLY) })
        };
        let member =
            Member::new(id.into(), "/".into(), Some(user.into()), outbox, Box::new(|_| {}));
        let member = Arc::new(member.described_by(Box::new(described)));
        if let Some(wait) = self.rooms.connect(0, member.clone()) {
            wait.await;
        }
        member
    }

    /// Makes a member join a room with presence; gives who its answer says is there.
    pub async fn enter(&self, member: &Arc<Member>, room: &str) -> Vec<String> {
        let (answer, answered) = oneshot::channel();
        let reply: Reply = Box::new(move |_, joined: &[JoinedRoster]| {
            let roster = joined.first().map(|joined| joined.roster.clone()).unwrap_or_default();
            let occupants = roster.occupants.iter().flat_map(|all| all.iter());
            let users = occupants.filter_map(|occupant| occupant.user.as_deref());
            let _ = answer.send(users.map(str::to_owned).collect());
            None
        });
        if let Some(wait) = self.rooms.join(0, member.clone(), vec![room.into()], reply) {
            wait.await;
        }
        answered.await.unwrap()
    }

    /// The connection of a member ends.
    pub async fn lose(&self, member: Arc<Member>) {
        if let Some(wait) = self.rooms.disconnect(0, member) {
            wait.await;
        }
    }

    /// A member leaves a room.
    pub async fn leave(&self, member: &Arc<Member>, room: &str) {
        let reply: Reply = Box::new(|_, _: &[JoinedRoster]| None);
        if let Some(wait) = self.rooms.leave(0, member.clone(), vec![room.into()], reply) {
            wait.await;
        }
    }

    /// Who is in a room, as the HTTP API says.
    pub async fn present(&self, room: &str) -> Vec<String> {
        let answer = self.broker.presence(&RoomKey::new("/", room)).await;
        let occupants = answer.roster.occupants.iter().flat_map(|all| all.iter());
        occupants.filter_map(|occupant| Some(occupant.user.as_deref()?.to_owned())).collect()
    }

    /// How many joins and leaves the members here were told of.
    pub fn told(&self) -> (u64, u64) {
        let presence = &self.metrics.presence;
        (presence.joins.get(), presence.leaves.get())
    }

    /// The rooms of a member; `None` where there is no such member.
    pub async fn rooms_of(&self, id: &str) -> Option<Vec<String>> {
        let members = self.rooms.members("/", &Selector::Member(id.into())).await;
        let rooms = members.into_iter().next()?.rooms;
        Some(rooms.iter().map(|room| room.to_string()).collect())
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// A publication with text and binary.
pub fn publication(rooms: &[&str], event: &str) -> Publication {
    Publication {
        id: "id".into(),
        namespace: "/".into(),
        rooms: rooms.iter().map(|room| Room::from(*room)).collect(),
        except: Default::default(),
        event: event.into(),
        args: vec![Data::from("x"), Data::Binary(vec![0, 255].into())].into(),
        volatile: false,
        compress: true,
        source: Source::Api,
        address: None,
        accepted: Instant::now(),
        traceparent: None,
    }
}

fn bridge() -> CompiledBridge {
    CompiledBridge {
        channel: "bridge".into(),
        namespace: "/".into(),
        route: Arc::new(|data| match data.get("room").and_then(Data::as_str) {
            Some(room) => Ok((room.into(), "bridged".into(), vec![data.clone()])),
            None => Err("no room".into()),
        }),
    }
}

/// Records publications on their way to the broker.
fn recorded(
    mut inbound: mpsc::Receiver<Inbound>,
    received: Arc<Mutex<Vec<Publication>>>,
) -> mpsc::Receiver<Inbound> {
    let (to_broker, recorded) = mpsc::channel(1);
    tokio::spawn(async move {
        while let Some(message) = inbound.recv().await {
            if let Inbound::Publication(publication, _)
            | Inbound::Bridge(publication, _)
            | Inbound::WithAcks { publication, .. } = &message
            {
                received.lock().push(publication.clone());
            }
            if to_broker.send(message).await.is_err() {
                return;
            }
        }
    });
    recorded
}
