//! The counters, gauges and histograms of `/metrics`.

mod auth;
mod backend;
mod client_traffic;
mod deflate;
mod families;
mod gauge_func;
mod labels;
mod presence;
mod striped_counters;

use prometheus::proto::MetricFamily;
use prometheus::{Histogram, IntCounter, IntGauge, IntGaugeVec, Registry};

use crate::message::Source;
pub use auth::AuthMetrics;
pub use backend::{BackendMetrics, BackendOutcome};
pub use client_traffic::{ClientTraffic, Traffic};
pub use deflate::DeflateMetrics;
use families::Families;
pub use gauge_func::GaugeFunc;
pub use labels::{Direction, Disconnected, Outcome, Rejected};
pub use presence::PresenceMetrics;
use rookery_config::Transport;
use striped_counters::StripedCounters;

/// The families that the operator scrapes from every server every few seconds.
const CHEAP: [&str; 2] = ["rookery_connections", "rookery_redis_up"];

/// Every metric that is a plain counter, gauge or histogram. Share it in an `Arc`. All label
/// values exist from the start, at zero.
pub struct Metrics {
    registry: Registry,
    /// The families of [`CHEAP`] once more: gathering these is cheap, while gathering all of
    /// `registry` merges histograms over the shards.
    cheap: Registry,
    connections: [IntGauge; 2],
    /// `rookery_connects_total{outcome="accepted"}`: clients that were let into a namespace.
    pub connects_accepted: IntCounter,
    /// `rookery_connects_total{outcome="refused"}`: clients that were refused by a namespace.
    pub connects_refused: IntCounter,
    disconnects: Vec<IntCounter>,
    /// `rookery_rooms`: rooms with members on this instance.
    pub rooms: IntGauge,
    publications: StripedCounters,
    /// `rookery_recipients_total`: members here that publications were for, each publication for
    /// itself. Each becomes one delivery.
    pub recipients: IntCounter,
    deliveries: StripedCounters,
    /// What compression saves.
    pub deflate: DeflateMetrics,
    /// What clients send and are sent.
    pub clients: ClientTraffic,
    rejected: Vec<IntCounter>,
    /// `rookery_redis_up`: 1 while both connections to Redis are up. Not exposed without Redis.
    pub redis_up: IntGauge,
    redis_messages: Vec<IntCounter>,
    /// `rookery_redis_reconnects_total`: times that a connection to Redis was established again.
    pub redis_reconnects: IntCounter,
    /// `rookery_redis_unsent_total`: publications accepted while Redis was down, or its queue or
    /// the publisher's share of it full; they are never sent later.
    pub redis_unsent: IntCounter,
    /// `rookery_redis_dropped_total`: messages received from Redis but not delivered, because a
    /// queue was full or the message was malformed.
    pub redis_dropped: IntCounter,
    /// `rookery_redis_gaps_total`: publications of other instances that never came, as the numbers
    /// of later ones show.
    pub redis_gaps: IntCounter,
    /// `rookery_redis_repeats_total`: publications of other instances that came again, and were not
    /// delivered again.
    pub redis_repeats: IntCounter,
    /// `rookery_redis_output_buffer_disconnections_total`: times that Redis closed the connection that
    /// subscribes because more waited for it than its `client-output-buffer-limit` permits.
    pub redis_output_buffer_disconnections: IntCounter,
    /// `rookery_config_reloads_total{outcome="applied"}`: configuration files put into effect.
    pub reloads_applied: IntCounter,
    /// `rookery_config_reloads_total{outcome="refused"}`: invalid configuration files.
    pub reloads_refused: IntCounter,
    /// `rookery_config_current`: 0 while the configuration file is invalid and an earlier one is
    /// in effect.
    pub config_current: IntGauge,
    /// The keys of the API and of tokens.
    pub auth: AuthMetrics,
    /// Calls to the application's backend.
    pub backend: BackendMetrics,
    /// Rooms with presence.
    pub presence: PresenceMetrics,
    /// `rookery_memberships_revoked_total`: memberships ended because reloaded rules forbid them.
    pub memberships_revoked: IntCounter,
    /// `rookery_api_overloaded_total`: requests of the HTTP API answered with 429, because the
    /// memory for request bodies was used up.
    pub api_overloaded: IntCounter,
    /// `rookery_api_ids_evicted_total`: publication ids that were forgotten before they expired;
    /// a retry with such an id is published again.
    pub api_ids_evicted: IntCounter,
    /// `rookery_api_ids_refused_total`: commands for idempotency records that Redis refused, as it
    /// is a replica, out of memory, or does not permit them.
    pub api_ids_refused: IntCounter,
    /// `rookery_log_lines_suppressed_total`: log lines suppressed by rate limiting.
    pub log_lines_suppressed: IntCounter,
    /// `rookery_forwarded_unreadable_total`: handshakes for which a trusted proxy reported an
    /// `X-Forwarded-For` that is not an address.
    pub forwarded_unreadable: IntCounter,
    /// `rookery_api_request_seconds`: time to answer a request of the HTTP API, in seconds.
    pub api_seconds: Histogram,
}

