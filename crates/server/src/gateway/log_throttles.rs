//! The [`LogThrottles`] of log lines that clients can cause. Each kind of line has its own throttle,
//! so that a flood of one kind does not hide the others.

use std::fmt::Display;
use std::net::IpAddr;

use crate::rooms::member::Member;
use crate::telemetry::metrics::{Metrics, Rejected};
use rookery_ops::throttle::{Throttle, limited};

/// The throttles, one for each kind of line.
pub struct LogThrottles {
    /// Refused clients, by reason.
    refusals: Vec<Throttle>,
    /// Clients disconnected because they read too slowly.
    pub slow_clients: Throttle,
    /// Connections that could not be accepted.
    pub accept_errors: Throttle,
    /// Publications of the backend's replies that were not accepted.
    pub backend_publications: Throttle,
    /// Trusted proxies whose `X-Forwarded-For` cannot be read.
    pub forwarded_unreadable: Throttle,
    /// Rules whose `presenceInfo` fails.
    pub presence_info: Throttle,
}

impl LogThrottles {
    /// Throttles that have not suppressed anything yet; `metrics` counts what they suppress.
    pub fn new(metrics: &Metrics) -> Self {
        let throttle = || Throttle::new(&metrics.log_lines_suppressed);
        LogThrottles {
            refusals: Rejected::ALL.iter().map(|_| throttle()).collect(),
            slow_clients: throttle(),
            accept_errors: throttle(),
            backend_publications: throttle(),
            forwarded_unreadable: throttle(),
            presence_info: throttle(),
        }
    }

    /// Logs a refusal: at `info`, throttled, or at `debug` where `limits.connections` is the
    /// reason: reaching that limit is logged once, by the sweep.
    pub fn log_refusal(&self, reason: Rejected, subject: LogSubject<'_>, error: &dyn Display) {
        let LogSubject { client, namespace, member, room } = subject;
        let client = client.map(tracing::field::display);
        let namespace = namespace.or(member.map(|member| &*member.namespace));
        let user = member.and_then(|member| member.user.as_deref());
        let member = member.map(|member| &*member.id);
        let reason_label = reason.label();
        if reason == Rejected::Connections {
            tracing::debug!(reason = reason_label, client, %error, "refused a client");
            return;
        }
        limited!(
            self.refusals[reason as usize],
            info,
            reason = reason_label,
            client,
            namespace,
            member,
            user,
            room,
            %error,
            "refused a client"
        );
    }
}

/// The client that a log line is about, as far as it is known.
#[derive(Clone, Copy, Default)]
pub struct LogSubject<'a> {
    client: Option<IpAddr>,
    namespace: Option<&'a str>,
    member: Option<&'a Member>,
    room: Option<&'a str>,
}

impl<'a> LogSubject<'a> {
    /// A client of which only the address is known.
    pub fn address(client: IpAddr) -> Self {
        LogSubject { client: Some(client), ..LogSubject::default() }
    }

    /// A client in a namespace.
    pub fn member(client: IpAddr, member: &'a Member) -> Self {
        LogSubject { client: Some(client), member: Some(member), ..LogSubject::default() }
    }

    /// Adds the namespace that the client asked for.
    pub fn in_namespace(self, namespace: &'a str) -> Self {
        LogSubject { namespace: Some(namespace), ..self }
    }

    /// Adds the room that the client asked for.
    pub fn of_room(self, room: &'a str) -> Self {
        LogSubject { room: Some(room), ..self }
    }
}
