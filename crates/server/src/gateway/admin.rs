//! The admin UI of Socket.IO: what the page of `@socket.io/admin-ui` connects to.
//!
//! The lowest first: logging in; what is shown; what admins order; the shared [`state`]; what an
//! admin that connects is sent; the task that reports.

pub mod aggregated_events;
pub mod changes;
pub mod command;
pub mod event;
pub mod login;
pub mod report;
pub mod reporter;
pub mod session_tokens;
pub mod snapshot;
pub mod state;
pub mod welcome;