impl Metrics {
    /// Creates all metrics, and those of the process, in a new registry.
    ///
    /// # Errors
    /// Only when two metrics have the same name, which is a mistake in this file.
    pub fn new() -> prometheus::Result<Self> {
        let (registry, cheap) = (Registry::new(), Registry::new());
        let families = Families::new(&registry);
        families.build_info()?;
        let connections = connections(&families, &cheap)?;
        let [connects_accepted, connects_refused] = connects(&families)?;
        let [disconnects, rejected] = refusals_and_ends(&families)?;
        let [publications, deliveries] = traffic(&families)?;
        let [reloads_applied, reloads_refused, memberships_revoked] = reloads(&families)?;
        let [redis_reconnects, redis_unsent, redis_dropped, redis_gaps, redis_repeats] =
            redis(&families)?;
        let [api_overloaded, api_ids_evicted, api_ids_refused] = api(&families)?;
        Ok(Metrics {
            connections: [Transport::Polling, Transport::Websocket]
                .map(|transport| connections.with_label_values(&[transport.label()])),
            connects_accepted,
            connects_refused,
            disconnects,
            rooms: families.gauge("rookery_rooms", "Rooms with members on this instance")?,
            publications,
            recipients: recipients(&families)?,
            deliveries,
            deflate: DeflateMetrics::new(&families)?,
            clients: ClientTraffic::new(&families)?,
            rejected,
            redis_up: IntGauge::new("rookery_redis_up", "1 while connected to Redis, else 0")?,
            redis_messages: redis_messages(&families)?,
            redis_reconnects,
            redis_unsent,
            redis_dropped,
            redis_gaps,
            redis_repeats,
            redis_output_buffer_disconnections: output_buffer_disconnections(&families)?,
            reloads_applied,
            reloads_refused,
            config_current: config_current(&families)?,
            auth: AuthMetrics::new(&families)?,
            backend: BackendMetrics::new(&families)?,
            presence: PresenceMetrics::new(&families)?,
            memberships_revoked,
            api_overloaded,
            api_ids_evicted,
            api_ids_refused,
            log_lines_suppressed: log_lines_suppressed(&families)?,
            forwarded_unreadable: forwarded_unreadable(&families)?,
            api_seconds: api_seconds(&families)?,
            registry,
            cheap,
        })
    }

    /// The registry, to which other modules add their collectors.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Exposes `rookery_redis_up`. Called once, where Redis is configured.
    ///
    /// # Errors
    /// When it was called before.
    pub fn with_redis(&self) -> prometheus::Result<()> {
        self.cheap.register(Box::new(self.redis_up.clone()))?;
        self.registry.register(Box::new(self.redis_up.clone()))
    }

    /// The families with these names, or every family if `names` is empty. Unknown names are
    /// ignored.
    pub fn gather(&self, names: &[String]) -> Vec<MetricFamily> {
        if names.is_empty() {
            return self.registry.gather();
        }
        let cheap = names.iter().all(|name| CHEAP.contains(&name.as_str()));
        let mut families = if cheap { &self.cheap } else { &self.registry }.gather();
        families.retain(|family| names.iter().any(|name| name == family.name()));
        families
    }

    /// `rookery_connections{transport}`: open sessions on this transport that have connected to a
    /// namespace.
    pub fn connections(&self, transport: Transport) -> &IntGauge {
        &self.connections[transport as usize]
    }

    /// Open sessions that have connected to a namespace, on all transports.
    pub fn sessions(&self) -> u64 {
        let sessions: i64 = self.connections.iter().map(IntGauge::get).sum();
        u64::try_from(sessions).unwrap_or(0)
    }

    /// How many sessions ended for this reason.
    pub fn disconnects(&self, reason: Disconnected) -> u64 {
        self.disconnects[reason as usize].get()
    }

    /// How many publications came from this source.
    pub fn publications(&self, source: Source) -> u64 {
        self.publications.get(source.index())
    }

    /// How many deliveries had this outcome.
    pub fn deliveries(&self, outcome: Outcome) -> u64 {
        self.deliveries.get(outcome as usize)
    }

    /// How many refusals had this reason.
    pub fn refusals(&self, reason: Rejected) -> u64 {
        self.rejected[reason as usize].get()
    }

    /// Counts the end of a session.
    pub fn disconnected(&self, reason: Disconnected) {
        self.disconnects[reason as usize].inc();
    }

    /// Counts a publication.
    pub fn published(&self, source: Source) {
        self.publications.add(source.index(), 1);
    }

    /// Counts deliveries.
    pub fn delivered(&self, outcome: Outcome, n: u64) {
        self.deliveries.add(outcome as usize, n);
    }

    /// Counts a refusal.
    pub fn rejected(&self, reason: Rejected) {
        self.rejected[reason as usize].inc();
    }

    /// Counts messages to or from Redis.
    pub fn redis_message(&self, direction: Direction) {
        self.redis_messages[direction as usize].inc();
    }
}

