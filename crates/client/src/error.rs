//! What can go wrong for a client, in sentences that name the fix.

use std::time::Duration;

use rookery_protocol::Data;
use rookery_protocol::packet::PacketError;

/// Why a client has no connection, or no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL, the path or the namespace cannot be used.
    #[error("{0}")]
    Target(String),
    /// Nobody answers at the URL.
    #[error(
        "no server at {url}: {reason}; start one with `rookery serve`, or name another with --url"
    )]
    Unreachable {
        /// Where.
        url: String,
        /// What the operating system says.
        reason: String,
    },
    /// Something answers, but not with a WebSocket.
    #[error("{url} answered the handshake with {status}: {body}")]
    Handshake {
        /// Where.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The start of the body.
        body: String,
    },
    /// The server refused the namespace (`connect_error`).
    #[error("refused by the server: {message}{}", in_brackets(.code))]
    Refused {
        /// What the server said.
        message: String,
        /// `data.code`, where the server gave one.
        code: Option<String>,
    },
    /// The server ended this client's stay in the namespace; stock clients stay away then.
    #[error("dismissed by the server")]
    Dismissed,
    /// The connection is gone.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// It took too long.
    #[error("{what} took longer than {}", humantime::format_duration(*.limit))]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// How long.
        limit: Duration,
    },
    /// The server sent what is no Socket.IO packet.
    #[error("the server does not speak Socket.IO 4: {0}")]
    Packet(#[from] PacketError),
    /// The server sent what is no Engine.IO packet.
    #[error("the server does not speak Engine.IO 4: {0}")]
    Engine(&'static str),
    /// Too many events came while waiting for an answer.
    #[error("too many events came before the answer")]
    Overrun,
}

impl ClientError {
    /// Whether trying again may help: the server or the way to it is at fault, not what was asked.
    pub fn is_temporary(&self) -> bool {
        match self {
            ClientError::Unreachable { .. }
            | ClientError::Lost(_)
            | ClientError::Timeout { .. }
            | ClientError::Overrun => true,
            ClientError::Handshake { status, .. } => *status == 429 || *status >= 500,
            ClientError::Refused { code, .. } => {
                matches!(code.as_deref(), Some("draining" | "backend_unavailable" | "rate_limited"))
            }
            ClientError::Target(_)
            | ClientError::Dismissed
            | ClientError::Packet(_)
            | ClientError::Engine(_) => false,
        }
    }

    /// From the payload of a CONNECT_ERROR: `{message, data: {code}}`, or a text.
    pub fn refused(payload: &Data) -> ClientError {
        let text = |data: Option<&Data>| data.and_then(Data::as_str).map(str::to_owned);
        ClientError::Refused {
            message: text(payload.get("message"))
                .or_else(|| text(Some(payload)))
                .unwrap_or_else(|| "no reason given".to_owned()),
            code: text(payload.get("data").and_then(|data| data.get("code"))),
        }
    }
}

fn in_brackets(code: &Option<String>) -> String {
    code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default()
}
