//! The [`Lines`] of the log that clients cause. Each kind has its own throttle, so that a flood of
//! one does not hide the others.

use std::fmt::Display;
use std::net::IpAddr;

use super::Gateway;
use super::client::Client;
use super::limits::Fullness;
use crate::telemetry::metrics::{Metrics, Rejected};
use rookery_ops::throttle::{Throttle, limited};

/// The throttles of these lines.
pub struct Lines {
    refusals: Vec<Throttle>,
    /// Clients that read too slowly.
    pub slow: Throttle,
    /// Connections that could not be accepted.
    pub accept: Throttle,
}

/// Whom a line is about, as far as it is known.
#[derive(Clone, Copy, Default)]
pub struct About<'a> {
    /// The client's address.
    pub client: Option<IpAddr>,
    /// The namespace, where there is no member yet.
    pub namespace: Option<&'a str>,
    /// The client in its namespace.
    pub member: Option<&'a Client>,
    /// The room that it is about.
    pub room: Option<&'a str>,
}

impl Lines {
    /// Nothing was written yet.
    pub fn new(metrics: &Metrics) -> Self {
        let throttle = || Throttle::new(&metrics.log_lines_suppressed);
        Lines {
            refusals: Rejected::ALL.iter().map(|_| throttle()).collect(),
            slow: throttle(),
            accept: throttle(),
        }
    }
}

impl<'a> About<'a> {
    /// A client's address is all that is known.
    pub fn address(client: IpAddr) -> Self {
        About { client: Some(client), ..About::default() }
    }

    /// A client in a namespace.
    pub fn member(member: &'a Client) -> Self {
        let client = member.session.upgrade().map(|session| session.address);
        About { client, member: Some(member), ..About::default() }
    }

    /// In this namespace.
    pub fn in_namespace(self, namespace: &'a str) -> Self {
        About { namespace: Some(namespace), ..self }
    }

    /// About this room.
    pub fn of_room(self, room: &'a str) -> Self {
        About { room: Some(room), ..self }
    }
}

impl Gateway {
    /// Counts a refusal and tells of it; `error` says what was wrong, without anything that the
    /// client sent. That `limits.connections` is reached is told once, by [`Self::at_the_limit`].
    pub fn refused(&self, reason: Rejected, about: About<'_>, error: &dyn Display) {
        self.metrics.rejected(reason);
        let member = about.member.map(|client| &client.member);
        let namespace = about.namespace.or(member.map(|member| &*member.namespace));
        let client = about.client.map(tracing::field::display);
        let (id, user) = (member.map(|m| &*m.id), member.and_then(|m| m.user.as_deref()));
        let (room, reason_label) = (about.room, reason.label());
        if reason == Rejected::Connections {
            tracing::debug!(reason = reason_label, client, %error, "refused a client");
            return;
        }
        limited!(
            self.lines.refusals[reason as usize],
            info,
            reason = reason_label,
            client,
            namespace,
            member = id,
            user,
            room,
            %error,
            "refused a client"
        );
    }

    /// Looks whether clients are refused because of `limits.connections`: one line when that
    /// begins, one when it is over. Called every few seconds.
    pub fn at_the_limit(&self) {
        let limit = self.limits.config().connections;
        match self.limits.fullness() {
            Some(Fullness::Begins) => {
                tracing::warn!(limit, "limits.connections is reached: new clients are refused");
            }
            Some(Fullness::Ends { refused }) => {
                tracing::info!(limit, refused, "new clients are let in again");
            }
            None => {}
        }
    }
}
