//! The shard of a pod, and what stands before it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rookery_server::message::PodId;
use rookery_server::rooms::index::RoomIndex;
use rookery_server::rooms::interest::RoomInterests;
use rookery_server::rooms::local::{LocalRooms, LocalRoomsParts};
use rookery_server::rooms::presence::registry::PresenceRegistry;
use rookery_server::rooms::shard::{Shard, ShardCommand, ShardQueue, ShardRooms};
use rookery_server::telemetry::latency::Latency;
use rookery_server::telemetry::metrics::Metrics;
use rookery_server::telemetry::trace::Tracer;
use tokio::sync::mpsc;

use super::LEAVE_DELAY;

/// Stands between the rooms and their shard.
#[derive(Default)]
pub struct ShardControl {
    /// While it is set, no command reaches the shard.
    pub is_stuck: AtomicBool,
    /// Questions that reached the shard.
    pub queries: AtomicUsize,
}

/// Starts a shard, for which `queue` commands may wait.
pub(super) fn start_shard(
    pod: &PodId,
    interests: &Arc<RoomInterests>,
    latency: &Latency,
    metrics: &Arc<Metrics>,
    queue: usize,
) -> (LocalRooms, Arc<ShardControl>) {
    let index = Arc::new(RoomIndex::new(1, pod.clone(), metrics.clone()));
    let (queue, commands) = mpsc::channel(queue);
    let shard_rooms = ShardRooms::new(0, index.clone(), Arc::new(AtomicUsize::new(1_000_000)));
    let (to_shard, shard) = Shard::new(shard_rooms, latency.recorder(0).clone());
    tokio::spawn(shard.run());
    let control = Arc::new(ShardControl::default());
    tokio::spawn(forward(commands, to_shard, control.clone()));
    let rooms = LocalRooms::new(LocalRoomsParts {
        shards: vec![queue.into()],
        index,
        interests: Some(interests.clone()),
        presence: PresenceRegistry::new(LEAVE_DELAY),
        classify: Arc::new(|_| "default".into()),
        tracer: Tracer::off(),
    });
    (rooms, control)
}

async fn forward(
    mut commands: mpsc::Receiver<ShardCommand>,
    shard: ShardQueue,
    control: Arc<ShardControl>,
) {
    loop {
        while control.is_stuck.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let Some(command) = commands.recv().await else { return };
        while control.is_stuck.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if matches!(command, ShardCommand::Query(_)) {
            control.queries.fetch_add(1, Ordering::Relaxed);
        }
        shard.send(command).await;
    }
}
