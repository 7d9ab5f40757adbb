//! Applies new `rooms` and `limits` while the server runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::memory::ProcessMemory;
use rookery_config::Config;
use rookery_policy::Rules;
use rookery_server::gateway::Gateway;

/// Applies what `reloads` brings, until `stop`. Notifies `rules_changed` when other rules are in
/// effect.
pub async fn apply(
    mut reloads: watch::Receiver<Arc<Config>>,
    gateway: Arc<Gateway>,
    rooms_per_client: Arc<AtomicUsize>,
    memory: ProcessMemory,
    rules_changed: Arc<Notify>,
    stop: CancellationToken,
) {
    let mut rooms = gateway.config.rooms.clone();
    while let Some(Ok(())) = stop.run_until_cancelled(reloads.changed()).await {
        let config = reloads.borrow_and_update().clone();
        match Rules::compile(&config.rooms) {
            Ok(_) if config.rooms == rooms => {}
            Ok(rules) => {
                gateway.rules.store(Arc::new(rules));
                rooms = config.rooms.clone();
                rules_changed.notify_one();
            }
            // The watcher has checked the file; this cannot differ.
            Err(error) => tracing::error!(%error, "the rooms are not applied"),
        }
        let limits = &config.limits;
        gateway.limits.set(memory.fit(limits));
        gateway.outbox_limits.set(limits.queue.bytes(), limits.write_stall.0);
        rooms_per_client.store(limits.rooms_per_client as usize, Ordering::Relaxed);
    }
}
