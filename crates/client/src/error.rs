//! [`ClientError`]: why a client cannot connect, or loses its connection.

use std::time::Duration;

use rookery_protocol::Data;
use rookery_protocol::packet::PacketError;

/// Why a client cannot connect, loses its connection, or gets no acknowledgement. The messages name
/// the fix.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL, the path or the namespace is invalid.
    #[error("{0}")]
    Target(String),
    /// No connection could be established.
    #[error(
        "no server at {url}: {reason}; start one with `rookery serve`, or name another with --url"
    )]
    Unreachable {
        /// The server's URL.
        url: String,
        /// The operating system's message.
        reason: String,
    },
    /// The WebSocket handshake was answered with another status than 101.
    #[error("{url} answered the handshake with {status}: {body}")]
    Handshake {
        /// The server's URL.
        url: String,
        /// The HTTP status code.
        status: u16,
        /// The first 300 characters of the body.
        body: String,
    },
    /// The server refused to connect the namespace (CONNECT_ERROR).
    #[error("refused by the server: {message}{}", in_brackets(.code))]
    Refused {
        /// The server's message.
        message: String,
        /// The `data.code` of the payload, if there is one.
        code: Option<String>,
    },
    /// The server disconnected this client from the namespace. Stock clients do not reconnect then.
    #[error("disconnected by the server")]
    Disconnected,
    /// The connection ended.
    #[error("the connection was lost: {0}")]
    ConnectionLost(String),
    /// A timeout expired.
    #[error("{what} took longer than {}", humantime::format_duration(*.limit))]
    Timeout {
        /// What the client waited for.
        what: &'static str,
        /// The timeout.
        limit: Duration,
    },
    /// The server sent an invalid Socket.IO packet.
    #[error("the server does not speak Socket.IO 4: {0}")]
    Packet(#[from] PacketError),
    /// The server sent an invalid or unexpected Engine.IO packet.
    #[error("the server does not speak Engine.IO 4: {0}")]
    Engine(&'static str),
    /// Too many events arrived before an acknowledgement.
    #[error("too many events arrived before the acknowledgement")]
    Overrun,
}

impl ClientError {
    /// Whether a later attempt may succeed: the server or the network failed, not the request.
    pub fn is_temporary(&self) -> bool {
        match self {
            ClientError::Unreachable { .. }
            | ClientError::ConnectionLost(_)
            | ClientError::Timeout { .. }
            | ClientError::Overrun => true,
            ClientError::Handshake { status, .. } => *status == 429 || *status >= 500,
            ClientError::Refused { code, .. } => {
                matches!(code.as_deref(), Some("draining" | "backend_unavailable" | "rate_limited"))
            }
            ClientError::Target(_)
            | ClientError::Disconnected
            | ClientError::Packet(_)
            | ClientError::Engine(_) => false,
        }
    }

    /// Reads the payload of a CONNECT_ERROR: `{message, data: {code}}`, or a text.
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
