//! The [`Link`]: one pod's connection to the others, through Redis.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::bridge::CompiledBridge;
use super::channels::Channels;
use super::clock::Clock;
use super::connect::{self, BadUrl};
use super::inbound::Routes;
use super::peers::{Answer, BEAT, Message, Peers, Questions, SILENCE};
use super::queue::{Kind, Queue};
use super::subscriptions::{Hold, Subscriptions};
use super::{classic, sender, subscriber};
use crate::broker::turn::{State, Turn};
use crate::message::MemberInfo;
use crate::message::Publication;
use crate::rooms::LocalMembers;
use crate::rooms::waits::LocalWaits;
use crate::telemetry::metrics::Metrics;
use rookery_config as config;
use rookery_ops::throttle::{Throttle, limited};

/// How long a room's channel stays subscribed after its last member left.
pub const LINGER: Duration = Duration::from_secs(30);

/// Requests of other servers that are worked on at once.
const MAX_BUSY: usize = 64;

/// What a [`Link`] is made of.
pub struct LinkParts {
    /// The section `redis` of the configuration.
    pub config: config::Redis,
    /// This pod's 8 characters, with which its members' public ids begin.
    pub pod: Arc<str>,
    /// The namespaces of this server.
    pub namespaces: Vec<Arc<str>>,
    /// The members here.
    pub local: Arc<dyn LocalMembers>,
    /// How long the rooms here wait.
    pub waits: LocalWaits,
    /// Where it counts.
    pub metrics: Arc<Metrics>,
    /// The bridge, compiled.
    pub bridge: Vec<CompiledBridge>,
    /// How long a room's channel stays subscribed after its last release: [`LINGER`].
    pub linger: Duration,
    /// What this instance says of itself to the others; `None` where it is in no rollout.
    pub state: Option<State>,
}

/// Connects this pod with the other pods and with Node servers. Cloning is shallow.
///
/// It lives whether or not Redis does: what breaks is made again with growing pauses, and all
/// subscriptions with it. Nothing here ever waits for Redis, except what says so.
#[derive(Clone)]
pub struct Link {
    pub(crate) inner: Arc<Inner>,
}

/// What the tasks of a link share.
pub(crate) struct Inner {
    pub client: redis::Client,
    pub pod: Arc<str>,
    pub namespaces: Vec<Arc<str>>,
    pub channels: Channels,
    pub local: Arc<dyn LocalMembers>,
    pub waits: LocalWaits,
    pub metrics: Arc<Metrics>,
    pub bridge: Vec<CompiledBridge>,
    pub routes: Routes,
    pub clock: Clock,
    pub queue: Queue,
    pub subscriptions: Subscriptions,
    pub commands: Mutex<Option<MultiplexedConnection>>,
    pub peers: Peers,
    /// What this pod says of itself.
    pub state: Mutex<Option<State>>,
    /// Since when both connections are up.
    pub up_since: Mutex<Option<Instant>>,
    /// Since when they are not, and how much had not been sent until then.
    away: Mutex<Away>,
    /// Questions to pods: who answered, and what.
    pub questions: Questions<(String, Answer)>,
    /// Questions to Node servers.
    pub node_questions: Questions<Vec<MemberInfo>>,
    pub busy: Arc<Semaphore>,
    pub misunderstood: Throttle,
    pub tracker: TaskTracker,
    pub shutdown: CancellationToken,
    ids: AtomicU64,
    halves: Mutex<[bool; 2]>,
    up: watch::Sender<bool>,
}

/// The last time that Redis went away.
struct Away {
    since: Instant,
    unsent: u64,
}

/// The two connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    Commands,
    Subscriber,
}

impl Link {
    /// Starts to connect, and returns at once. Its tasks end when `shutdown` is cancelled; what
    /// waits to be sent is then sent within a second.
    ///
    /// # Errors
    /// Where `redis.url` cannot be used.
    pub fn start(
        parts: LinkParts,
        tracker: &TaskTracker,
        shutdown: CancellationToken,
    ) -> Result<Link, BadUrl> {
        let (queue, receiver) = Queue::new();
        let channels = Channels::new(&parts.config.prefix, parts.pod.clone());
        let misunderstood = Throttle::new(&parts.metrics.log_lines_suppressed);
        let inner = Arc::new(Inner {
            client: connect::client(&parts.config.url)?,
            routes: Routes::new(&channels, &parts.namespaces, &parts.bridge),
            channels,
            pod: parts.pod,
            namespaces: parts.namespaces,
            local: parts.local,
            waits: parts.waits,
            metrics: parts.metrics,
            bridge: parts.bridge,
            clock: Clock::default(),
            queue,
            subscriptions: Subscriptions::new(parts.linger),
            commands: Mutex::new(None),
            peers: Peers::default(),
            state: Mutex::new(parts.state),
            up_since: Mutex::new(None),
            away: Mutex::new(Away { since: Instant::now(), unsent: 0 }),
            questions: Questions::default(),
            node_questions: Questions::default(),
            busy: Arc::new(Semaphore::new(MAX_BUSY)),
            misunderstood,
            tracker: tracker.clone(),
            shutdown,
            ids: AtomicU64::new(0),
            halves: Mutex::new([false; 2]),
            up: watch::Sender::new(false),
        });
        tracker.spawn(sender::run(inner.clone(), receiver));
        tracker.spawn(subscriber::run(inner.clone()));
        tracker.spawn(beat(inner.clone()));
        Ok(Link { inner })
    }

