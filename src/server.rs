//! The server's wiring: which parts there are, and how they start and stop.

mod api_key_watch;
mod config_watch;
mod instance;
mod open_files;
mod readings;
mod shards;
pub mod signals;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use instance::Instance;
use rookery_config::api_keys::ApiKeys;
use rookery_config::load::Sources;
use rookery_config::{Config, Redis, WhenDown};
use rookery_ops::readiness::Readiness;
use rookery_ops::{admin, listener};
use rookery_policy::{EventRules, Rules};
use rookery_server::api::access::Access;
use rookery_server::api::cluster::BrokerCluster;
use rookery_server::api::idempotency::{IdempotencyStore, MemoryStore, RedisStore, memory};
use rookery_server::api::{self, ApiState};
use rookery_server::auth::Verifier;
use rookery_server::backplane::CompiledBridge;
use rookery_server::backplane::link::{LINGER, Link, LinkParts};
use rookery_server::broker::cluster::Cluster;
use rookery_server::broker::turn::{State, Turn};
use rookery_server::connection::outbox::Bounds;
use rookery_server::gateway::{
    self, Authenticator, Drain, Engine, Gateway, Limits, Lines, Sessions,
};
use rookery_server::message::member_id::{POD_LENGTH, random_id};
use rookery_server::rooms::index::MAX_SHARDS;
use rookery_server::rooms::waits::LocalWaits;
use rookery_server::status_page as page;
use rookery_server::telemetry::metrics::Metrics;
use rookery_server::telemetry::trace::{self, Traces};
use shards::{Plan, Shards};

/// How long what is being answered may take at the end, and tasks to see that it is over.
const GRACE: Duration = Duration::from_secs(5);

/// How often readiness is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Serves with `config` until told to stop; `sources` is where it is read again when it changes,
/// `traces` follow publications.
///
/// # Errors
/// What ended it.
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
        server.serve(signals).await;
        Ok(())
    })
}

/// Everything that runs.
struct Server {
    config: Arc<Config>,
    gateway: Arc<Gateway>,
    link: Option<Link>,
    shards: Shards,
    metrics: Arc<Metrics>,
    traces: trace::Running,
    readiness: Readiness,
    tracker: TaskTracker,
    /// Ends the clients' listener.
    accepting: CancellationToken,
    /// Ends everything else.
    stop: CancellationToken,
}

impl Server {
    async fn start(
        sources: Sources,
        config: Arc<Config>,
        count: usize,
        traces: Traces,
    ) -> anyhow::Result<Self> {
        let clients = bind("listen", config.listen).await?;
        let internal = bind("internal", config.internal).await?;
        // Port 0 is one that the system chooses.
        let metrics = Arc::new(Metrics::new()?);
        let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
        let pod: Arc<str> = random_id(POD_LENGTH).into();
        let rules = Arc::new(ArcSwap::from_pointee(Rules::compile(&config.rooms)?));
        let limits = &config.limits;
        let bounds = Arc::new(Bounds::new(
            limits.queue.bytes(),
            limits.write_stall.0,
            config.socketio.max_payload.bytes(),
        ));
        let shards = Shards::start(Plan {
            count: count.min(MAX_SHARDS),
            pod: pod.clone(),
            config: config.clone(),
            rules: rules.clone(),
            bounds: bounds.clone(),
            metrics: metrics.clone(),
            tracer: traces.tracer(),
            tracker: tracker.clone(),
        })?;
        let latency = shards.latency.clone();
        metrics.registry().register(Box::new(latency.clone()))?;
        metrics.registry().register(Box::new(traces.counters()))?;
        let traces = traces.start(&pod);
        let verifier = config.auth.jwt.as_ref().map(Verifier::new).transpose()?;
        let gateway = Arc::new(Gateway {
            pod,
            rules,
            events: EventRules::compile(&config.events)?,
            router: shards.router.clone(),
            limits: Limits::new(limits.clone()),
            bounds,
            authenticator: Authenticator::new(verifier, config.anonymous()),
            sessions: Sessions::default(),
            drain: Drain::default(),
            shards: shards.seats(),
            metrics: metrics.clone(),
            lines: Lines::new(&metrics),
            config: config.clone(),
        });
        readings::register(metrics.registry(), &gateway)?;
        let mut server = Server {
            config,
            gateway,
            link: None,
            shards,
            metrics,
            traces,
            readiness: Readiness::default(),
            tracker,
            accepting: CancellationToken::new(),
            stop,
        };
        let waits = LocalWaits::new(
            Arc::new(server.shards.router.clone()),
            latency,
            server.tracker.clone(),
        );
        server.connect_redis(&waits)?;
        let bound = (clients.local_addr()?, internal.local_addr()?);
        server.spawn_all(sources, clients, internal, waits)?;
        server.announce(bound);
        Ok(server)
    }

