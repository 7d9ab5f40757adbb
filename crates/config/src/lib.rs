//! The configuration of `rookery serve`, parsed once into types.
//!
//! [`Config`] holds the types, [`load`] reads a file into them, [`check`] finds what the types
//! alone cannot rule out. Everything is pure except [`load`], [`files`] and [`api_keys`], which read
//! files.

#![forbid(unsafe_code)]

pub mod api_keys;
pub mod check;
mod config;
pub mod error;
pub mod files;
pub mod load;
pub mod otlp;
mod redacted;
pub mod tree;
pub mod typed;
pub mod units;

pub use config::{
    Algorithm, Auth, Backend, BridgeRule, ClosingOrder, Config, Connections, Cors, Drain, Hook,
    Jwt, Latency, Limits, LogFormat, PerIp, Rebalance, Redis, RedisTls, Rooms, SocketIo,
    SubscriptionMode, Telemetry, Transport, WhenDown, Wire,
};
pub use redacted::redacted;
