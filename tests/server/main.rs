//! The server from outside: a real process, real sockets, and a real Redis where two are needed.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod client;
mod harness;
mod http;
mod protocol;
mod protocol_v3;
mod transport;
mod websocket;
