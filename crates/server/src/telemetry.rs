//! What operators see of the server: metrics, delivery latency, traces, and log lines that are
//! throttled because clients cause them.

pub mod latency;
pub mod metrics;
pub mod trace;
