//! How the parts of the server are made and connected.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Notify;

use rookery_config::api_keys::ApiKeys;
use rookery_config::check::warnings;
use rookery_config::load::Sources;
use rookery_config::{Config, Redis};
use rookery_ops::readiness::Readiness;
use rookery_ops::{admin, listener};
use rookery_policy::{EventRules, Namespaces, Rules};
use rookery_server::api::access::Access;
use rookery_server::api::idempotency::redis::Unkept;
use rookery_server::api::idempotency::{IdempotencyStore, MemoryStore, RedisStore, memory};
use rookery_server::api::{self, ApiState};
use rookery_server::auth::{KeyReloads, Verifier};
use rookery_server::backend::Backend;
use rookery_server::backplane::{Backplane, room_interests};
use rookery_server::connection::outbox::OutboxLimits;
use rookery_server::gateway::{
    self, Authenticator, DrainState, Engine, Gateway, Limits, LiveNamespaces, LogThrottles,
    RebalanceState, Sessions,
};
use rookery_server::message::PodId;
use rookery_server::rooms::index::MAX_SHARDS;
use rookery_server::rooms::interest::{LINGER, RoomInterests};
use rookery_server::status_page;
use rookery_server::telemetry::metrics::Metrics;
use rookery_server::telemetry::trace::Traces;
use rookery_server::wakeups;

use super::broker::{broker_parts, connect, room_hooks};
use super::instance::Instance;
use super::memory::ProcessMemory;
use super::shards::{ShardPlan, Shards};
use super::{GRACE, Lifecycle, Server};
use super::{admin_ui, api_key_watch, config_watch, gauges, readiness, reload, signing_key_watch};

/// The parts of a server that is about to start.
struct Parts {
    config: Arc<Config>,
    gateway: Arc<Gateway>,
    sessions: Arc<Sessions>,
    backplane: Option<Backplane>,
    shards: Shards,
    memory: ProcessMemory,
    metrics: Arc<Metrics>,
    lifecycle: Lifecycle,
}

/// The bound listeners.
struct Listeners {
    clients: TcpListener,
    internal: TcpListener,
}

impl Server {
    /// Starts a server with `shards` shards.
    ///
    /// # Errors
    /// When an address is in use, or a part cannot be made.
    pub(super) async fn start(
        sources: Sources,
        config: Arc<Config>,
        shards: usize,
        traces: Traces,
    ) -> anyhow::Result<Self> {
        let listeners = Listeners {
            clients: bind("listen", config.listen)?,
            internal: bind("internal", config.internal)?,
        };
        let parts = Parts::new(config, shards.min(MAX_SHARDS), &traces)?;
        let traces = traces.start(parts.gateway.broker.pod());
        let bound = (listeners.clients.local_addr()?, listeners.internal.local_addr()?);
        parts.spawn_all(sources, listeners)?;
        parts.announce(bound);
        Ok(Server {
            readiness: parts.gateway.readiness.clone(),
            config: parts.config,
            sessions: parts.sessions,
            broker: parts.gateway.broker.clone(),
            traces,
            lifecycle: parts.lifecycle,
        })
    }
}

impl Parts {
    fn new(config: Arc<Config>, shards: usize, traces: &Traces) -> anyhow::Result<Self> {
        let (metrics, lifecycle) = (Arc::new(Metrics::new()?), Lifecycle::default());
        let rules = Arc::new(ArcSwap::from_pointee(Rules::compile(&config.rooms)?));
        let (memory, outbox_limits) = (ProcessMemory::detect(), outbox_limits(&config));
        let (namespaces, interests) = subscriptions(&config)?;
        let shards = Shards::start(ShardPlan {
            count: shards,
            pod: PodId::random(),
            config: config.clone(),
            rules: rules.clone(),
            outbox_limits: outbox_limits.clone(),
            interests: interests.clone(),
            metrics: metrics.clone(),
            tracer: traces.tracer(),
            tracker: lifecycle.tracker.clone(),
            critical: lifecycle.critical.clone(),
            stop: lifecycle.stop_threads.clone(),
        })?;
        register(&metrics, &shards, traces)?;
        let backend = backend(&config, &metrics, traces)?;
        let hooks = room_hooks(&config, backend.as_ref(), &rules);
        let parts = broker_parts(&config, &shards, hooks, &metrics, traces, &lifecycle);
        let (broker, backplane) =
            connect(&config, &namespaces, &shards, interests, parts, &lifecycle)?;
        let gateway = Arc::new(Gateway {
            rules,
            events: EventRules::compile(&config.events)?,
            broker,
            namespaces: LiveNamespaces::new(namespaces),
            limits: Limits::new(memory.fit(&config.limits)),
            outbox_limits,
            authenticator: authenticator(&config, &metrics)?,
            backend,
            admin: admin_ui::new(&config)?,
            readiness: Readiness::default(),
            drain: DrainState::default(),
            rebalance: RebalanceState::default(),
            shards: shards.handles.clone(),
            metrics: metrics.clone(),
            log_throttles: LogThrottles::new(&metrics),
            config: config.clone(),
        });
        gauges::register(metrics.registry(), &gateway)?;
        let sessions = Sessions::new(gateway.clone());
        Ok(Parts { config, sessions, gateway, backplane, shards, memory, metrics, lifecycle })
    }

