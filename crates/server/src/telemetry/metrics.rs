//! The counters and gauges of `/metrics`, by their names in the contract.

mod labels;
mod reading;

use prometheus::proto::MetricFamily;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::message::Source;
pub use labels::{Direction, Disconnected, Outcome, Rejected};
pub use reading::Reading;
use rookery_config::Transport;

/// The families that the operator reads from every server every few seconds.
const CHEAP: [&str; 2] = ["rookery_connections", "rookery_redis_up"];

/// Every metric that is a plain counter, gauge or histogram. Cloning is not needed: share it in
/// an `Arc`. All label values exist from the start, at zero.
pub struct Metrics {
    registry: Registry,
    /// The families of [`CHEAP`], again: gathering these costs nothing, where gathering all of
    /// `registry` merges histograms over the shards.
    cheap: Registry,
    connections: [IntGauge; 2],
    /// `rookery_connects_total{outcome="accepted"}`: clients accepted in a namespace.
    pub connects_accepted: IntCounter,
    /// `rookery_connects_total{outcome="refused"}`.
    pub connects_refused: IntCounter,
    disconnects: Vec<IntCounter>,
    /// `rookery_rooms`: rooms that have members here.
    pub rooms: IntGauge,
    publications: Vec<IntCounter>,
    deliveries: Vec<IntCounter>,
    rejected: Vec<IntCounter>,
    /// `rookery_redis_up`: 1 while both links to Redis are up. Absent without Redis.
    pub redis_up: IntGauge,
    redis_messages: Vec<IntCounter>,
    /// `rookery_redis_reconnects_total`.
    pub redis_reconnects: IntCounter,
    /// `rookery_redis_unsent_total`: accepted while Redis was away, or what its queue could not
    /// take; never sent later.
    pub redis_unsent: IntCounter,
    /// `rookery_redis_dropped_total`: received from Redis but not delivered, because the shards'
    /// queues were full or the message was not understood.
    pub redis_dropped: IntCounter,
    /// `rookery_config_reloads_total{outcome="applied"}`.
    pub reloads_applied: IntCounter,
    /// `rookery_config_reloads_total{outcome="refused"}`.
    pub reloads_refused: IntCounter,
    /// `rookery_config_current`: 0 while the file is one that was refused.
    pub config_current: IntGauge,
    /// `rookery_api_overloaded_total`: requests of the HTTP API that were answered 429, because
    /// the memory for the bodies of requests was taken.
    pub api_overloaded: IntCounter,
    /// `rookery_api_ids_evicted_total`: answers that were forgotten before their time; the same
    /// id would be published again.
    pub api_ids_evicted: IntCounter,
    /// `rookery_log_lines_suppressed_total`: lines that were not written, because clients caused
    /// too many of their kind.
    pub log_lines_suppressed: IntCounter,
    /// `rookery_api_request_seconds`: time to answer requests of the HTTP API.
    pub api_seconds: Histogram,
}

