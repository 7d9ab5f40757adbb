//! Engine.IO sessions as a client opens them, and the connections below them.

pub(super) mod connector;
mod cookies;
mod open_packet;
pub(super) mod polling;
pub(super) mod request;
pub(super) mod sessions;
mod tls;
pub(super) mod websocket;
