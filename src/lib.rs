//! Rookery: a ready-made Socket.IO server whose rooms work across instances.
//!
//! The binary is the product; this library is its inside, for its own tests. The way of a
//! publication through it is told in docs/architecture.md.

#![forbid(unsafe_code)]

pub mod api;
pub mod auth;
pub mod bench;
pub mod cli;
pub mod client;
pub mod config;
pub mod data;
pub mod delivery;
pub mod fanout;
pub mod gateway;
pub mod latency;
pub mod operator;
pub mod ops;
pub mod policy;
pub mod publication;
pub mod server;
pub mod trace;
