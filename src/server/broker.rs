//! How the broker is made, and connected with the other instances.

use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rookery_config::{Config, WhenDown};
use rookery_policy::{Namespaces, Rules};
use rookery_server::backend::Backend;
use rookery_server::backplane::{Backplane, BackplaneParts, CompiledBridge, RolloutState, Tasks};
use rookery_server::broker::{Broker, BrokerParts, RoomHookParts};
use rookery_server::rooms::interest::RoomInterests;
use rookery_server::rooms::statistics::RoomStatistics;
use rookery_server::telemetry::metrics::Metrics;
use rookery_server::telemetry::trace::Traces;

use super::shards::Shards;
use super::{Lifecycle, millis, runtime_thread};

/// The task that follows who is in rooms.
const PRESENCE: &str = "the task that follows who is in rooms";

/// What the broker is made of, without other instances.
pub(super) fn broker_parts(
    config: &Config,
    shards: &Shards,
    room_hooks: Option<RoomHookParts>,
    metrics: &Arc<Metrics>,
    traces: &Traces,
    lifecycle: &Lifecycle,
) -> BrokerParts {
    BrokerParts {
        rooms: shards.rooms.clone(),
        statistics: RoomStatistics::new(
            shards.rooms.clone(),
            shards.latency.clone(),
            lifecycle.tracker.clone(),
        ),
        backplane: None,
        refuse_when_down: config.redis.as_ref().is_some_and(|r| r.when_down == WhenDown::Refuse),
        room_hooks,
        presence_max: config.presence.max,
        metrics: metrics.clone(),
        tracer: traces.tracer(),
    }
}

/// Connects the shards' rooms with the other instances, where Redis is configured.
pub(super) fn connect(
    config: &Config,
    served: &Arc<Namespaces>,
    shards: &Shards,
    interests: Option<Arc<RoomInterests>>,
    mut parts: BrokerParts,
    lifecycle: &Lifecycle,
) -> anyhow::Result<(Broker, Option<Backplane>)> {
    let metrics = parts.metrics.clone();
    let (Some(redis), Some(interests)) = (&config.redis, interests) else {
        let broker = Broker::new(parts);
        let Lifecycle { tracker, stop, critical, .. } = lifecycle.clone();
        let presence = broker.clone().follow_presence(stop.clone());
        tracker.spawn(async move { critical.watch(PRESENCE.to_owned(), &stop, presence).await });
        return Ok((broker, None));
    };
    metrics.with_redis()?;
    let bridge = redis.bridge_in(served);
    let revision = std::env::var("ROOKERY_REVISION").ok();
    let rollout = revision.and_then(|r| RolloutState::parse(&r, millis(SystemTime::now())));
    let tasks = backplane_tasks(lifecycle)?;
    let backplane = BackplaneParts {
        config: redis.clone(),
        pod: shards.rooms.pod().clone(),
        namespaces: served.clone(),
        interests,
        metrics,
        bridge: bridge.iter().map(CompiledBridge::compile).collect::<Result<_, _>>()?,
        rollout,
    };
    let (backplane, inbound) = Backplane::start(backplane, &tasks)?;
    parts.backplane = Some(backplane.clone());
    let broker = Broker::new(parts);
    tasks.spawn(PRESENCE, broker.clone().follow_presence(tasks.shutdown.clone()));
    broker.spawn_inbound(inbound, tasks);
    Ok((broker, Some(backplane)))
}

/// What the backplane's tasks run on: a thread and runtime of their own.
fn backplane_tasks(lifecycle: &Lifecycle) -> anyhow::Result<Tasks> {
    let Lifecycle { tracker, stop, stop_threads, critical, .. } = lifecycle;
    let runtime = runtime_thread::spawn(
        "backplane".to_owned(),
        std::future::pending(),
        stop_threads.clone(),
        critical.clone(),
    )?;
    Ok(Tasks {
        runtime,
        tracker: tracker.clone(),
        shutdown: stop.clone(),
        critical: critical.clone(),
    })
}

/// How the backend is told of rooms, by the rules in effect.
pub(super) fn room_hooks(
    config: &Config,
    backend: Option<&Backend>,
    rules: &Arc<ArcSwap<Rules>>,
) -> Option<RoomHookParts> {
    let (backend, rules) = (backend?.clone(), rules.clone());
    Some(RoomHookParts {
        backend,
        hooks_of: Arc::new(move |room| rules.load().hooks_of(room)),
        vacated_delay: config.backend.as_ref()?.vacated_delay.0,
    })
}
