//! The shards: a thread, a runtime, a queue and a recorder for each.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use rookery_config::Config;
use rookery_ops::critical::CriticalTasks;
use rookery_policy::Rules;
use rookery_server::connection::outbox::{OutboxContext, OutboxLimits};
use rookery_server::gateway::ShardHandle;
use rookery_server::message::PodId;
use rookery_server::rooms::index::RoomIndex;
use rookery_server::rooms::interest::RoomInterests;
use rookery_server::rooms::local::{LocalRooms, LocalRoomsParts};
use rookery_server::rooms::presence::registry::PresenceRegistry;
use rookery_server::rooms::shard::{Shard, ShardRooms};
use rookery_server::telemetry::latency::Latency;
use rookery_server::telemetry::metrics::Metrics;
use rookery_server::telemetry::trace::Tracer;

use super::runtime_thread;

/// What shards are made of.
pub struct ShardPlan {
    /// How many there are.
    pub count: usize,
    /// This pod.
    pub pod: PodId,
    /// The configuration.
    pub config: Arc<Config>,
    /// Gives the rooms' latency classes.
    pub rules: Arc<ArcSwap<Rules>>,
    /// The limits of outboxes.
    pub outbox_limits: Arc<OutboxLimits>,
    /// The rooms that are subscribed, where there are other instances.
    pub interests: Option<Arc<RoomInterests>>,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// Makes the spans of deliveries.
    pub tracer: Tracer,
    /// Owns the tasks of all shards.
    pub tracker: TaskTracker,
    /// Learns of a shard that ends before its time.
    pub critical: CriticalTasks,
    /// Ends the threads.
    pub stop: CancellationToken,
}

/// The running shards.
pub struct Shards {
    /// Their rooms.
    pub rooms: LocalRooms,
    /// Their recorders, merged.
    pub latency: Latency,
    /// `limits.roomsPerClient`.
    pub rooms_per_client: Arc<AtomicUsize>,
    /// Where the gateway runs sessions.
    pub handles: Vec<ShardHandle>,
}

impl Shards {
    /// Starts them.
    ///
    /// # Errors
    /// When a thread or runtime cannot be made.
    pub fn start(plan: ShardPlan) -> anyhow::Result<Self> {
        let index = Arc::new(RoomIndex::new(plan.count, plan.pod.clone(), plan.metrics.clone()));
        let latency = Latency::new(plan.count, &plan.config.latency, &plan.pod, &plan.metrics);
        let limit = plan.config.limits.rooms_per_client as usize;
        let rooms_per_client = Arc::new(AtomicUsize::new(limit));
        let (mut queues, mut handles) = (Vec::new(), Vec::new());
        for number in 0..plan.count {
            let recorder = latency.recorder(number).clone();
            let rooms = ShardRooms::new(number, index.clone(), rooms_per_client.clone());
            let (queue, shard) = Shard::new(rooms, recorder.clone());
            queues.push(queue);
            let (name, stop) = (format!("shard {number}"), plan.stop.clone());
            let runtime = runtime_thread::spawn(name, shard.run(), stop, plan.critical.clone())?;
            let outbox_context = Arc::new(OutboxContext {
                parser: plan.config.socketio.parser.into(),
                deflate: plan.config.socketio.per_message_deflate.map(Into::into),
                limits: plan.outbox_limits.clone(),
                recorder,
                backlog: Arc::default(),
                runtime: runtime.clone(),
                tracker: plan.tracker.clone(),
            });
            handles.push(ShardHandle { runtime, outbox_context });
        }
        let rules = plan.rules;
        let rooms = LocalRooms::new(LocalRoomsParts {
            shards: queues,
            index,
            interests: plan.interests,
            presence: PresenceRegistry::new(plan.config.presence.leave_delay.0),
            classify: Arc::new(move |room: &str| rules.load().class_of(room).clone()),
            tracer: plan.tracer,
        });
        Ok(Shards { rooms, latency, rooms_per_client, handles })
    }
}
