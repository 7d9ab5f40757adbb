//! The other instances and Node servers, over Redis pub/sub, on the wires of Node's
//! `@socket.io/redis-adapter` (classic and sharded) and `@socket.io/redis-emitter`.
//!
//! Two connections: one only listens ([`subscriber`]), one sends ([`outgoing`], [`publisher`]); on the
//! sharded wire of a Redis Cluster, two to each primary.
//! What arrives is decoded ([`decoder`]) and handed to a queue as [`Inbound`]; who reads that queue
//! decides what becomes of it. [`wire`] is pure: bytes in, values out. All tasks run on the runtime
//! that [`Backplane::start`] is given: one of its own, so that a flood of messages does not delay
//! probes and clients.

mod admins;
pub mod audience;
pub mod bridge;
pub mod clock;
mod connect;
mod decoder;
mod heartbeat;
mod inbound;
pub mod inspection;
mod link_status;
pub mod outgoing;
pub mod peers;
pub mod presence;
mod publisher;
mod query;
pub mod questions;
pub mod room_hooks;
mod sequence;
mod subscriber;
pub mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use rookery_config as config;
use rookery_ops::critical::CriticalTasks;
use rookery_ops::throttle::{Throttle, limited};
use rookery_policy::Namespaces;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::message::{MemberInfo, PodId, Publication, PublicationId};
use crate::rooms::interest::RoomInterests;
use crate::telemetry::metrics::Metrics;
use crate::wakeups::gathered;
pub use bridge::CompiledBridge;
use clock::Clock;
use connect::Connector;
pub use connect::{BadRedis, CommandConnection};
use decoder::Decoder;
use heartbeat::Heartbeat;
pub use inbound::{INBOUND_QUEUE, Inbound};
use link_status::LinkStatus;
use outgoing::queues::{NodeQueues, OutgoingQueues};
use outgoing::{NotQueued, Outgoing, OutgoingReceiver};
use peers::Peers;
use questions::Questions;
use wire::channels::Channels;
use wire::node::NodeWire;
use wire::pod_messages::Answer;
pub use wire::pod_messages::RolloutState;
use wire::replies::BroadcastAnswer;

/// A connection for commands, while one is up.
type Commands = Mutex<Option<MultiplexedConnection>>;

/// The rooms to subscribe on the configured wire: none yet. A room stays subscribed for `linger` after
/// its last member left.
pub fn room_interests(
    config: &config::Redis,
    namespaces: &Arc<Namespaces>,
    linger: Duration,
) -> Arc<RoomInterests> {
    RoomInterests::with(linger, NodeWire::of(config).member_channels(), namespaces.clone())
}

/// What a [`Backplane`] is made of.
pub struct BackplaneParts {
    /// The section `redis` of the configuration.
    pub config: config::Redis,
    /// The name of this pod, by which the other pods know it.
    pub pod: PodId,
    /// The namespaces that clients may connect to.
    pub namespaces: Arc<Namespaces>,
    /// The rooms whose channels are to be subscribed.
    pub interests: Arc<RoomInterests>,
    /// The counters of messages, reconnects, and of what was not sent or dropped.
    pub metrics: Arc<Metrics>,
    /// The compiled entries of `redis.bridge`.
    pub bridge: Vec<CompiledBridge>,
    /// This instance's place in a rollout; `None` where it is in none.
    pub rollout: Option<RolloutState>,
}

/// What the tasks of a [`Backplane`] run on and end with.
#[derive(Clone)]
pub struct Tasks {
    /// The runtime that all tasks of the backplane run on.
    pub runtime: Handle,
    /// Tracks the tasks, so that the end of the process can wait for them.
    pub tracker: TaskTracker,
    /// Tells the tasks to end.
    pub shutdown: CancellationToken,
    /// Learns of a task that panics, which ends the process.
    pub critical: CriticalTasks,
}

/// Connects this pod with the other pods and with Node servers. Cloning is shallow.
///
/// It lives whether or not Redis does: a broken connection is made again with growing pauses, and
/// all subscriptions with it. Nothing here waits for Redis, except what says so.
#[derive(Clone)]
pub struct Backplane {
    parts: Arc<Parts>,
}

