//! The configuration of `rookery serve`, parsed once into types.
//!
//! The defaults of each section are its `Default`; keys are camelCase; an unknown key is an
//! error. Reading and checking a file is `load`'s; units are `units`'s.

#![forbid(unsafe_code)]

pub mod api_keys;
mod auth;
pub mod check;
pub mod error;
pub mod files;
pub mod load;
pub mod otlp;
mod redis;
pub mod tree;
pub mod typed;
pub mod units;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use auth::{Algorithm, Auth, Jwt};
pub use redis::{BridgeRule, Redis, WhenDown, Wire};
use rookery_policy::{EventRule, RoomRule};
use units::{Period, Rate, Size};

/// Everything that `rookery serve` reads from its file, its environment and its flags.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// Where clients connect: Socket.IO only.
    pub listen: SocketAddr,
    /// Where the HTTP API, /metrics, /livez and /readyz answer.
    pub internal: SocketAddr,
    /// Networks whose X-Forwarded-For is believed; the last hop outside them is the client.
    #[schemars(with = "Vec<String>")]
    pub trusted_proxies: Vec<IpNet>,
    /// The Socket.IO protocol's own settings.
    pub socketio: SocketIo,
    /// Fan-out between instances. Absent: one instance, in memory.
    pub redis: Option<Redis>,
    /// Who may connect, and who may use the HTTP API.
    pub auth: Auth,
    /// The namespaces that clients may connect to.
    pub namespaces: Vec<String>,
    /// Client events that change rooms, in order; the first rule whose `on` matches handles it.
    pub events: Vec<EventRule>,
    /// Who may join and publish, by room; the first match wins. Empty: every room is open.
    pub rooms: Vec<RoomRule>,
    /// Bounds on what clients may use.
    pub limits: Limits,
    /// The application's HTTP backend for webhooks.
    pub backend: Option<Backend>,
    /// What is measured of deliveries.
    pub latency: Latency,
    /// How sessions are closed when the process is told to stop.
    pub drain: Drain,
    /// Logs and traces.
    pub telemetry: Telemetry,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 3000)),
            internal: SocketAddr::from(([127, 0, 0, 1], 9090)),
            trusted_proxies: Vec::new(),
            socketio: SocketIo::default(),
            redis: None,
            auth: Auth::default(),
            namespaces: vec!["/".to_owned()],
            events: EventRule::defaults(),
            rooms: Vec::new(),
            limits: Limits::default(),
            backend: None,
            latency: Latency::default(),
            drain: Drain::default(),
            telemetry: Telemetry::default(),
        }
    }
}

impl Config {
    /// Whether clients without a token may connect: what `auth.anonymous` says, else true only
    /// on a loopback address with no `auth.jwt`.
    pub fn anonymous(&self) -> bool {
        self.auth.anonymous.unwrap_or(self.listen.ip().is_loopback() && self.auth.jwt.is_none())
    }
}

/// The Socket.IO protocol's own settings.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SocketIo {
    /// The path of the Socket.IO endpoint.
    pub path: String,
    /// The transports that clients may use.
    pub transports: Vec<Transport>,
    /// Whether clients of Socket.IO 2 (Engine.IO 3) may connect.
    pub eio3: bool,
    /// Time between two heartbeats.
    pub ping_interval: Period,
    /// How long a heartbeat's answer may take.
    pub ping_timeout: Period,
    /// How long a session may stay without a namespace.
    pub connect_timeout: Period,
    /// The largest message, in either direction on polling, from clients on WebSocket.
    pub max_payload: Size,
    /// Cross-origin requests.
    pub cors: Cors,
}

impl Default for SocketIo {
    fn default() -> Self {
        SocketIo {
            path: "/socket.io".to_owned(),
            transports: vec![Transport::Polling, Transport::Websocket],
            eio3: true,
            ping_interval: Period(Duration::from_secs(25)),
            ping_timeout: Period(Duration::from_secs(20)),
            connect_timeout: Period(Duration::from_secs(45)),
            max_payload: Size(1 << 20),
            cors: Cors::default(),
        }
    }
}

/// What carries a session: the label `transport` of `rookery_connections`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// HTTP long-polling.
    Polling,
    /// WebSocket.
    Websocket,
}

impl Transport {
    /// The name in queries and labels.
    pub fn label(self) -> &'static str {
        match self {
            Transport::Polling => "polling",
            Transport::Websocket => "websocket",
        }
    }
}

/// Cross-origin requests from browsers.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Cors {
    /// Origins that may connect; `*` is any.
    pub origins: Vec<String>,
    /// Whether browsers may send cookies, as sticky ingresses need; origins must then be named.
    pub credentials: bool,
}

