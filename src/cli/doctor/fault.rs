//! [`Fault`]: what went wrong between a client and the servers.

use std::time::Duration;

use rookery_client::ClientError;

/// What went wrong, told apart as far as the fix differs.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(super) enum Fault {
    /// DNS does not know the host.
    #[error("the name {host} cannot be resolved: {reason}")]
    Unresolved {
        /// The name.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// Nobody accepts a connection.
    #[error("no connection to {address}: {reason}")]
    Unreachable {
        /// Where.
        address: String,
        /// What the operating system said.
        reason: String,
    },
    /// TLS did not come about.
    #[error("TLS with {host} failed: {reason}")]
    Tls {
        /// The name that the certificate should have.
        host: String,
        /// What was wrong.
        reason: String,
        /// Whether it was the certificate.
        certificate: bool,
    },
    /// An answer with a status that is not 200, or 101 for a WebSocket.
    #[error("{what} was answered with {status}{}", body_in(body))]
    Status {
        /// What was asked.
        what: &'static str,
        /// The answer's status.
        status: u16,
        /// The start of its body.
        body: String,
    },
    /// Another server got the request.
    #[error("{what} was answered with `Session ID unknown`{}", although(cookies))]
    UnknownSession {
        /// What was asked.
        what: &'static str,
        /// The names of the cookies that went with it.
        cookies: Vec<String>,
    },
    /// An answer that is no Engine.IO.
    #[error("{what} was answered with what is no Engine.IO{}", body_in(body))]
    Foreign {
        /// What was asked.
        what: &'static str,
        /// The start of the answer.
        body: String,
    },
    /// The server refused the namespace.
    #[error("{0}")]
    Refused(String, Option<String>),
    /// The connection ended.
    #[error("{what} was cut off after {}: {reason}", humantime::format_duration(seconds(*.after)))]
    Cut {
        /// What was going on.
        what: &'static str,
        /// How long it had gone on.
        after: Duration,
        /// How it ended.
        reason: String,
    },
    /// The server ended the session by itself.
    #[error("the server ended the session")]
    Ended,
    /// Nothing came.
    #[error("{what}: nothing came for {}", humantime::format_duration(seconds(*.limit)))]
    Silent {
        /// What was waited for.
        what: &'static str,
        /// How long.
        limit: Duration,
    },
}

impl Fault {
    /// An answer of the wrong status, from its first bytes.
    pub(super) fn status(what: &'static str, status: u16, body: &[u8]) -> Fault {
        if status == 400 && String::from_utf8_lossy(body).contains("Session ID unknown") {
            return Fault::UnknownSession { what, cookies: Vec::new() };
        }
        Fault::Status { what, status, body: shown(body) }
    }

    /// With the names of the cookies that were sent, where they should have helped.
    pub(super) fn although_sent(self, names: Vec<&str>) -> Fault {
        match self {
            Fault::UnknownSession { what, .. } => {
                let cookies = names.into_iter().map(str::to_owned).collect();
                Fault::UnknownSession { what, cookies }
            }
            fault => fault,
        }
    }

    /// An answer that cannot be read.
    pub(super) fn foreign(what: &'static str, body: &[u8]) -> Fault {
        Fault::Foreign { what, body: shown(body) }
    }

    /// Whether a service that is about to come up looks like this.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Fault::Status { status, .. } => matches!(status, 404 | 429 | 502..=504),
            Fault::Unresolved { .. }
            | Fault::Unreachable { .. }
            | Fault::Cut { .. }
            | Fault::Silent { .. }
            | Fault::Ended => true,
            Fault::Tls { .. }
            | Fault::UnknownSession { .. }
            | Fault::Foreign { .. }
            | Fault::Refused(..) => false,
        }
    }
}

impl From<ClientError> for Fault {
    /// The refusal of a namespace.
    fn from(error: ClientError) -> Self {
        let code = match &error {
            ClientError::Refused { code, .. } => code.clone(),
            _ => None,
        };
        Fault::Refused(error.to_string(), code)
    }
}

/// How much of an answer is shown.
const SHOWN: usize = 120;

/// The start of an answer, on one line and harmless on a terminal.
fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * SHOWN)]);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut shown: String = line.chars().take(SHOWN).collect();
    if line.chars().count() > SHOWN {
        shown.push('…');
    }
    shown.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'")
}

fn body_in(body: &str) -> String {
    if body.is_empty() { String::new() } else { format!(": {body}") }
}

fn although(cookies: &[String]) -> String {
    match cookies {
        [] => String::new(),
        names => format!(", although the cookie `{}` was sent", names.join("`, `")),
    }
}

/// Tenths of seconds are enough.
pub(super) fn seconds(exact: Duration) -> Duration {
    Duration::from_millis(u64::try_from(exact.as_millis()).unwrap_or(u64::MAX) / 100 * 100)
}