/// What a [`Backplane`] and its handles share.
struct Parts {
    pod: PodId,
    namespaces: Arc<Namespaces>,
    channels: Channels,
    connector: Connector,
    /// `redis.prefix`, with which keys begin.
    prefix: String,
    /// Where heartbeats go. Where Redis refuses these, it refuses to be a backplane.
    pods_channel: String,
    outgoing: Arc<OutgoingQueues>,
    status: Arc<LinkStatus>,
    heartbeat: Arc<Heartbeat>,
    clock: Arc<Clock>,
    commands: Arc<Commands>,
    /// Questions to pods: who answered, and what.
    questions: Arc<Questions<(String, Answer)>>,
    /// Questions to Node servers.
    node_questions: Arc<Questions<Vec<MemberInfo>>>,
    /// Broadcasts whose recipients' acknowledgements are waited for.
    broadcasts: Arc<Questions<BroadcastAnswer>>,
    metrics: Arc<Metrics>,
    /// Throttles the lines about publications that are not sent.
    unsent: Throttle,
}

impl Backplane {
    /// Starts to connect, and returns at once. The receiver gets what arrives. The tasks end with
    /// `tasks.shutdown`; what waits to be sent is then sent within a second.
    ///
    /// # Errors
    /// Where the configuration of Redis cannot be used.
    pub fn start(
        parts: BackplaneParts,
        tasks: &Tasks,
    ) -> Result<(Backplane, mpsc::Receiver<Inbound>), BadRedis> {
        let BackplaneParts { config, pod, namespaces, interests, metrics, bridge, rollout } = parts;
        let channels = Channels::new(NodeWire::of(&config), &config.prefix, pod.clone());
        let clock = Arc::default();
        let (connector, watches) = Connector::new(&config, &metrics, &clock, channels.pods())?;
        let (outgoing, queue) = queues(&connector, channels.wire());
        let outgoing = Arc::new(outgoing);
        let (inbound, received) = mpsc::channel(INBOUND_QUEUE);
        let status =
            Arc::new(LinkStatus::new(metrics.clone(), interests.clone(), tasks.shutdown.clone()));
        let peers = Arc::new(Peers::default());
        let shared = Parts {
            heartbeat: Arc::new(Heartbeat::new(
                pod.clone(),
                channels.clone(),
                outgoing.clone(),
                peers.clone(),
                rollout,
                metrics.clone(),
            )),
            pod,
            namespaces,
            prefix: config.prefix.clone(),
            pods_channel: channels.pods(),
            channels: channels.clone(),
            connector,
            outgoing,
            status,
            clock,
            commands: Arc::default(),
            questions: Arc::default(),
            node_questions: Arc::default(),
            broadcasts: Arc::default(),
            unsent: Throttle::new(&metrics.log_lines_suppressed),
            metrics,
        };
        let decoder = Arc::new(Decoder::new(&shared, bridge, inbound));
        let backplane = Backplane { parts: Arc::new(shared) };
        for watch in watches {
            let asking = watch.run(tasks.shutdown.clone());
            tasks.spawn("a task that asks where Redis is", asking);
        }
        backplane.spawn(tasks, queue, interests, decoder);
        Ok((backplane, received))
    }

    /// Starts what publishes and subscribes. `queue` is the end of the only queue, where there is
    /// one.
    fn spawn(
        &self,
        tasks: &Tasks,
        queue: Option<(Arc<Outgoing>, OutgoingReceiver)>,
        interests: Arc<RoomInterests>,
        decoder: Arc<Decoder>,
    ) {
        let (parts, shutdown) = (&self.parts, tasks.shutdown.clone());
        let publish = "the task that publishes to Redis";
        let subscribe = "the task that subscribes to Redis";
        match (queue, parts.connector.cluster().cloned()) {
            (None, Some(cluster)) => {
                let publishers =
                    publisher::nodes::NodePublishers::new(parts.clone(), cluster.clone());
                tasks.spawn(publish, publishers.run(shutdown.clone()));
                let subscriber =
                    subscriber::cluster::ClusterSubscriber::new(parts, cluster, interests, decoder);
                tasks.spawn(subscribe, subscriber.run(shutdown.clone()));
            }
            (Some((outgoing, queue)), _) => {
                let publisher = publisher::Publisher::new(parts, outgoing, queue);
                tasks.spawn(publish, publisher.run(shutdown.clone()));
                let subscriber = subscriber::Subscriber::new(parts, interests, decoder);
                tasks.spawn(subscribe, subscriber.run(shutdown.clone()));
            }
            // Only a Cluster has no single queue.
            (None, None) => {}
        }
        let heartbeat = parts.heartbeat.clone().run(parts.status.clone(), shutdown);
        tasks.spawn("the heartbeat to other instances", heartbeat);
    }

