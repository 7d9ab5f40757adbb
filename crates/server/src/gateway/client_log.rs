//! What is logged about a client: that it is in its namespace, and that it is gone.

use std::fmt::Display;
use std::net::IpAddr;

use crate::rooms::member::Member;

/// Logs that the client at this address is in its namespace.
pub fn connected(member: &Member, client: IpAddr) {
    tracing::debug!(
        member = &*member.id,
        namespace = &*member.namespace,
        user = member.user.as_deref(),
        %client,
        "client connected"
    );
}

/// Logs that the client is gone from its namespace, and why.
pub fn disconnected(member: &Member, reason: &dyn Display) {
    let connected = member.connected_at.elapsed().unwrap_or_default();
    tracing::debug!(
        member = &*member.id,
        namespace = &*member.namespace,
        user = member.user.as_deref(),
        %reason,
        seconds = connected.as_secs_f64(),
        "client disconnected"
    );
}