impl Metrics {
    /// Registers all of them, and the process's own, in a registry of their own.
    ///
    /// # Errors
    /// Only when a name were registered twice, a mistake in this file.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let cheap = Registry::new();
        let connections = gauges(
            &registry,
            "rookery_connections",
            "Sessions, by what carries them",
            "transport",
        )?;
        cheap.register(Box::new(connections.clone()))?;
        let connects = counters(
            &registry,
            "rookery_connects_total",
            "Clients that asked for a namespace",
            "outcome",
        )?;
        let reloads = counters(
            &registry,
            "rookery_config_reloads_total",
            "Configuration files read again",
            "outcome",
        )?;
        let redis_up = IntGauge::new("rookery_redis_up", "1 while the links to Redis are up")?;
        let api_seconds = Histogram::with_opts(HistogramOpts::new(
            "rookery_api_request_seconds",
            "Time to answer requests of the HTTP API",
        ))?;
        registry.register(Box::new(api_seconds.clone()))?;
        gauges(&registry, "rookery_build_info", "1, for the version that runs", "version")?
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(Metrics {
            connections: [Transport::Polling, Transport::Websocket]
                .map(|t| connections.with_label_values(&[t.label()])),
            connects_accepted: connects.with_label_values(&["accepted"]),
            connects_refused: connects.with_label_values(&["refused"]),
            disconnects: each(
                &counters(&registry, "rookery_disconnects_total", "Sessions that ended", "reason")?,
                Disconnected::ALL.iter().map(|r| r.label()),
            ),
            rooms: gauge(&registry, "rookery_rooms", "Rooms that have members on this instance")?,
            publications: each(
                &counters(
                    &registry,
                    "rookery_publications_total",
                    "Publications accepted or received",
                    "source",
                )?,
                Source::ALL.iter().map(|s| s.label()),
            ),
            deliveries: each(
                &counters(
                    &registry,
                    "rookery_deliveries_total",
                    "Publications times recipients, by what became of each",
                    "outcome",
                )?,
                Outcome::ALL.iter().map(|o| o.label()),
            ),
            rejected: each(
                &counters(&registry, "rookery_rejected_total", "Refusals", "reason")?,
                Rejected::ALL.iter().map(|r| r.label()),
            ),
            redis_up,
            redis_messages: each(
                &counters(
                    &registry,
                    "rookery_redis_messages_total",
                    "Messages to and from Redis",
                    "direction",
                )?,
                Direction::ALL.iter().map(|d| d.label()),
            ),
            redis_reconnects: counter(
                &registry,
                "rookery_redis_reconnects_total",
                "Times that a link to Redis was made again",
            )?,
            redis_unsent: counter(
                &registry,
                "rookery_redis_unsent_total",
                "Publications that were accepted and never reached Redis",
            )?,
            redis_dropped: counter(
                &registry,
                "rookery_redis_dropped_total",
                "Messages from Redis that were not delivered",
            )?,
            reloads_applied: reloads.with_label_values(&["applied"]),
            reloads_refused: reloads.with_label_values(&["refused"]),
            config_current: {
                let current = gauge(
                    &registry,
                    "rookery_config_current",
                    "0 while the configuration file is one that was refused",
                )?;
                current.set(1);
                current
            },
            api_overloaded: counter(
                &registry,
                "rookery_api_overloaded_total",
                "Requests of the HTTP API refused because too many were being answered",
            )?,
            api_ids_evicted: counter(
                &registry,
                "rookery_api_ids_evicted_total",
                "Answers to publications with an id forgotten before their time",
            )?,
            log_lines_suppressed: counter(
                &registry,
                "rookery_log_lines_suppressed_total",
                "Log lines that were not written because clients caused too many of their kind",
            )?,
            api_seconds,
            registry,
            cheap,
        })
    }

    /// The registry, for collectors of other modules and for the scrape.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Adds `rookery_redis_up` to the scrape; called once, where Redis is configured.
    ///
    /// # Errors
    /// When called twice.
    pub fn with_redis(&self) -> prometheus::Result<()> {
        self.cheap.register(Box::new(self.redis_up.clone()))?;
        self.registry.register(Box::new(self.redis_up.clone()))
    }

    /// The families with these names, or every family when there are none. Names that no family
    /// has are passed over.
    pub fn gather(&self, names: &[String]) -> Vec<MetricFamily> {
        if names.is_empty() {
            return self.registry.gather();
        }
        let cheap = names.iter().all(|name| CHEAP.contains(&name.as_str()));
        let mut families = if cheap { &self.cheap } else { &self.registry }.gather();
        families.retain(|family| names.iter().any(|name| name == family.name()));
        families
    }

    /// `rookery_connections{transport}`.
    pub fn connections(&self, transport: Transport) -> &IntGauge {
        &self.connections[transport as usize]
    }

    /// How many sessions ended for this reason.
    pub fn disconnects(&self, reason: Disconnected) -> u64 {
        self.disconnects[reason as usize].get()
    }

    /// How many publications came from this source.
    pub fn publications(&self, source: Source) -> u64 {
        self.publications[source.index()].get()
    }

    /// How many deliveries had this outcome.
    pub fn deliveries(&self, outcome: Outcome) -> u64 {
        self.deliveries[outcome as usize].get()
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
        self.publications[source.index()].inc();
    }

    /// Counts deliveries.
    pub fn delivered(&self, outcome: Outcome, n: u64) {
        self.deliveries[outcome as usize].inc_by(n);
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

fn counters(
    registry: &Registry,
    name: &str,
    help: &str,
    label: &str,
) -> prometheus::Result<IntCounterVec> {
    let vec = IntCounterVec::new(Opts::new(name, help), &[label])?;
    registry.register(Box::new(vec.clone()))?;
    Ok(vec)
}

fn gauges(
    registry: &Registry,
    name: &str,
    help: &str,
    label: &str,
) -> prometheus::Result<IntGaugeVec> {
    let vec = IntGaugeVec::new(Opts::new(name, help), &[label])?;
    registry.register(Box::new(vec.clone()))?;
    Ok(vec)
}

fn counter(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntCounter> {
    let counter = IntCounter::new(name, help)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntGauge> {
    let gauge = IntGauge::new(name, help)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn each<'a>(vec: &IntCounterVec, labels: impl Iterator<Item = &'a str>) -> Vec<IntCounter> {
    labels.map(|label| vec.with_label_values(&[label])).collect()
}

#[cfg(test)]
mod tests;