    fn connect_redis(&mut self, waits: &LocalWaits) -> anyhow::Result<()> {
        let Some(redis) = &self.config.redis else { return Ok(()) };
        self.metrics.with_redis()?;
        let bridge = redis
            .bridge_in(&self.config.namespaces)
            .iter()
            .map(CompiledBridge::compile)
            .collect::<Result<_, _>>()?;
        let parts = LinkParts {
            config: redis.clone(),
            pod: self.gateway.pod.clone(),
            namespaces: self.namespaces(),
            local: Arc::new(self.shards.router.clone()),
            waits: waits.clone(),
            metrics: self.metrics.clone(),
            bridge,
            linger: LINGER,
            state: std::env::var("ROOKERY_REVISION")
                .ok()
                .and_then(|revision| State::parse(&revision, millis(SystemTime::now()))),
        };
        let link = Link::start(parts, &self.tracker, self.stop.clone())?;
        self.shards.router.connect(Arc::new(link.clone()));
        self.link = Some(link);
        Ok(())
    }

    fn namespaces(&self) -> Vec<Arc<str>> {
        self.config.namespaces.iter().map(|n| n.as_str().into()).collect()
    }

    fn spawn_all(
        &self,
        sources: Sources,
        clients: TcpListener,
        internal: TcpListener,
        waits: LocalWaits,
    ) -> anyhow::Result<()> {
        if let Some(verifier) = &self.gateway.authenticator.verifier {
            self.tracker.spawn(verifier.clone().run(self.stop.clone()));
        }
        self.tracker.spawn(watch_readiness(
            self.readiness.clone(),
            self.gateway.clone(),
            self.link.clone(),
            self.stop.clone(),
        ));
        self.tracker.spawn(self.shards.latency.clone().keep(self.stop.clone()));
        let metrics = self.metrics.clone();
        let admin = admin::router(move |names| metrics.gather(names), self.readiness.clone());
        let api = self.api(waits, clients.local_addr()?)?;
        let router = api::router(api).merge(admin).merge(page::router());
        self.tracker.spawn(listener::serve(internal, router, self.stop.clone(), GRACE));
        let reloads = config_watch::follow(
            sources,
            self.config.clone(),
            self.metrics.clone(),
            &self.tracker,
            self.stop.clone(),
        );
        let rooms = self.shards.rooms_per_client.clone();
        self.tracker.spawn(apply(reloads, self.gateway.clone(), rooms, self.stop.clone()));
        let engine = Engine::new(&self.gateway);
        self.tracker.spawn(gateway::sweep(self.gateway.clone(), self.stop.clone()));
        let accepting = self.accepting.clone();
        self.tracker.spawn(gateway::accept(clients, self.gateway.clone(), engine, accepting));
        Ok(())
    }

    fn api(&self, waits: LocalWaits, listen: SocketAddr) -> anyhow::Result<ApiState> {
        let config = &self.config;
        let keys = self.api_keys()?;
        let local = Arc::new(self.shards.router.clone());
        let pod = self.gateway.pod.clone();
        let instance = Instance::starting(self.gateway.clone(), self.readiness.clone(), listen);
        let user_claim = config.auth.jwt.as_ref().map_or("sub", |jwt| &jwt.user_claim);
        Ok(ApiState {
            cluster: Arc::new(BrokerCluster {
                publisher: local.clone(),
                queries: Arc::new(Cluster::new(local, waits, pod, self.link.clone())),
            }),
            rules: self.gateway.rules.clone(),
            idempotency: self.idempotency()?,
            access: Access::new(keys, config.internal),
            namespaces: self.namespaces(),
            user_claim: user_claim.into(),
            status: Arc::new(move || instance.status()),
            max_payload: config.socketio.max_payload.bytes(),
            metrics: self.metrics.clone(),
            tasks: self.tracker.clone(),
        })
    }

    fn api_keys(&self) -> anyhow::Result<Option<Arc<ArcSwap<ApiKeys>>>> {
        let Some(file) = &self.config.auth.api_keys_file else { return Ok(None) };
        let keys = Arc::new(ArcSwap::from_pointee(ApiKeys::load(file)?));
        self.tracker.spawn(api_key_watch::follow(file.clone(), keys.clone(), self.stop.clone()));
        Ok(Some(keys))
    }