fn connections(families: &Families, cheap: &Registry) -> prometheus::Result<IntGaugeVec> {
    let connections = families.gauge_vec(
        "rookery_connections",
        "Open sessions that have connected to a namespace, by transport",
        "transport",
    )?;
    cheap.register(Box::new(connections.clone()))?;
    Ok(connections)
}

fn connects(families: &Families) -> prometheus::Result<[IntCounter; 2]> {
    let connects = families.counter_vec(
        "rookery_connects_total",
        "Requests to connect to a namespace",
        "outcome",
    )?;
    Ok(["accepted", "refused"].map(|outcome| connects.with_label_values(&[outcome])))
}

fn refusals_and_ends(families: &Families) -> prometheus::Result<[Vec<IntCounter>; 2]> {
    let disconnects = Disconnected::ALL.iter().map(|reason| reason.label());
    let rejected = Rejected::ALL.iter().map(|reason| reason.label());
    Ok([
        families.counters("rookery_disconnects_total", "Closed sessions", "reason", disconnects)?,
        families.counters(
            "rookery_rejected_total",
            "Refused clients, packets and requests",
            "reason",
            rejected,
        )?,
    ])
}

fn traffic(families: &Families) -> prometheus::Result<[StripedCounters; 2]> {
    Ok([
        families.striped_counters(
            "rookery_publications_total",
            "Publications accepted here or received from Redis",
            "source",
            Source::ALL.iter().map(|source| source.label()),
        )?,
        families.striped_counters(
            "rookery_deliveries_total",
            "Deliveries, one for each publication and recipient",
            "outcome",
            Outcome::ALL.iter().map(|outcome| outcome.label()),
        )?,
    ])
}

fn recipients(families: &Families) -> prometheus::Result<IntCounter> {
    families.counter(
        "rookery_recipients_total",
        "Members here that publications were for, when their delivery began",
    )
}

fn output_buffer_disconnections(families: &Families) -> prometheus::Result<IntCounter> {
    families.counter(
        "rookery_redis_output_buffer_disconnections_total",
        "Connections that Redis closed because its output buffer for them was full",
    )
}

fn forwarded_unreadable(families: &Families) -> prometheus::Result<IntCounter> {
    families.counter(
        "rookery_forwarded_unreadable_total",
        "Handshakes whose X-Forwarded-For from a trusted proxy is not an address",
    )
}

fn reloads(families: &Families) -> prometheus::Result<[IntCounter; 3]> {
    let reloads = families.counter_vec(
        "rookery_config_reloads_total",
        "Reloads of the configuration file",
        "outcome",
    )?;
    let [applied, refused] = ["applied", "refused"].map(|o| reloads.with_label_values(&[o]));
    let revoked = families.counter(
        "rookery_memberships_revoked_total",
        "Memberships ended because reloaded rules forbid them",
    )?;
    Ok([applied, refused, revoked])
}

fn config_current(families: &Families) -> prometheus::Result<IntGauge> {
    let current = families.gauge(
        "rookery_config_current",
        "1 while the configuration file is in effect, 0 while it is invalid",
    )?;
    current.set(1);
    Ok(current)
}

fn log_lines_suppressed(families: &Families) -> prometheus::Result<IntCounter> {
    families.counter("rookery_log_lines_suppressed_total", "Log lines suppressed by rate limiting")
}

fn redis_messages(families: &Families) -> prometheus::Result<Vec<IntCounter>> {
    families.counters(
        "rookery_redis_messages_total",
        "Messages sent to and received from Redis",
        "direction",
        Direction::ALL.iter().map(|direction| direction.label()),
    )
}

fn redis(families: &Families) -> prometheus::Result<[IntCounter; 5]> {
    Ok([
        families.counter("rookery_redis_reconnects_total", "Reconnects to Redis")?,
        families.counter(
            "rookery_redis_unsent_total",
            "Accepted publications that were not sent to Redis",
        )?,
        families.counter(
            "rookery_redis_dropped_total",
            "Messages received from Redis that were not delivered",
        )?,
        families.counter(
            "rookery_redis_gaps_total",
            "Publications of other instances that never came",
        )?,
        families.counter(
            "rookery_redis_repeats_total",
            "Publications of other instances that came again",
        )?,
    ])
}

fn api(families: &Families) -> prometheus::Result<[IntCounter; 3]> {
    Ok([
        families.counter(
            "rookery_api_overloaded_total",
            "Requests of the HTTP API refused because too many were in progress",
        )?,
        families.counter(
            "rookery_api_ids_evicted_total",
            "Publication ids forgotten before they expired",
        )?,
        families.counter(
            "rookery_api_ids_refused_total",
            "Commands for publication ids that Redis refused",
        )?,
    ])
}

fn api_seconds(families: &Families) -> prometheus::Result<Histogram> {
    families.histogram("rookery_api_request_seconds", "Time to answer a request of the HTTP API")
}

#[cfg(test)]
mod tests;