impl Default for Cors {
    fn default() -> Self {
        Cors { origins: vec!["*".to_owned()], credentials: false }
    }
}

/// Bounds on what clients may use.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Sessions at once.
    pub connections: u32,
    /// New sessions a second.
    pub connect_rate: Rate,
    /// Bounds for each client address.
    pub per_ip: Option<PerIp>,
    /// Rooms that one client may be in, in each namespace.
    pub rooms_per_client: u32,
    /// Events that one client may send a second.
    pub events_per_second: u32,
    /// Bytes that may wait for one client.
    pub queue: Size,
    /// How long a client may take nothing of what waits for it.
    pub write_stall: Period,
    /// How long a request's head may take.
    pub header_read: Period,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 50_000,
            connect_rate: Rate(500),
            per_ip: None,
            rooms_per_client: 100,
            events_per_second: 100,
            queue: Size(1 << 20),
            write_stall: Period(Duration::from_secs(10)),
            header_read: Period(Duration::from_secs(10)),
        }
    }
}

/// Bounds for each client address.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PerIp {
    /// Sessions at once.
    pub connections: Option<u32>,
    /// New sessions a second.
    pub connect_rate: Option<Rate>,
}

/// The application's HTTP backend. Not in this version yet: `load` refuses it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Backend {
    /// Where webhooks are posted.
    pub url: String,
    /// Client events that are handed on; `*` is all.
    #[serde(default)]
    pub events: Vec<String>,
    /// Which hooks are called.
    #[serde(default)]
    pub hooks: Vec<Hook>,
    /// How long an answer may take.
    #[serde(default)]
    pub timeout: Option<Period>,
    /// File that holds the key of the signature.
    #[serde(default)]
    pub signing_key_file: Option<PathBuf>,
}

/// A kind of webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Hook {
    /// A client connects to a namespace.
    Connect,
    /// A client sent an event that no rule of `events` handles.
    Event,
    /// A client is gone.
    Disconnect,
}

/// What is measured of deliveries.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Latency {
    /// Every n-th delivery is measured.
    pub sample_every: u32,
    /// Rooms that always have a series.
    pub track_rooms: Vec<String>,
    /// How many of the busiest rooms have a series besides.
    pub top_rooms: u32,
}

impl Default for Latency {
    fn default() -> Self {
        Latency { sample_every: 1, track_rooms: Vec::new(), top_rooms: 50 }
    }
}

/// How sessions are closed when the process is told to stop.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Drain {
    /// How long all goes on as before, so that the ingress can take note.
    pub lead: Period,
    /// Over how long the sessions are closed, evenly.
    pub window: Period,
    /// Whether /readyz stays 200 meanwhile.
    pub keep_ready: bool,
    /// In a rollout, how long this instance may wait for its turn to close its sessions; 0: not at
    /// all. The operator sets it.
    pub patience: Period,
    /// The ingress's sticky cookie, which refused and shed clients are told to drop.
    pub sticky_cookie: Option<String>,
}

impl Default for Drain {
    fn default() -> Self {
        Drain {
            lead: Period(Duration::from_secs(5)),
            window: Period(Duration::from_secs(30)),
            keep_ready: false,
            patience: Period(Duration::ZERO),
            sticky_cookie: None,
        }
    }
}

/// Logs and traces.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Telemetry {
    /// The base URL of an OTLP collector that traces are sent to by HTTP. Absent: no traces.
    pub otlp: Option<String>,
    /// The part of publications without a `traceparent` that are traced, 0 to 1. One that comes
    /// with it is traced where that says so.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub trace_ratio: f64,
    /// Text or JSON.
    pub log_format: LogFormat,
}

impl Default for Telemetry {
    fn default() -> Self {
        Telemetry { otlp: None, trace_ratio: 0.01, log_format: LogFormat::default() }
    }
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Telemetry")
            .field("otlp", &self.otlp.as_deref().map(redacted))
            .field("trace_ratio", &self.trace_ratio)
            .field("log_format", &self.log_format)
            .finish()
    }
}

/// A URL with its user and password hidden, for logs.
pub fn redacted(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            format!("{}***{}", &url[..scheme + 3], &url[at..])
        }
        _ => url.to_owned(),
    }
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_of_a_url_is_shown() {
        let config = Config {
            redis: Some(Redis::at("redis://user:s3cret@cache:6379/1".to_owned())),
            telemetry: Telemetry {
                otlp: Some("https://user:s3cret@collector:4318".to_owned()),
                ..Telemetry::default()
            },
            ..Config::default()
        };
        let shown = format!("{config:?}");
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(shown.contains("redis://***@cache:6379/1"), "{shown}");
        assert!(shown.contains("https://***@collector:4318"), "{shown}");
    }
}
