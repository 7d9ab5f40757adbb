//! Every parser of input from outside as a [`Target`]: a function that panics where the parser, or
//! what it gives, breaks a rule.
//!
//! `fuzz/` runs the targets with libFuzzer, and this crate's tests run them over the kept corpus and
//! mutations of it. The tests also measure the [`Shape`]s of each target: twice the input must cost
//! about twice the time and memory.

#![forbid(unsafe_code)]
#![allow(clippy::missing_panics_doc)]

mod clients;
mod peers;
mod repeat;
mod settings;
mod target;
mod tokens;

pub use clients::{body, event, forwarded, frames, msgpack_packet, packet, query};
pub use peers::{backend_reply, pod_message, scrape, wire};
pub use settings::{config, room, rules};
pub use target::{Shape, Target};
pub use tokens::{jwks, token};

/// All targets.
pub const TARGETS: [Target; 16] = [
    packet::TARGET,
    msgpack_packet::TARGET,
    frames::TARGET,
    event::TARGET,
    body::TARGET,
    query::TARGET,
    forwarded::TARGET,
    token::TARGET,
    jwks::TARGET,
    config::TARGET,
    rules::TARGET,
    room::TARGET,
    wire::TARGET,
    pod_message::TARGET,
    scrape::TARGET,
    backend_reply::TARGET,
];
