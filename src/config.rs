//! The configuration of `rookery serve`, parsed once into types.
//!
//! The defaults of each section are its `Default`; keys are camelCase; an unknown key is an
//! error. Reading and checking a file is `load`'s; units are `units`'s.

pub mod api_keys;
pub mod check;
pub mod error;
pub mod files;
pub mod load;
pub mod tree;
pub mod typed;
pub mod units;
pub mod watch;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

/// Fan-out between instances through Redis pub/sub.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redis {
    /// `redis://` or `rediss://` (TLS), with user and password where needed.
    pub url: String,
    /// The wire between instances.
    #[serde(default)]
    pub wire: Wire,
    /// Channel prefix, as Node's adapter uses it.
    #[serde(default = "Redis::default_prefix")]
    pub prefix: String,
    /// What happens to publications while Redis is away.
    #[serde(default)]
    pub when_down: WhenDown,
    /// Channels on which plain JSON becomes a publication.
    #[serde(default = "BridgeRule::defaults")]
    pub bridge: Vec<BridgeRule>,
}

impl Redis {
    fn default_prefix() -> String {
        "socket.io".to_owned()
    }

    /// The defaults with this URL: what `--redis` alone means.
    pub fn at(url: String) -> Self {
        Redis {
            url,
            wire: Wire::default(),
            prefix: Self::default_prefix(),
            when_down: WhenDown::default(),
            bridge: BridgeRule::defaults(),
        }
    }

    /// The URL with its password hidden, for logs.
    pub fn redacted_url(&self) -> String {
        match (self.url.find("://"), self.url.rfind('@')) {
            (Some(scheme), Some(at)) if at > scheme => {
                format!("{}***{}", &self.url[..scheme + 3], &self.url[at..])
            }
            _ => self.url.clone(),
        }
    }
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Redis")
            .field("url", &self.redacted_url())
            .field("wire", &self.wire)
            .field("prefix", &self.prefix)
            .field("when_down", &self.when_down)
            .field("bridge", &self.bridge)
            .finish()
    }
}

/// The wire between instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Wire {
    /// Node's `@socket.io/redis-adapter`, classic: PUBLISH and SUBSCRIBE.
    #[default]
    Classic,
    /// Node's sharded adapter: SPUBLISH and SSUBSCRIBE, Redis 7. Not in this version yet.
    Sharded,
}

/// What happens to publications while Redis is away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WhenDown {
    /// Local members still get it, and the answer says so.
    #[default]
    Local,
    /// Refused with 503; nothing is delivered.
    Refuse,
}

/// A Redis channel on which plain JSON becomes a publication.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BridgeRule {
    /// The channel.
    pub channel: String,
    /// The namespace it is published in.
    #[serde(default = "BridgeRule::default_namespace")]
    pub namespace: String,
    /// The room, as a template over the message.
    pub room: String,
    /// The event, as a template over the message.
    pub event: String,
    /// The arguments, each a template; one that is a single placeholder is that value itself.
    pub args: Vec<String>,
}

impl BridgeRule {
    fn default_namespace() -> String {
        "/".to_owned()
    }

    /// The bridge that exists where nothing else is written.
    pub fn defaults() -> Vec<BridgeRule> {
        vec![BridgeRule {
            channel: "rookery:publish".to_owned(),
            namespace: Self::default_namespace(),
            room: "{workspaceId}:{appId}".to_owned(),
            event: "application_event".to_owned(),
            args: vec!["{payload}".to_owned()],
        }]
    }
}

/// Who may connect, and who may use the HTTP API.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Auth {
    /// Whether clients without a token may connect. Not written: only on loopback without `jwt`.
    pub anonymous: Option<bool>,
    /// Tokens of clients.
    pub jwt: Option<Jwt>,
    /// A query parameter that may hold the token, for Socket.IO 2 in browsers.
    pub query_param: Option<String>,
    /// File of API keys, one `name:key` a line.
    pub api_keys_file: Option<PathBuf>,
}

