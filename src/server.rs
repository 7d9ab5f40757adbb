//! The server's wiring: which parts there are, and how they start and stop.

mod admin_ui;
mod api_key_watch;
mod broker;
mod cgroup;
mod config_watch;
mod file_watcher;
mod gauges;
mod instance;
mod memory;
mod open_files;
mod readiness;
mod reload;
mod runtime_thread;
mod shards;
pub mod signals;
mod signing_key_watch;
mod start;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use rookery_config::Config;
use rookery_config::load::Sources;
use rookery_ops::critical::CriticalTasks;
use rookery_ops::readiness::Readiness;
use rookery_server::broker::Broker;
use rookery_server::gateway::{self, Sessions};
use rookery_server::telemetry::trace::{TraceExport, Traces};
use signals::Signals;

/// How long requests that are being answered, and tasks, may take at the end.
const GRACE: Duration = Duration::from_secs(5);

/// Serves with `config` until SIGTERM or SIGINT; `sources` is where it is read again when it
/// changes, `traces` follow publications.
///
/// # Errors
/// When the server cannot start, or a part ended without which it is of no use.
pub fn run(
    sources: Sources,
    config: Config,
    shards: NonZeroUsize,
    traces: Traces,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime cannot start")?;
    open_files::raise_limit(&config.limits);
    runtime.block_on(async {
        let signals = signals::listen()?;
        let server = Server::start(sources, Arc::new(config), shards.get(), traces).await?;
        let critical = server.lifecycle.critical.clone();
        tokio::select! {
            () = server.serve(signals) => Ok(()),
            failure = critical.failed() => {
                tracing::error!(error = %failure, "a critical part of the server failed; exiting");
                Err(failure.into())
            }
        }
    })
}

/// What must be told when the server stops.
struct Server {
    config: Arc<Config>,
    sessions: Arc<Sessions>,
    broker: Broker,
    traces: TraceExport,
    readiness: Readiness,
    lifecycle: Lifecycle,
}

/// How the parts of the server end.
#[derive(Clone, Default)]
struct Lifecycle {
    /// Owns all tasks.
    tracker: TaskTracker,
    /// Ends the clients' listener.
    stop_accepting: CancellationToken,
    /// Ends everything else but the threads.
    stop: CancellationToken,
    /// Ends the threads of the shards and the backplane.
    stop_threads: CancellationToken,
    /// Learns of parts that end before their time.
    critical: CriticalTasks,
}

impl Server {
    /// Serves until a signal, then drains. A second signal ends it at once.
    async fn serve(self, mut signals: Signals) {
        signals.first().await;
        let abort = CancellationToken::new();
        let ready = self.readiness.condition("draining", "this instance is about to stop");
        ready.set(self.config.drain.keep_ready);
        self.broker.announce_shutdown(millis(SystemTime::now()));
        let order = || self.broker.drain_order();
        let drained = gateway::drain(&self.sessions, order, &abort);
        tokio::select! {
            () = drained => {}
            () = signals.first() => {
                abort.cancel();
                tracing::warn!("received a second stop signal; stopping at once");
            }
        }
        let Lifecycle { tracker, stop_accepting, stop, stop_threads, .. } = &self.lifecycle;
        stop_accepting.cancel();
        stop.cancel();
        tracker.close();
        let ended = tokio::time::timeout(GRACE, tracker.wait());
        tokio::select! {
            ended = ended => {
                if ended.is_err() {
                    tracing::warn!(tasks = tracker.len(), "aborting tasks that did not end in time");
                }
            }
            () = abort.cancelled() => {}
            () = signals.first() => {}
        }
        stop_threads.cancel();
        tokio::select! {
            () = self.traces.stop() => {}
            () = abort.cancelled() => {}
            () = signals.first() => {}
        }
        tracing::info!("stopped");
    }
}

/// Milliseconds since 1970.
fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
