//! A [`Member`]: one client in one namespace.

use std::sync::{Arc, Weak};
use std::time::SystemTime;

use crate::connection::outbox::Outbox;

/// Ends a client's stay in a namespace: the gateway's part of a member.
pub trait Dismiss: Send + Sync {
    /// Sends DISCONNECT, so that the client stays away; with `close` the transport ends too.
    fn dismiss(&self, close: bool);
}

/// One client in one namespace, as the fan-out sees it. Shared as an `Arc`.
pub struct Member {
    /// The public id: 20 characters, of which the first 8 name the pod. Never the session's id.
    pub id: Arc<str>,
    /// The namespace.
    pub namespace: Arc<str>,
    /// The user, where the client presented a token.
    pub user: Option<Arc<str>>,
    /// When the namespace accepted it.
    pub connected_at: SystemTime,
    /// What is for it.
    pub outbox: Arc<Outbox>,
    /// How it is dismissed.
    pub client: Weak<dyn Dismiss>,
    /// Unique in this process.
    pub key: u64,
}
