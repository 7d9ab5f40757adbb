//! The [`Gateway`]: what all sessions and clients of this instance share.

use std::fmt::Display;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;

use super::admin::state::Admin;
use super::authenticator::Authenticator;
use super::drain_state::DrainState;
use super::limits::Limits;
use super::log_throttles::{LogSubject, LogThrottles};
use super::namespaces::LiveNamespaces;
use super::rebalance::state::RebalanceState;
use crate::backend::Backend;
use crate::broker::Broker;
use crate::connection::outbox::{OutboxContext, OutboxLimits};
use crate::telemetry::metrics::{Metrics, Rejected};
use rookery_config::Config;
use rookery_ops::readiness::Readiness;
use rookery_policy::{EventRules, Rules};

/// What all sessions and clients of this instance share.
pub struct Gateway {
    /// The configuration as of the start of the process.
    pub config: Arc<Config>,
    /// Rules that decide who may join and publish; replaced on a configuration reload.
    pub rules: Arc<ArcSwap<Rules>>,
    /// Rules that map client events to actions.
    pub events: EventRules,
    /// Takes publications, joins and leaves.
    pub broker: Broker,
    /// The namespaces that clients may connect to, and those of patterns that clients are in.
    pub namespaces: Arc<LiveNamespaces>,
    /// Limits on sessions, addresses and events; replaced on a configuration reload.
    pub limits: Limits,
    /// Limits of outboxes; changed on a configuration reload.
    pub outbox_limits: Arc<OutboxLimits>,
    /// Decides who may connect.
    pub authenticator: Authenticator,
    /// The admin UI; `None` where none is configured.
    pub admin: Option<Admin>,
    /// Whether this instance accepts new traffic, as `healthPath` answers.
    pub readiness: Readiness,
    /// The application's backend; `None` where none is configured.
    pub backend: Option<Backend>,
    /// How far this instance is in its drain.
    pub drain: DrainState,
    /// Whether newcomers are sent to other instances while this one gives sessions away.
    pub rebalance: RebalanceState,
    /// The shards, by their number.
    pub shards: Vec<ShardHandle>,
    /// The counters of this instance.
    pub metrics: Arc<Metrics>,
    /// Throttles of the log lines that clients can cause.
    pub log_throttles: LogThrottles,
}

impl Gateway {
    /// The admin UI, if this namespace is that of admins.
    pub fn admin_of(&self, namespace: &str) -> Option<&Admin> {
        self.admin.as_ref().filter(|admin| *admin.namespace == *namespace)
    }

    /// Bytes that wait in the outboxes of all clients.
    pub fn queued_bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.outbox_context.backlog.bytes()).sum()
    }

    /// Counts and logs a refusal. `error` says what was wrong and must hold nothing that the
    /// client sent.
    pub fn refused(&self, reason: Rejected, subject: LogSubject<'_>, error: &dyn Display) {
        self.metrics.rejected(reason);
        self.log_throttles.log_refusal(reason, subject, error);
    }
}

/// A shard as the gateway uses it: the runtime that the shard's sessions run on. Cloning is shallow.
#[derive(Clone)]
pub struct ShardHandle {
    /// The shard's single-threaded runtime.
    pub runtime: Handle,
    /// What the outboxes of this shard share.
    pub outbox_context: Arc<OutboxContext>,
}

impl ShardHandle {
    /// Spawns a tracked task on the shard's runtime.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.outbox_context.tracker.spawn_on(task, &self.runtime);
    }
}