    fn spawn_all(&self, sources: Sources, listeners: Listeners) -> anyhow::Result<()> {
        let Lifecycle { tracker, stop, stop_accepting, .. } = &self.lifecycle;
        let stopped = stop.clone();
        tracker.spawn(async move { stopped.run_until_cancelled(wakeups::exchange()).await });
        if let Some(verifier) = &self.gateway.authenticator.verifier {
            tracker.spawn(verifier.clone().run(stop.clone()));
        }
        let (readiness, backplane) = (self.gateway.readiness.clone(), self.backplane.clone());
        let ready = readiness::follow(readiness, self.gateway.clone(), backplane, stop.clone());
        tracker.spawn(ready);
        tracker.spawn(self.shards.latency.clone().run(stop.clone()));
        let metrics = self.metrics.clone();
        let admin =
            admin::router(move |names| metrics.gather(names), self.gateway.readiness.clone());
        let api = self.api(listeners.clients.local_addr()?)?;
        let access = api.access.clone();
        let router = api::router(api).merge(admin).merge(status_page::router());
        let router = api::host::guard(router, &access, &self.metrics);
        tracker.spawn(listener::serve(listeners.internal, router, stop.clone(), GRACE));
        let (config, metrics) = (self.config.clone(), self.metrics.clone());
        let reloads = config_watch::follow(sources, config, metrics, tracker, stop.clone());
        let rooms_per_client = self.shards.rooms_per_client.clone();
        let (gateway, memory) = (self.gateway.clone(), self.memory.clone());
        let changed = Arc::new(Notify::new());
        let review = gateway::follow_rules(self.sessions.clone(), changed.clone(), stop.clone());
        tracker.spawn(review);
        let stopped = stop.clone();
        tracker.spawn(reload::apply(reloads, gateway, rooms_per_client, memory, changed, stopped));
        let (sessions, readiness) = (self.sessions.clone(), self.gateway.readiness.clone());
        tracker.spawn(self.memory.clone().follow(sessions, readiness, stop.clone()));
        self.spawn_backend();
        admin_ui::start(&self.sessions, tracker, stop);
        let engine = Engine::new(&self.sessions);
        tracker.spawn(gateway::sweep(self.sessions.clone(), stop.clone()));
        tracker.spawn(gateway::rebalance(self.sessions.clone(), stop.clone()));
        tracker.spawn(gateway::accept(listeners.clients, engine, stop_accepting.clone()));
        Ok(())
    }

    /// Notifications are sent, and another signing key is used, from now on.
    fn spawn_backend(&self) {
        let Lifecycle { tracker, stop, .. } = &self.lifecycle;
        let Some(backend) = &self.gateway.backend else { return };
        tracker.spawn(backend.clone().run(stop.clone()));
        let config = self.config.backend.as_ref();
        if let Some(file) = config.and_then(|config| config.signing_key_file.clone()) {
            tracker.spawn(signing_key_watch::follow(file, backend.clone(), stop.clone()));
        }
    }

    fn api(&self, listen: SocketAddr) -> anyhow::Result<ApiState> {
        let config = &self.config;
        let keys = self.api_keys()?;
        let instance =
            Instance::starting(self.gateway.clone(), self.gateway.readiness.clone(), listen);
        let user_claim = config.auth.jwt.as_ref().map_or("sub", |jwt| &jwt.user_claim);
        Ok(ApiState {
            cluster: Arc::new(self.gateway.broker.clone()),
            rules: self.gateway.rules.clone(),
            idempotency: self.idempotency(),
            access: Access::new(keys, config.internal),
            namespaces: Arc::new(config.offered_namespaces()?),
            user_claim: user_claim.into(),
            status: Arc::new(move || instance.status()),
            max_payload: config.socketio.max_payload.bytes(),
            metrics: self.metrics.clone(),
            tasks: self.lifecycle.tracker.clone(),
        })
    }

