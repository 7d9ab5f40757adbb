//! The server's wiring: which parts there are, and how they start and stop.

mod shards;

use std::num::NonZeroUsize;
use std::sync::Arc;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Verifier;
use crate::config::load::Sources;
use crate::config::{Config, WhenDown, watch};
use crate::delivery::outbox::Bounds;
use crate::fanout::index::MAX_SHARDS;
use crate::fanout::member::{POD_LENGTH, random_id};
use crate::gateway::{self, Authenticator, Drain, Engine, Gateway, Limits, Sessions};
use crate::latency::Latency;
use crate::ops::metrics::Metrics;
use crate::policy::{EventRules, Rules};
use shards::Shards;

/// Serves with `config` until told to stop; `sources` is where it is read again when it changes.
///
/// # Errors
/// What ended it.
pub fn run(sources: Sources, config: Config, shards: NonZeroUsize) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime cannot start")?;
    runtime.block_on(serve(sources, config, shards))
}

async fn serve(sources: Sources, config: Config, count: NonZeroUsize) -> anyhow::Result<()> {
    let config = Arc::new(config);
    let clients = bind(config.listen, "listen").await?;
    let pod: Arc<str> = random_id(POD_LENGTH).into();
    let metrics = Arc::new(Metrics::new()?);
    let tracker = TaskTracker::new();
    let stop = CancellationToken::new();

    let rules = Arc::new(ArcSwap::from_pointee(Rules::compile(&config.rooms)?));
    let bounds = Arc::new(Bounds::new(
        config.limits.queue.bytes(),
        config.limits.write_stall.0,
        config.socketio.max_payload.bytes(),
    ));
    let shards = Shards::start(shards::Plan {
        count: count.get().min(MAX_SHARDS),
        pod: pod.clone(),
        config: config.clone(),
        rules: rules.clone(),
        bounds: bounds.clone(),
        metrics: metrics.clone(),
        tracker: tracker.clone(),
    })?;
    metrics.registry().register(Box::new(Latency::new(shards.recorders.clone())?))?;

    let verifier = config.auth.jwt.as_ref().map(Verifier::new).transpose()?;
    if let Some(verifier) = &verifier {
        tracker.spawn(verifier.clone().run(stop.clone()));
    }
    let gateway = Arc::new(Gateway {
        pod,
        rules: rules.clone(),
        events: EventRules::compile(&config.events)?,
        router: shards.router.clone(),
        limits: Limits::new(config.limits.clone()),
        bounds,
        authenticator: Authenticator { verifier, anonymous: config.anonymous() },
        sessions: Sessions::default(),
        drain: Drain::default(),
        shards: shards.seats(),
        metrics: metrics.clone(),
        config: config.clone(),
    });
    let engine = Engine::new(&gateway);
    let accepting = CancellationToken::new();
    tracker.spawn(gateway::accept(clients, gateway.clone(), engine, accepting.clone()));
    let reloads = watch::follow(sources, config.clone(), metrics, &tracker, stop.clone());
    tracker.spawn(apply(reloads, gateway.clone(), shards.rooms_per_client.clone(), stop.clone()));
    tracing::info!(listen = %config.listen, shards = count.get(), "ready");

    let abort = signals()?;
    gateway.drain.run(&gateway, &abort).await;
    accepting.cancel();
    stop.cancel();
    shards.stop();
    tracker.close();
    let _ = abort
        .run_until_cancelled(tokio::time::timeout(std::time::Duration::from_secs(5), tracker.wait()))
        .await;
    tracing::info!("stopped");
    Ok(())
}

async fn bind(address: std::net::SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "{address} is in use by another process; stop it, or choose another address with `{key}`"
        ),
        _ => anyhow::anyhow!("cannot listen on {address} (`{key}`): {error}"),
    })
}
