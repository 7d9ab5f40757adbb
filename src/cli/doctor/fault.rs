//! [`Fault`]: what went wrong between the client and the servers.

use std::time::Duration;

use rookery_client::ClientError;

/// What went wrong, distinguished as far as the fix differs.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(super) enum Fault {
    /// The host has no address.
    #[error("cannot resolve {host}: {reason}")]
    Unresolved {
        /// The host's name.
        host: String,
        /// The resolver's message.
        reason: String,
    },
    /// No TCP connection could be established.
    #[error("cannot connect to {address}: {reason}")]
    Unreachable {
        /// The address and port.
        address: String,
        /// The operating system's message.
        reason: String,
    },
    /// The TLS handshake failed.
    #[error("TLS with {host} failed: {reason}")]
    Tls {
        /// The name that the certificate must be for.
        host: String,
        /// The error of the handshake.
        reason: String,
        /// Whether the certificate is at fault.
        certificate: bool,
    },
    /// A response whose status is not 200, or not 101 for a WebSocket.
    #[error("{what} was answered with {status}{}", after_colon(body))]
    Status {
        /// The request.
        what: &'static str,
        /// The status code.
        status: u16,
        /// The start of the body.
        body: String,
    },
    /// The request reached another server than the session's.
    #[error("{what} was answered with `Session ID unknown`{}", sent_with(cookies))]
    UnknownSession {
        /// The request.
        what: &'static str,
        /// The names of the cookies that it was sent with.
        cookies: Vec<String>,
    },
    /// A response that is not Engine.IO.
    #[error("the response to {what} is not Engine.IO{}", after_colon(body))]
    NotEngineIo {
        /// The request.
        what: &'static str,
        /// The start of the response.
        body: String,
    },
    /// The server refused to connect the namespace.
    #[error("{message}")]
    Refused {
        /// The error, with the server's message.
        message: String,
        /// The error's code, if there is one.
        code: Option<String>,
    },
    /// The connection ended unexpectedly.
    #[error("{what} was cut off after {}: {reason}", humantime::format_duration(seconds(*.after)))]
    CutOff {
        /// The request or connection.
        what: &'static str,
        /// The time since its start.
        after: Duration,
        /// The error that ended it.
        reason: String,
    },
    /// The server closed the session.
    #[error("the server closed the session")]
    SessionClosed,
    /// Nothing was received in time.
    #[error("{what}: nothing received for {}", humantime::format_duration(seconds(*.limit)))]
    TimedOut {
        /// The request or connection.
        what: &'static str,
        /// The time without data.
        limit: Duration,
    },
}

impl Fault {
    /// A response with an unexpected status.
    pub(super) fn status(what: &'static str, status: u16, body: &[u8]) -> Fault {
        if status == 400 && String::from_utf8_lossy(body).contains("Session ID unknown") {
            return Fault::UnknownSession { what, cookies: Vec::new() };
        }
        Fault::Status { what, status, body: excerpt(body) }
    }

    /// Adds the names of the cookies that were sent to [`Fault::UnknownSession`].
    pub(super) fn with_cookies(self, names: Vec<&str>) -> Fault {
        match self {
            Fault::UnknownSession { what, .. } => {
                let cookies = names.into_iter().map(str::to_owned).collect();
                Fault::UnknownSession { what, cookies }
            }
            fault => fault,
        }
    }

    /// A response that is not Engine.IO.
    pub(super) fn not_engine_io(what: &'static str, body: &[u8]) -> Fault {
        Fault::NotEngineIo { what, body: excerpt(body) }
    }

    /// Whether a service that is starting may cause this fault.
    pub(super) fn is_temporary(&self) -> bool {
        match self {
            Fault::Status { status, .. } => matches!(status, 404 | 429 | 502..=504),
            Fault::Unresolved { .. }
            | Fault::Unreachable { .. }
            | Fault::CutOff { .. }
            | Fault::TimedOut { .. }
            | Fault::SessionClosed => true,
            Fault::Tls { .. }
            | Fault::UnknownSession { .. }
            | Fault::NotEngineIo { .. }
            | Fault::Refused { .. } => false,
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
        Fault::Refused { message: error.to_string(), code }
    }
}

/// The most characters of a response that are shown.
const MAX_EXCERPT: usize = 120;

/// The start of a response on one line, with control characters escaped.
fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * MAX_EXCERPT)]);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut excerpt: String = line.chars().take(MAX_EXCERPT).collect();
    if line.chars().count() > MAX_EXCERPT {
        excerpt.push('…');
    }
    excerpt.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'")
}

fn after_colon(body: &str) -> String {
    if body.is_empty() { String::new() } else { format!(": {body}") }
}

fn sent_with(cookies: &[String]) -> String {
    match cookies {
        [] => String::new(),
        names => format!(", although the cookie `{}` was sent", names.join("`, `")),
    }
}

/// Truncates a time to tenths of a second.
pub(super) fn seconds(exact: Duration) -> Duration {
    Duration::from_millis(u64::try_from(exact.as_millis()).unwrap_or(u64::MAX) / 100 * 100)
}
