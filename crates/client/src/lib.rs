//! A Socket.IO client over WebSocket, as `rookery sub` and `rookery pub` use it, and the load
//! generator of `rookery bench`.

#![forbid(unsafe_code)]

pub mod bench;
mod client;
mod error;
mod target;
mod transport;

pub use client::{Client, Event};
pub use error::ClientError;
pub use target::Target;
