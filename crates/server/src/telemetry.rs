//! What operators observe of the server: metrics, delivery latency and traces.

pub mod latency;
pub mod metrics;
pub mod trace;