    fn idempotency(&self) -> anyhow::Result<Arc<dyn IdempotencyStore>> {
        let memory = MemoryStore::new(memory::CAPACITY, self.metrics.api_ids_evicted.clone());
        Ok(match (&self.link, &self.config.redis) {
            (Some(link), Some(Redis { prefix, .. })) => {
                let link = link.clone();
                Arc::new(RedisStore::new(Arc::new(move || link.commands()), prefix, memory))
            }
            _ => Arc::new(memory),
        })
    }

    /// Says where it serves: the addresses as bound, also where port 0 was configured.
    fn announce(&self, (listen, internal): (SocketAddr, SocketAddr)) {
        tracing::info!(
            clients = %format!("http://{listen}{}/", self.config.socketio.path),
            api = %format!("http://{internal}/api"),
            metrics = %format!("http://{internal}/metrics"),
            redis = self.config.redis.as_ref().map(Redis::redacted_url),
            shards = self.gateway.shards.len(),
            pod = &*self.gateway.pod,
            "serving; try `rookery sub ROOM` and `rookery pub ROOM EVENT '{{\"hello\":1}}'`"
        );
    }

    /// Serves until a signal, then drains. A second signal ends it at once.
    async fn serve(self, mut signals: signals::Signals) {
        signals.first().await;
        let abort = CancellationToken::new();
        let ready = self.readiness.condition("draining", "this instance is about to stop");
        ready.set(self.config.drain.keep_ready);
        let link = self.link.clone();
        if let Some(link) = &link {
            link.tell_the_end(millis(SystemTime::now()));
        }
        let turn = move || link.as_ref().map_or(Some(Turn::Now), Link::turn);
        let drained = self.gateway.drain.run(&self.gateway, turn, &abort);
        tokio::select! {
            () = drained => {}
            () = signals.first() => {
                abort.cancel();
                tracing::warn!("told to stop again, so it ends at once");
            }
        }
        self.accepting.cancel();
        self.stop.cancel();
        self.tracker.close();
        let ended = tokio::time::timeout(GRACE, self.tracker.wait());
        tokio::select! {
            ended = ended => {
                if ended.is_err() {
                    tracing::warn!(tasks = self.tracker.len(), "breaking off what does not end by itself");
                }
            }
            () = abort.cancelled() => {}
            () = signals.first() => {}
        }
        self.shards.stop();
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

async fn bind(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "{address} is in use by another process: stop it, or choose another address with \
             --{key}"
        ),
        _ => anyhow::anyhow!("cannot listen on {address} (--{key}): {error}"),
    })
}

/// Keeps the conditions of `/readyz` in step.
async fn watch_readiness(
    readiness: Readiness,
    gateway: Arc<Gateway>,
    link: Option<Link>,
    stop: CancellationToken,
) {
    let keys = readiness.condition("auth", "no key set was fetched from auth.jwt.jwksUrl yet");
    let redis = readiness.condition("redis", "not connected to Redis (redis.whenDown: refuse)");
    let refuse = gateway.config.redis.as_ref().is_some_and(|r| r.when_down == WhenDown::Refuse);
    loop {
        keys.set(gateway.authenticator.verifier.as_ref().is_none_or(|v| v.is_ready()));
        redis.set(!refuse || link.as_ref().is_none_or(Link::is_up));
        if stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_none() {
            return;
        }
    }
}

/// Applies new `rooms` and `limits`.
async fn apply(
    mut reloads: watch::Receiver<Arc<Config>>,
    gateway: Arc<Gateway>,
    rooms_per_client: Arc<AtomicUsize>,
    stop: CancellationToken,
) {
    while let Some(Ok(())) = stop.run_until_cancelled(reloads.changed()).await {
        let config = reloads.borrow_and_update().clone();
        match Rules::compile(&config.rooms) {
            Ok(rules) => gateway.rules.store(Arc::new(rules)),
            // The watcher has checked the file; this cannot differ.
            Err(error) => tracing::error!(%error, "the rooms are not applied"),
        }
        let limits = &config.limits;
        gateway.limits.set(limits.clone());
        gateway.bounds.set(limits.queue.bytes(), limits.write_stall.0);
        rooms_per_client.store(limits.rooms_per_client as usize, Ordering::Relaxed);
    }
}
