//! The section `socketio`: the Socket.IO protocol's own settings.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{Period, Size};

/// The Socket.IO protocol's own settings.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SocketIo {
    /// The URL path of the Socket.IO endpoint.
    pub path: String,
    /// The transports that clients may use.
    pub transports: Vec<Transport>,
    /// The form of packets, which clients must be given too.
    pub parser: Parser,
    /// Whether clients of Socket.IO 2 (Engine.IO 3) may connect.
    pub eio3: bool,
    /// The time between two heartbeats.
    pub ping_interval: Period,
    /// How long the client may take to answer a heartbeat before its session ends.
    pub ping_timeout: Period,
    /// How long a session may be in no namespace before it ends.
    pub connect_timeout: Period,
    /// The largest message in bytes: from clients, and on polling in both directions.
    pub max_payload: Size,
    /// Compressed messages on WebSockets, with clients that offer them. Without it, there are none.
    pub per_message_deflate: Option<PerMessageDeflate>,
    /// Cross-origin requests from browsers.
    pub cors: Cors,
}

impl Default for SocketIo {
    fn default() -> Self {
        SocketIo {
            path: "/socket.io".to_owned(),
            transports: vec![Transport::Polling, Transport::Websocket],
            parser: Parser::default(),
            eio3: true,
            ping_interval: Period(Duration::from_secs(25)),
            ping_timeout: Period(Duration::from_secs(20)),
            connect_timeout: Period(Duration::from_secs(45)),
            max_payload: Size(1 << 20),
            per_message_deflate: None,
            cors: Cors::default(),
        }
    }
}

/// Compressed messages on WebSockets (RFC 7692), each compressed by itself.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PerMessageDeflate {
    /// The fewest bytes of a message for clients that is compressed, if that makes it smaller.
    pub threshold: Size,
}

impl Default for PerMessageDeflate {
    fn default() -> Self {
        PerMessageDeflate { threshold: Size(1 << 10) }
    }
}

impl From<PerMessageDeflate> for rookery_protocol::frames::Deflate {
    fn from(configured: PerMessageDeflate) -> Self {
        rookery_protocol::frames::Deflate { threshold: configured.threshold.bytes() }
    }
}

/// The form of Socket.IO packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Parser {
    /// Text with attachments, the stock clients' own.
    #[default]
    Json,
    /// MessagePack, for clients with `socket.io-msgpack-parser`.
    Msgpack,
}

impl From<Parser> for rookery_protocol::Parser {
    fn from(parser: Parser) -> Self {
        match parser {
            Parser::Json => rookery_protocol::Parser::Json,
            Parser::Msgpack => rookery_protocol::Parser::Msgpack,
        }
    }
}

/// The transport of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// HTTP long-polling.
    Polling,
    /// WebSocket.
    Websocket,
}

impl Transport {
    /// The transport's name in query strings, and its value of the label `transport` in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Transport::Polling => "polling",
            Transport::Websocket => "websocket",
        }
    }
}

/// Cross-origin requests from browsers.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Cors {
    /// The origins whose pages may connect, besides the server's own; `*` allows any. Where it is
    /// empty and `listen` is a loopback address, pages on this machine may connect too.
    pub origins: Vec<String>,
    /// Whether browsers may send cookies, which sticky ingresses need. It requires named origins.
    pub credentials: bool,
}