    /// Sends a publication to the other instances. True: it was handed to a live connection, and
    /// Redis takes what is published on its channel, as far as is known. False: it does not reach
    /// them, and is counted as unsent. Never waits.
    pub fn publish(&self, publication: &Publication) -> bool {
        let Parts { outgoing, clock, channels, pod, metrics, .. } = &*self.parts;
        let channel = channels.of(publication);
        let is_refused = outgoing.refuses([&channel, &self.parts.pods_channel]);
        let queued = outgoing.push_publication(publication, channel, || {
            let origin = clock.to_redis(publication.accepted);
            channels.wire().broadcast(pod, publication, origin)
        });
        if let Err(why) = queued {
            metrics.redis_unsent.inc();
            self.log_unsent(publication, why);
        }
        // What Redis refuses is counted when it answers; it may be permitted again by then.
        queued.is_ok() && !is_refused
    }

    /// That no connection is up is logged when it is lost.
    fn log_unsent(&self, publication: &Publication, why: NotQueued) {
        if why == NotQueued::Closed {
            return;
        }
        let member = match &publication.id {
            PublicationId::Client { member, .. } => Some(&**member),
            PublicationId::Text(_) => None,
        };
        limited!(
            self.parts.unsent,
            warn,
            source = publication.source.label(),
            namespace = &*publication.namespace,
            member,
            reason = %why,
            "a publication does not reach other instances"
        );
    }

    /// Whether both connections are up and all rooms are subscribed.
    pub fn is_up(&self) -> bool {
        self.parts.status.is_up()
    }

    /// Whether the server that Redis' address leads to is a replica: it can be reached, but what is
    /// published there does not reach the cluster, and it refuses writes.
    pub fn is_replica(&self) -> bool {
        self.parts.status.is_replica()
    }

    /// Whether a heartbeat of this pod came back from Redis.
    pub fn hears_itself(&self) -> bool {
        self.parts.status.has_heard_itself()
    }

    /// A connection for commands about a key, while one is up. Its answers are waited for at most
    /// 5 s.
    pub fn commands(&self, key: &str) -> Option<CommandConnection> {
        let Parts { connector, commands, .. } = &*self.parts;
        match connector.cluster() {
            Some(cluster) if cluster.map().is_empty() => None,
            Some(cluster) => Some(CommandConnection::to_owner(cluster.clone(), key.as_bytes())),
            None => commands.lock().clone().map(CommandConnection::from),
        }
    }

    /// The name of this pod.
    pub fn pod(&self) -> &PodId {
        &self.parts.pod
    }

    /// The names of the other pods that are alive.
    pub fn peers(&self) -> Vec<String> {
        self.parts.heartbeat.peers().alive(Instant::now())
    }

    /// This instance's place in a rollout, and those of the other instances that are alive, by
    /// their pods; `None` where this one is in none.
    pub fn rollout(&self) -> Option<(RolloutState, Vec<(String, RolloutState)>)> {
        let own = self.parts.heartbeat.rollout()?;
        Some((own, self.parts.heartbeat.peers().rollout_states(Instant::now())))
    }

    /// Resolves when Redis was connected, or was lost, since the last call on the receiver.
    pub fn follow_link(&self) -> watch::Receiver<bool> {
        self.parts.status.subscribe()
    }

    /// Whether every other instance must have been heard since the link to Redis is up.
    pub fn has_heard_all(&self) -> bool {
        self.parts.status.up_for().is_some_and(|up_for| up_for > peers::SILENCE)
    }

    /// Tells the others that this instance was told to stop, at `when` (milliseconds since 1970).
    pub fn announce_shutdown(&self, when: u64) {
        self.parts.heartbeat.announce_shutdown(when);
    }
}

/// The queues of what is to be sent: one for each primary on the sharded wire of a Cluster, else one,
/// with the end that is read.
fn queues(
    connector: &Connector,
    wire: NodeWire,
) -> (OutgoingQueues, Option<(Arc<Outgoing>, OutgoingReceiver)>) {
    match (connector.cluster(), wire) {
        (Some(cluster), NodeWire::Sharded(_)) => {
            (OutgoingQueues::ByNode(NodeQueues::new(cluster.clone())), None)
        }
        _ => {
            let (outgoing, queue) = Outgoing::new();
            (OutgoingQueues::One(outgoing.clone()), Some((outgoing, queue)))
        }
    }
}

impl Tasks {
    /// Starts a task without which the process is of no use.
    pub fn spawn(&self, name: &str, task: impl Future<Output = ()> + Send + 'static) {
        let (critical, name) = (self.critical.clone(), name.to_owned());
        let shutdown = self.shutdown.clone();
        let watched = async move { critical.watch(name, &shutdown, task).await };
        self.tracker.spawn_on(gathered(watched), &self.runtime);
    }
}

impl fmt::Debug for Backplane {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Backplane")
            .field("pod", &self.parts.pod)
            .field("up", &self.is_up())
            .finish()
    }
}
