//! A Socket.IO client over WebSocket, as `rookery sub` and `rookery pub` use it, and the load
//! generator of `rookery bench`.

#![forbid(unsafe_code)]

mod backoff;
pub mod bench;
mod client;
mod error;
mod target;
mod transport;

pub use backoff::Backoff;
pub use client::{Client, Event};
pub use error::ClientError;
pub use target::Target;