/// How clients' tokens are verified.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Jwt {
    /// The algorithms that are accepted.
    #[serde(default = "Jwt::default_algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// File that holds the shared secret of HS256, HS384 and HS512.
    pub secret_file: Option<PathBuf>,
    /// File that holds a public key in PEM.
    pub public_key_file: Option<PathBuf>,
    /// Where the key set (RFC 7517) is fetched.
    pub jwks_url: Option<String>,
    /// The `iss` that a token must have.
    pub issuer: Option<String>,
    /// The `aud` that a token must have.
    pub audience: Option<String>,
    /// The claim that names the user.
    #[serde(default = "Jwt::default_user_claim")]
    pub user_claim: String,
}

impl Jwt {
    fn default_algorithms() -> Vec<Algorithm> {
        vec![Algorithm::RS256]
    }

    fn default_user_claim() -> String {
        "sub".to_owned()
    }
}

/// Signature algorithms of tokens (RFC 7518, section 3.1, and RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)]
pub enum Algorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

/// A client event that changes rooms.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EventRule {
    /// The event's name.
    pub on: String,
    /// What it does.
    pub operation: Operation,
    /// For `byField`: which field says what it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_field: Option<ByField>,
    /// The room, as a template over the event's first argument.
    pub room: String,
    /// For `publish`: the event that the room's members get, a template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// For `publish`: the arguments that they get, each a template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// For `publish`: whether the publisher is left out.
    #[serde(default)]
    pub except: Except,
    /// The event that answers a client which gave no ack callback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply: Option<Reply>,
}

impl EventRule {
    /// The rules that hold where no `events` are written.
    pub fn defaults() -> Vec<EventRule> {
        let rule = |on: &str, operation, room: &str| EventRule {
            on: on.to_owned(),
            operation,
            by_field: None,
            room: room.to_owned(),
            event: None,
            args: None,
            except: Except::None,
            reply: None,
        };
        vec![
            EventRule {
                by_field: Some(ByField {
                    name: "event".to_owned(),
                    join: Some("SUBSCRIBE".to_owned()),
                    leave: Some("UNSUBSCRIBE".to_owned()),
                    publish: None,
                }),
                reply: Some(Reply { event: "application_response".to_owned() }),
                ..rule("application", Operation::ByField, "{payload.workspaceId}:{payload.appId}")
            },
            rule("join", Operation::Join, "{room}"),
            rule("leave", Operation::Leave, "{room}"),
            EventRule {
                event: Some("{event}".to_owned()),
                args: Some(vec!["{data}".to_owned()]),
                ..rule("publish", Operation::Publish, "{room}")
            },
        ]
    }
}

/// What a client event does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Operation {
    /// Joins the room.
    Join,
    /// Leaves the room.
    Leave,
    /// Publishes to the room.
    Publish,
    /// One of these, as a field of the argument says.
    ByField,
}

/// Which field says what an event does, and the values that it has.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ByField {
    /// The field of the event's first argument.
    pub name: String,
    /// Its value for a join.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join: Option<String>,
    /// Its value for a leave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leave: Option<String>,
    /// Its value for a publish.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish: Option<String>,
}

/// Whether a publisher hears its own publication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Except {
    /// Everybody in the room gets it.
    #[default]
    None,
    /// Everybody but the publisher.
    Sender,
}

/// The event that answers.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reply {
    /// Its name.
    pub event: String,
}

/// Who may join and publish in the rooms that a pattern matches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoomRule {
    /// The pattern: a template whose placeholders capture.
    #[serde(rename = "match")]
    pub pattern: String,
    /// CEL: who may join. Absent: everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join: Option<String>,
    /// CEL: which clients may publish. Absent: every client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish: Option<String>,
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
    /// The ingress's sticky cookie, which refused and shed clients are told to drop.
    pub sticky_cookie: Option<String>,
}

impl Default for Drain {
    fn default() -> Self {
        Drain {
            lead: Period(Duration::from_secs(5)),
            window: Period(Duration::from_secs(30)),
            keep_ready: false,
            sticky_cookie: None,
        }
    }
}

/// Logs and traces.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Telemetry {
    /// The OTLP collector. Not in this version yet: `load` refuses it.
    pub otlp: Option<String>,
    /// Text or JSON.
    pub log_format: LogFormat,
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
