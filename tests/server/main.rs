//! The server from outside: a real process, real sockets, and a real Redis where two are needed.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod broken_upgrades;
mod client;
mod collector;
mod doctor;
mod endings;
mod harness;
mod http;
mod ledger;
mod limits;
mod malformed;
mod protocol;
mod protocol_v3;
mod proxy;
mod racing;
mod redis;
mod reload;
mod stalled;
mod traces;
mod transport;
mod turns;
mod websocket;
