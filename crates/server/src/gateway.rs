//! The gateway: clients, from the accepted connection to the events they send.
//!
//! Engine.IO's handshake, polling and upgrade are implemented here. What happens inside a session
//! (heartbeats, namespaces, incoming packets) is left to socketioxide, which only this module knows.
//!
//! The files depend on each other in one direction, lowest first: limits, log throttles,
//! authenticator, session ids, namespaces and drain state; the shared [`Gateway`]; clients; webhooks,
//! what admins are sent, and events; sessions; what reviews, reports and sweeps them; the protocol
//! engine and its handlers; HTTP; the listener.

mod accepted;
mod admin;
mod authenticator;
mod client;
mod client_log;
mod client_rates;
mod client_webhooks;
mod connect_attempts;
mod connect_error;
mod disconnect_report;
mod drain;
mod drain_pace;
mod drain_state;
mod engine;
mod event_rate;
mod events;
mod expiry;
mod forwarded;
#[doc(hidden)]
pub mod fuzzing;
mod http;
mod limits;
mod listener;
mod log_throttles;
mod memory;
mod namespaces;
mod presence;
mod rebalance;
mod rule_changes;
mod session;
mod session_ids;
mod state;
mod sweep;
mod token_bucket;
mod webhooks;

pub use admin::reporter::report_to_admins;
pub use admin::state::Admin;
pub use authenticator::Authenticator;
pub use drain::drain;
pub use drain_state::{DrainPhase, DrainState};
pub use engine::Engine;
pub use limits::Limits;
pub use listener::accept;
pub use log_throttles::LogThrottles;
pub use memory::{Memory, MemoryJudge, MemoryLevel, SESSION_BYTES};
pub use namespaces::LiveNamespaces;
pub use rebalance::rebalance;
pub use rebalance::state::RebalanceState;
pub use rule_changes::follow_rules;
pub use session::Sessions;
pub use state::{Gateway, ShardHandle};
pub use sweep::sweep;
