//! The gateway: clients, from the accepted connection to the events they send.
//!
//! Engine.IO's handshake, polling and upgrade are here; what is inside a session (heartbeats,
//! namespaces, packets in) is the protocol engine's, and this is the only module that knows it.

mod client;
mod connect;
mod drain;
mod engine;
mod events;
mod handshake;
mod http;
mod limits;
mod lines;
mod listener;
mod query;
mod session;
mod upgrade;

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;

use crate::connection::outbox::{OutboxContext, OutboxLimits};
use crate::rooms::router::Router;
use crate::telemetry::metrics::Metrics;
pub use connect::Authenticator;
pub use drain::{Drain, Phase};
pub use engine::Engine;
pub use limits::Limits;
pub use lines::Lines;
pub use listener::accept;
use rookery_config::Config;
use rookery_policy::{EventRules, Rules};
pub use session::{Sessions, sweep};

/// One core's sessions: the runtime that they live on.
pub struct ShardSeat {
    /// The shard's runtime.
    pub runtime: Handle,
    /// What its outboxes share.
    pub around: Arc<OutboxContext>,
}

/// Everything that the parts of the gateway share.
pub struct Gateway {
    /// The configuration, as it was at the start.
    pub config: Arc<Config>,
    /// The pod's name: the first 8 characters of its members' public ids.
    pub pod: Arc<str>,
    /// Who may join and publish; replaced when the configuration changes.
    pub rules: Arc<ArcSwap<Rules>>,
    /// What client events do.
    pub events: EventRules,
    /// Where publications, joins and leaves go.
    pub router: Router,
    /// Bounds on sessions, addresses and events.
    pub limits: Limits,
    /// Bounds of outboxes.
    pub bounds: Arc<OutboxLimits>,
    /// Who may connect.
    pub authenticator: Authenticator,
    /// The sessions, by their ids.
    pub sessions: Sessions,
    /// Whether the process is about to stop.
    pub drain: Drain,
    /// The shards' runtimes.
    pub shards: Vec<ShardSeat>,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// Lines of the log that clients cause.
    pub lines: Lines,
}
