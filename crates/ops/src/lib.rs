//! What the server and the operator share: the internal listener with its probes and metrics, and
//! the log.

#![forbid(unsafe_code)]

pub mod admin;
pub mod critical;
pub mod escape;
pub mod keep_alive;
pub mod listener;
pub mod log;
pub mod readiness;
pub mod throttle;
