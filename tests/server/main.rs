//! The server from outside: a real process, real sockets, and a real Redis where two are needed.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod broken_upgrades;
mod client;
mod collector;
mod doctor;
mod endings;
mod gauges;
mod harness;
mod http;
mod latency;
mod ledger;
mod limits;
mod logs;
mod malformed;
mod protocol;
mod protocol_v3;
mod proxy;
mod racing;
mod ranking;
mod redis;
mod reload;
mod stalled;
mod status;
mod top;
mod traces;
mod transport;
mod turns;
mod websocket;
