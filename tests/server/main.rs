//! Tests the server as a black box: a real process, real sockets, and a real Redis where needed.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bodies;
mod broken_upgrades;
mod client;
mod close_codes;
mod collector;
mod delivery_counts;
mod doctor;
mod drain_order;
mod event_order;
mod forwarded;
mod gauges;
mod harness;
mod http;
mod http2;
mod latency;
mod limits;
mod log_secrets;
mod logs;
mod malformed;
mod membership_races;
mod memory;
mod protocol;
mod protocol_v3;
mod proxy;
mod ranking;
mod redis;
mod reload;
mod session_end;
mod stalled_members;
mod status;
mod top;
mod traces;
mod transport;
mod websocket;