    fn api_keys(&self) -> anyhow::Result<Option<Arc<ArcSwap<ApiKeys>>>> {
        let Some(file) = &self.config.auth.api_keys_file else { return Ok(None) };
        let keys = Arc::new(ArcSwap::from_pointee(ApiKeys::load(file)?));
        let Lifecycle { tracker, stop, .. } = &self.lifecycle;
        tracker.spawn(api_key_watch::follow(
            file.clone(),
            keys.clone(),
            self.metrics.clone(),
            stop.clone(),
        ));
        Ok(Some(keys))
    }

    fn idempotency(&self) -> Arc<dyn IdempotencyStore> {
        let memory = MemoryStore::new(memory::CAPACITY, self.metrics.api_ids_evicted.clone());
        match (&self.backplane, &self.config.redis) {
            (Some(backplane), Some(Redis { prefix, .. })) => {
                let backplane = backplane.clone();
                let commands = Arc::new(move |key: &str| match backplane.commands(key) {
                    Some(connection) => Ok(connection),
                    None if backplane.is_replica() => Err(Unkept::Refused),
                    None => Err(Unkept::Down),
                });
                Arc::new(RedisStore::new(commands, prefix, memory, &self.metrics))
            }
            _ => Arc::new(memory),
        }
    }

    /// Logs where it serves: the addresses as bound, also where port 0 was configured.
    fn announce(&self, (listen, internal): (SocketAddr, SocketAddr)) {
        if self.config.rooms.is_unset() {
            tracing::warn!(hint = warnings::OPEN_ROOMS, "every room is open");
        }
        tracing::info!(
            clients = %format!("http://{listen}{}/", self.config.socketio.path),
            api = %format!("http://{internal}/api"),
            metrics = %format!("http://{internal}/metrics"),
            redis = self.config.redis.as_ref().map(Redis::redacted_url),
            shards = self.gateway.shards.len(),
            pod = &**self.gateway.broker.pod(),
            "serving; try `rookery sub ROOM` and `rookery pub ROOM EVENT '{{\"hello\":1}}'`"
        );
    }
}

/// The namespaces that are served and, with Redis, the rooms to subscribe: none yet.
fn subscriptions(config: &Config) -> anyhow::Result<(Arc<Namespaces>, Option<Arc<RoomInterests>>)> {
    let namespaces = Arc::new(config.served_namespaces()?);
    let redis = config.redis.as_ref();
    let interests = redis.map(|redis| room_interests(redis, &namespaces, LINGER));
    Ok((namespaces, interests))
}

/// Adds the latencies and what is counted of traces to the metrics.
fn register(metrics: &Metrics, shards: &Shards, traces: &Traces) -> anyhow::Result<()> {
    metrics.registry().register(Box::new(shards.latency.clone()))?;
    Ok(metrics.registry().register(Box::new(traces.counters()))?)
}

fn backend(
    config: &Config,
    metrics: &Arc<Metrics>,
    traces: &Traces,
) -> anyhow::Result<Option<Backend>> {
    let backend = config.backend.as_ref();
    let has_redis = config.redis.is_some();
    let new = |backend| Backend::new(backend, has_redis, metrics, traces.tracer());
    Ok(backend.map(new).transpose()?)
}

/// Verifies tokens as `auth.jwt` says, where it is written.
fn authenticator(config: &Config, metrics: &Metrics) -> anyhow::Result<Authenticator> {
    let reloads = KeyReloads {
        applied: metrics.auth.token_keys_applied.clone(),
        refused: metrics.auth.token_keys_refused.clone(),
    };
    let jwt = config.auth.jwt.as_ref();
    let verifier = jwt.map(|jwt| Verifier::new(jwt, &reloads)).transpose()?;
    Ok(Authenticator::new(verifier, config.anonymous()))
}

fn outbox_limits(config: &Config) -> Arc<OutboxLimits> {
    Arc::new(OutboxLimits::new(
        config.limits.queue.bytes(),
        config.limits.write_stall.0,
        config.socketio.max_payload.bytes(),
    ))
}

/// Connections that may wait to be accepted, as in a storm of clients that reconnect. The kernel
/// caps the number at `net.core.somaxconn`.
const BACKLOG: u32 = 65_535;

fn bind(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    let bound = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bound().map_err(|error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "{address} is in use by another process: stop it, or choose another address with \
             --{key}"
        ),
        _ => anyhow::anyhow!("cannot listen on {address} (--{key}): {error}"),
    })
}