    /// Sends a publication to the other instances. True: it was handed to a live link. False: it
    /// was not and never will be, and is counted as unsent. Never waits.
    pub fn publish(&self, publication: &Publication) -> bool {
        let Inner { queue, clock, channels, pod, metrics, .. } = &*self.inner;
        let sent = queue.is_open() && {
            let origin = clock.to_redis(publication.accepted);
            let payload = classic::encode(publication, pod, origin);
            queue.push(channels.of(publication), payload, Kind::Publication)
        };
        if !sent {
            metrics.redis_unsent.inc();
        }
        sent
    }

    /// A member joined the room: what other instances publish to it has to be heard. Each member
    /// calls this once for each of its rooms, and [`Link::release`] when it leaves. Not needed for
    /// the room that is a member's own id.
    pub fn hold(&self, namespace: &str, room: &str) -> Hold {
        if self.inner.channels.covered(room) {
            return Hold::Ready;
        }
        self.inner.subscriptions.hold(&self.inner.channels.room(namespace, room))
    }

    /// A member left the room. The channel stays subscribed a while longer.
    pub fn release(&self, namespace: &str, room: &str) {
        if !self.inner.channels.covered(room) {
            let channel = self.inner.channels.room(namespace, room);
            self.inner.subscriptions.release(&channel, Instant::now());
        }
    }

    /// Whether both connections are up and all is subscribed.
    pub fn is_up(&self) -> bool {
        *self.inner.up.borrow()
    }

    /// A connection for commands, while one is up. Its answers are waited for at most 5 s.
    pub fn commands(&self) -> Option<MultiplexedConnection> {
        self.inner.commands.lock().clone()
    }

    /// The other pods that are alive, by their 8 characters.
    pub fn peers(&self) -> Vec<String> {
        self.inner.peers.alive(Instant::now())
    }

    /// Tells the others that this instance was told to stop, at `when` (milliseconds since 1970).
    pub fn tell_the_end(&self, when: u64) {
        if let Some(state) = &mut *self.inner.state.lock() {
            state.told_to_stop = Some(when);
        }
        self.inner.hello(false);
    }

    /// Whether this instance may close its sessions. `None`: it is not known, as Redis is away, or
    /// was until a moment ago and not every other instance was heard since.
    pub fn turn(&self) -> Option<Turn> {
        let state = self.inner.state.lock();
        let Some(me) = &*state else { return Some(Turn::Now) };
        let up_for = self.inner.up_since.lock().map(|since| since.elapsed());
        let heard = up_for.is_some_and(|up_for| up_for > SILENCE);
        heard.then(|| self.inner.peers.turn(&self.inner.pod, me, Instant::now()))
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Link").field("pod", &self.inner.pod).field("up", &self.is_up()).finish()
    }
}

impl Inner {
    /// One of the connections came or went.
    pub fn set(&self, half: Half, up: bool) {
        let mut halves = self.halves.lock();
        halves[half as usize] = up;
        let both = halves.iter().all(|up| *up);
        self.metrics.redis_up.set(i64::from(both));
        let changed = self.up.send_replace(both) != both;
        if changed {
            *self.up_since.lock() = both.then(Instant::now);
            self.tell_of(both);
        }
        drop(halves);
        if changed && both {
            self.hello(true);
        }
    }

    /// One line when Redis is there, and one when it is gone.
    fn tell_of(&self, up: bool) {
        let mut away = self.away.lock();
        let unsent = self.metrics.redis_unsent.get();
        if up {
            tracing::info!(
                seconds = away.since.elapsed().as_secs_f64(),
                unsent = unsent - away.unsent,
                channels = self.subscriptions.len(),
                "Redis is there, with all subscriptions"
            );
        } else if !self.shutdown.is_cancelled() {
            tracing::warn!("Redis is away: other instances are not reached");
        }
        *away = Away { since: Instant::now(), unsent };
    }

    /// Sends a message that is no publication.
    pub fn send(&self, channel: String, payload: Vec<u8>) -> bool {
        self.queue.push(channel, payload, Kind::Message)
    }

    /// An id for a publication that came without one.
    pub fn id(&self) -> Arc<str> {
        format!("{}-{}", self.pod, self.ids.fetch_add(1, Ordering::Relaxed)).into()
    }

    /// Beats once. `greet` asks the others to do so at once.
    pub fn hello(&self, greet: bool) {
        let state = self.state.lock().clone();
        let hello = Message::Hello { pod: self.pod.to_string(), greet, state };
        self.queue.push(self.channels.pods(), hello.encode(), Kind::Heartbeat);
    }

    /// Beats once, for one pod alone.
    pub fn hello_to(&self, pod: &str) {
        let state = self.state.lock().clone();
        let hello = Message::Hello { pod: self.pod.to_string(), greet: false, state };
        self.queue.push(self.channels.answers(pod), hello.encode(), Kind::Heartbeat);
    }

    /// Something arrived that is not delivered.
    pub fn dropped(&self, what: &str, why: &dyn fmt::Display) {
        self.metrics.redis_dropped.inc();
        limited!(self.misunderstood, warn, what, reason = %why, "dropped what came from Redis");
    }
}

async fn beat(inner: Arc<Inner>) {
    let mut ticks = tokio::time::interval(BEAT);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = inner.shutdown.cancelled() => return,
            _ = ticks.tick() => inner.hello(false),
        }
    }
}
