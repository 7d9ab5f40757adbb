//! How the parts of the server are made and connected.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Notify;

use rookery_config::api_keys::ApiKeys;
use rookery_config::check::warnings;
use rookery_config::load::Sources;
use rookery_config::{Config, Redis, WhenDown};
use rookery_ops::readiness::Readiness;
use rookery_ops::{admin, listener};
use rookery_policy::{EventRules, Rules};
use rookery_server::api::access::Access;
use rookery_server::api::idempotency::redis::Unkept;
use rookery_server::api::idempotency::{IdempotencyStore, MemoryStore, RedisStore, memory};
use rookery_server::api::{self, ApiState};
use rookery_server::auth::{KeyReloads, Verifier};
use rookery_server::backend::Backend;
use rookery_server::backplane::{
    Backplane, BackplaneParts, CompiledBridge, RolloutState, Tasks, room_interests,
};
use rookery_server::broker::{Broker, BrokerParts};
use rookery_server::connection::outbox::OutboxLimits;
use rookery_server::gateway::{
    self, Authenticator, DrainState, Engine, Gateway, Limits, LogThrottles, RebalanceState,
    Sessions,
};
use rookery_server::message::PodId;
use rookery_server::rooms::index::MAX_SHARDS;
use rookery_server::rooms::interest::{LINGER, RoomInterests};
use rookery_server::rooms::statistics::RoomStatistics;
use rookery_server::status_page;
use rookery_server::telemetry::metrics::Metrics;
use rookery_server::telemetry::trace::Traces;

use super::instance::Instance;
use super::memory::ProcessMemory;
use super::shards::{ShardPlan, Shards};
use super::{GRACE, Lifecycle, Server, millis};
use super::{
    admin_ui, api_key_watch, config_watch, gauges, readiness, reload, runtime_thread,
    signing_key_watch,
};

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
        let interests = config.redis.as_ref().map(|redis| room_interests(redis, LINGER));
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
        metrics.registry().register(Box::new(shards.latency.clone()))?;
        metrics.registry().register(Box::new(traces.counters()))?;
        let (broker, backplane) =
            connect(&config, &shards, interests, &metrics, traces, &lifecycle)?;
        let gateway = Arc::new(Gateway {
            rules,
            events: EventRules::compile(&config.events)?,
            broker,
            limits: Limits::new(memory.fit(&config.limits)),
            outbox_limits,
            authenticator: authenticator(&config, &metrics)?,
            backend: backend(&config, &metrics, traces)?,
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
        Ok(Parts { config, gateway, sessions, backplane, shards, memory, metrics, lifecycle })
    }

    fn namespaces(&self) -> Vec<Arc<str>> {
        namespaces(&self.config)
    }

    fn spawn_all(&self, sources: Sources, listeners: Listeners) -> anyhow::Result<()> {
        let Lifecycle { tracker, stop, stop_accepting, .. } = &self.lifecycle;
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
            namespaces: self.namespaces(),
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

fn backend(
    config: &Config,
    metrics: &Arc<Metrics>,
    traces: &Traces,
) -> anyhow::Result<Option<Backend>> {
    let backend = config.backend.as_ref();
    Ok(backend.map(|backend| Backend::new(backend, metrics, traces.tracer())).transpose()?)
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

/// The task that follows who is in rooms with presence.
const PRESENCE: &str = "the task that follows presence";

/// Connects the shards' rooms with the other instances, where Redis is configured.
fn connect(
    config: &Config,
    shards: &Shards,
    interests: Option<Arc<RoomInterests>>,
    metrics: &Arc<Metrics>,
    traces: &Traces,
    lifecycle: &Lifecycle,
) -> anyhow::Result<(Broker, Option<Backplane>)> {
    let mut parts = BrokerParts {
        rooms: shards.rooms.clone(),
        statistics: RoomStatistics::new(
            shards.rooms.clone(),
            shards.latency.clone(),
            lifecycle.tracker.clone(),
        ),
        backplane: None,
        refuse_when_down: config.redis.as_ref().is_some_and(|r| r.when_down == WhenDown::Refuse),
        presence_max: config.presence.max,
        metrics: metrics.clone(),
        tracer: traces.tracer(),
    };
    let (Some(redis), Some(interests)) = (&config.redis, interests) else {
        let broker = Broker::new(parts);
        let Lifecycle { tracker, stop, critical, .. } = lifecycle.clone();
        let presence = broker.clone().follow_presence(stop.clone());
        tracker.spawn(async move { critical.watch(PRESENCE.to_owned(), &stop, presence).await });
        return Ok((broker, None));
    };
    metrics.with_redis()?;
    let bridge = redis.bridge_in(&config.namespaces);
    let revision = std::env::var("ROOKERY_REVISION").ok();
    let rollout = revision.and_then(|r| RolloutState::parse(&r, millis(SystemTime::now())));
    let of_admins = config.admin.as_ref().map(|admin| Arc::from(admin.namespace.as_str()));
    let tasks = backplane_tasks(lifecycle)?;
    let backplane = BackplaneParts {
        config: redis.clone(),
        pod: shards.rooms.pod().clone(),
        namespaces: namespaces(config).into_iter().chain(of_admins).collect(),
        interests,
        metrics: metrics.clone(),
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

fn namespaces(config: &Config) -> Vec<Arc<str>> {
    config.namespaces.iter().map(|n| n.as_str().into()).collect()
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
