//! What operators see: metrics, probes, logs, shutdown.

pub mod admin;
pub mod listener;
pub mod metrics;
pub mod page;
pub mod readiness;
pub mod telemetry;
pub mod throttle;
