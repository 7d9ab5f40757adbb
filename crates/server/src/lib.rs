//! The Rookery server: rooms whose members hear each other whichever instance they are on.
//!
//! The modules depend on each other in one direction, lowest first; `tests/layers` holds them to
//! it:
//!
//! 1. [`hashing`]: hash tables; [`wakeups`]: wake-ups between threads; [`message`]: publications and the
//!    names in them
//! 2. [`telemetry`]: metrics, delivery latency, traces
//! 3. [`connection`]: the outbox and the byte stream of one session; [`backend`]: webhooks
//! 4. [`rooms`]: who is in which room on this instance, and delivery to them
//! 5. [`backplane`]: the other instances and Node servers, over Redis
//! 6. [`broker`]: the one place that knows both local rooms and the backplane
//! 7. [`gateway`] and [`api`]: clients and publishers
//!
//! [`auth`] verifies tokens and depends on the configuration alone.

#![forbid(unsafe_code)]

pub mod api;
pub mod auth;
pub mod backend;
pub mod backplane;
pub mod broker;
pub mod connection;
pub mod gateway;
pub mod hashing;
pub mod message;
pub mod rooms;
pub mod status_page;
pub mod telemetry;
pub mod wakeups;
