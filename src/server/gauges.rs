//! Gauges whose values are read from the running parts at each scrape.

use std::sync::Arc;

use prometheus::Registry;

use rookery_server::gateway::Gateway;
use rookery_server::telemetry::metrics::GaugeFunc;

/// Registers them. The registry holds the gateway weakly.
///
/// # Errors
/// When called twice.
pub fn register(registry: &Registry, gateway: &Arc<Gateway>) -> prometheus::Result<()> {
    let add = |name: &str, help: &str, read: fn(&Gateway) -> f64| {
        let gateway = Arc::downgrade(gateway);
        let read = move || gateway.upgrade().map_or(0.0, |gateway| read(&gateway));
        registry.register(Box::new(GaugeFunc::new(name, help, read)?))
    };
    add("rookery_outbox_bytes", "Bytes that wait in the clients' queues", |gateway| {
        gateway.queued_bytes() as f64
    })?;
    add("rookery_shard_queue", "Commands that wait for the shards", |gateway| {
        gateway.broker.waiting() as f64
    })?;
    add("rookery_connections_limit", "Sessions that may be open: limits.connections", |gateway| {
        f64::from(gateway.limits.config().connections.get())
    })?;
    add("rookery_memory_bytes", "Memory in use, as limits.memory counts it", |gateway| {
        gateway.limits.memory().used() as f64
    })?;
    add("rookery_memory_limit_bytes", "limits.memory; 0 without a limit", |gateway| {
        gateway.limits.memory().limit().unwrap_or(0) as f64
    })?;
    let help = "Open sessions that have connected to no namespace yet";
    add("rookery_sessions_unconnected", help, |gateway| f64::from(gateway.limits.unconnected()))?;
    let help = "Namespaces of patterns that clients are in or ask for";
    add("rookery_namespaces", help, |gateway| gateway.namespaces.len() as f64)?;
    let help = "Time since the key set of auth.jwt.jwksUrl was fetched; 0 without one";
    add("rookery_jwks_age_seconds", help, |gateway| {
        let verifier = gateway.authenticator.verifier.as_ref();
        verifier.and_then(|verifier| verifier.key_set_age()).unwrap_or_default().as_secs_f64()
    })?;
    let help = "Sessions here by the mean of the deployment's instances: 1 where they are equal";
    add("rookery_imbalance_ratio", help, Gateway::imbalance)?;
    add("rookery_drain_seconds", "Time since it was told to stop; 0 before", |gateway| {
        gateway.drain.elapsed().unwrap_or_default().as_secs_f64()
    })?;
    add("rookery_drain_planned_seconds", "The longest that a drain should take", |gateway| {
        gateway.drain.planned(&gateway.config.drain).as_secs_f64()
    })
}
