//! The configuration of `rookery serve`, parsed once into types.
//!
//! [`Config`] holds the types, [`load`] reads a file into them, [`check`] finds what the types
//! alone cannot rule out. Everything is pure except [`load`], [`files`], [`client_certificate`] and
//! [`api_keys`], which read files.

#![forbid(unsafe_code)]

pub mod api_keys;
pub mod check;
pub mod client_certificate;
mod config;
pub mod error;
pub mod files;
mod glob;
pub mod load;
pub mod otlp;
pub mod password_hash;
mod redacted;
pub mod redis_servers;
pub mod tree;
pub mod typed;
pub mod units;

pub use config::{
    Admin, AdminMode, Algorithm, Auth, Backend, BridgeRule, ClosingOrder, Config, Connections,
    Cors, Drain, Hook, Jwt, Latency, Limits, LogFormat, PerIp, Rebalance, Redis, RedisMode,
    RedisSentinel, RedisTls, Rooms, SocketIo, SubscriptionMode, Telemetry, Transport, WhenDown,
    Wire,
};
pub use glob::Glob;
pub use redacted::redacted;
