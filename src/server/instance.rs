//! [`Instance`]: reads the status of this instance for the HTTP API.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use rookery_config::{Redis, Transport};
use rookery_ops::readiness::Readiness;
use rookery_server::api::instance_status::{Connections, Connects, Counts, RedisStatus, Status};
use rookery_server::gateway::{DrainPhase, Gateway};
use rookery_server::message::Source;
use rookery_server::telemetry::metrics::{Disconnected, Metrics, Outcome, Rejected};

/// The parts that the status of this instance is read from.
pub struct Instance {
    gateway: Arc<Gateway>,
    readiness: Readiness,
    listen: SocketAddr,
    started: (SystemTime, Instant),
}

impl Instance {
    /// An instance that starts now, whose clients' listener is bound to `listen`.
    pub fn starting(gateway: Arc<Gateway>, readiness: Readiness, listen: SocketAddr) -> Self {
        Instance { gateway, readiness, listen, started: (SystemTime::now(), Instant::now()) }
    }

    /// The status now. Reads counters only.
    pub fn status(&self) -> Status {
        let Gateway { metrics, broker, limits, drain, config, .. } = &*self.gateway;
        Status {
            version: env!("CARGO_PKG_VERSION"),
            pod: broker.pod().clone().into(),
            listen: self.listen,
            started_at: humantime::format_rfc3339_millis(self.started.0).to_string(),
            uptime_seconds: self.started.1.elapsed().as_secs_f64(),
            connections: Connections {
                polling: open_sessions(metrics, Transport::Polling),
                websocket: open_sessions(metrics, Transport::Websocket),
                limit: limits.config().connections.get().into(),
            },
            rooms: metrics.rooms.get().try_into().unwrap_or(0),
            publications: Source::ALL.map(|s| (s.label(), metrics.publications(s))).into(),
            deliveries: counts(Outcome::ALL, |o| (o.label(), metrics.deliveries(o))),
            connects: Connects {
                accepted: metrics.connects_accepted.get(),
                refused: metrics.connects_refused.get(),
            },
            disconnects: counts(Disconnected::ALL, |r| (r.label(), metrics.disconnects(r))),
            rejected: counts(Rejected::ALL, |r| (r.label(), metrics.refusals(r))),
            redis: config.redis.as_ref().map(|redis| self.redis(redis)),
            draining: drain.phase() != DrainPhase::Serving,
            ready: self.readiness.reasons(),
        }
    }

    fn redis(&self, redis: &Redis) -> RedisStatus {
        let metrics = &self.gateway.metrics;
        RedisStatus {
            up: metrics.redis_up.get() == 1,
            url: redis.redacted_url(),
            reconnects: metrics.redis_reconnects.get(),
            unsent: metrics.redis_unsent.get(),
        }
    }
}

fn open_sessions(metrics: &Metrics, transport: Transport) -> u64 {
    metrics.connections(transport).get().try_into().unwrap_or(0)
}

fn counts<T: Copy>(all: &[T], count: impl Fn(T) -> (&'static str, u64)) -> Counts {
    all.iter().map(|one| count(*one)).collect()
}
