//! What operators see: metrics, probes, logs, shutdown.

pub mod metrics;
pub mod telemetry;
