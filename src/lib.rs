//! Rookery: a ready-made Socket.IO server whose rooms work across instances.
//!
//! The binary is the product; this library is its inside, for its own tests. The way of a
//! publication through it is told in docs/architecture.md.

#![forbid(unsafe_code)]

pub mod bench;
pub mod cli;
pub mod client;
pub mod config;
pub mod data;
pub mod fanout;
pub mod ops;
pub mod publication;
