//! The shards: a thread, a runtime, a queue and an account for each.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use rookery_config::{Config, WhenDown};
use rookery_policy::Rules;
use rookery_protocol::Room;
use rookery_server::connection::outbox::{Bounds, Surroundings};
use rookery_server::gateway::ShardHandle;
use rookery_server::rooms::index::Index;
use rookery_server::rooms::router::Router;
use rookery_server::rooms::shard::{Occupation, QUEUE, Rooms, Shard};
use rookery_server::telemetry::latency::Latency;
use rookery_server::telemetry::metrics::Metrics;
use rookery_server::telemetry::trace::Tracer;

/// What shards are made of.
pub struct Plan {
    /// How many.
    pub count: usize,
    /// The pod's 8 characters.
    pub pod: Arc<str>,
    /// The configuration.
    pub config: Arc<Config>,
    /// Gives the rooms' latency classes.
    pub rules: Arc<ArcSwap<Rules>>,
    /// Bounds of outboxes.
    pub bounds: Arc<Bounds>,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// Makes the spans.
    pub tracer: Tracer,
    /// Owns the tasks of all shards.
    pub tracker: TaskTracker,
}

/// The running shards.
pub struct Shards {
    /// Where publications go.
    pub router: Router,
    /// Their accounts.
    pub latency: Latency,
    /// `limits.roomsPerClient`.
    pub rooms_per_client: Arc<AtomicUsize>,
    runtimes: Vec<(Handle, Arc<Surroundings>)>,
    stop: CancellationToken,
}

/// Passes occupation on to the other instances, which are connected after the shards started.
struct ToRemote(Router);

impl Occupation for ToRemote {
    fn occupied(&self, namespace: &Arc<str>, room: &Room) {
        if let Some(remote) = self.0.remote() {
            remote.occupied(namespace, room);
        }
    }

    fn vacated(&self, namespace: &Arc<str>, room: &Room) {
        if let Some(remote) = self.0.remote() {
            remote.vacated(namespace, room);
        }
    }
}

impl Shards {
    /// Starts them.
    ///
    /// # Errors
    /// When a thread or runtime cannot be made.
    pub fn start(plan: Plan) -> anyhow::Result<Self> {
        let index = Arc::new(Index::new(plan.count, plan.pod.clone(), plan.metrics.clone()));
        let (queues, receivers): (Vec<_>, Vec<_>) =
            (0..plan.count).map(|_| mpsc::channel(QUEUE)).unzip();
        let rules = plan.rules.clone();
        let refuse = plan.config.redis.as_ref().is_some_and(|r| r.when_down == WhenDown::Refuse);
        let router = Router::new(
            queues,
            index.clone(),
            Arc::new(move |room: &str| rules.load().class_of(room).into()),
            refuse,
            plan.metrics.clone(),
            plan.tracer.clone(),
        );
        let mut shards = Shards {
            router,
            latency: Latency::new(plan.count, &plan.config.latency, &plan.pod, &plan.metrics),
            rooms_per_client: Arc::new(AtomicUsize::new(
                plan.config.limits.rooms_per_client as usize,
            )),
            runtimes: Vec::new(),
            stop: CancellationToken::new(),
        };
        for (at, queue) in receivers.into_iter().enumerate() {
            let recorder = shards.latency.recorder(at).clone();
            let occupation = Arc::new(ToRemote(shards.router.clone()));
            let limit = shards.rooms_per_client.clone();
            let rooms = Rooms::new(at, index.clone(), occupation, limit);
            let runtime = shards.spawn(at, Shard::new(rooms, recorder.clone(), queue))?;
            let around = Arc::new(Surroundings {
                bounds: plan.bounds.clone(),
                ledger: recorder.clone(),
                backlog: Arc::default(),
                runtime: runtime.clone(),
                tracker: plan.tracker.clone(),
            });
            shards.runtimes.push((runtime, around));
        }
        Ok(shards)
    }

    fn spawn(&self, at: usize, shard: Shard) -> anyhow::Result<Handle> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("a shard's runtime cannot start")?;
        let handle = runtime.handle().clone();
        let stop = self.stop.clone();
        std::thread::Builder::new()
            .name(format!("shard-{at}"))
            .spawn(move || runtime.block_on(stop.run_until_cancelled(shard.run())))
            .context("a shard's thread cannot start")?;
        Ok(handle)
    }

    /// The shards as the gateway uses them.
    pub fn handles(&self) -> Vec<ShardHandle> {
        let handle = |(runtime, outbox_context): &(Handle, Arc<Surroundings>)| ShardHandle {
            runtime: runtime.clone(),
            outbox_context: outbox_context.clone(),
        };
        self.runtimes.iter().map(handle).collect()
    }

    /// Ends their threads, and whatever still runs there.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}
