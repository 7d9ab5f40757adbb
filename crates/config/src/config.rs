//! [`Config`]: everything that `rookery serve` can be configured with.
//!
//! The defaults of each section are its `Default`. Keys are camelCase; an unknown key is an error.

mod admin;
mod auth;
mod backend;
mod drain;
mod latency;
mod limits;
mod presence;
mod rebalance;
mod redis;
mod rooms;
mod socketio;
mod telemetry;

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use rookery_policy::{EventRule, NamespaceError, Namespaces};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use admin::{Admin, AdminMode};
pub use auth::{Algorithm, Auth, Jwt};
pub use backend::{Backend, Hook};
pub use drain::{ClosingOrder, Drain};
pub use latency::Latency;
pub use limits::{Connections, Limits, PerIp};
pub use presence::Presence;
pub use rebalance::Rebalance;
pub use redis::{
    BridgeRule, Redis, RedisMode, RedisSentinel, RedisTls, SubscriptionMode, WhenDown, Wire,
};
pub use rooms::Rooms;
pub use socketio::{Cors, PerMessageDeflate, SocketIo, Transport};
pub use telemetry::{LogFormat, Telemetry};

/// Everything that `rookery serve` reads from its file, its environment and its flags.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// The address that clients connect to. It serves Socket.IO only.
    pub listen: SocketAddr,
    /// The internal address, which serves the HTTP API, /metrics, /livez and /readyz.
    pub internal: SocketAddr,
    /// A path of `listen`, such as `/healthz`, that answers 200 or 503 as /readyz does, for load
    /// balancers that check instances where clients connect. Without it, there is none.
    pub health_path: Option<String>,
    /// Networks whose X-Forwarded-For is trusted; the last hop outside them is the client.
    #[schemars(with = "Vec<String>")]
    pub trusted_proxies: Vec<IpNet>,
    /// The Socket.IO protocol's own settings.
    pub socketio: SocketIo,
    /// Fan-out between instances. Without it, an instance serves alone, from memory.
    pub redis: Option<Redis>,
    /// Who may connect, and who may use the HTTP API.
    pub auth: Auth,
    /// The namespaces that clients may connect to: names such as `/chat`, and patterns such as
    /// `/tenant-{id}`, written like `match` of a rule of `rooms`. A namespace of a pattern exists while
    /// it has clients.
    pub namespaces: Vec<String>,
    /// The client events that the server handles, in order; the first rule whose `on` matches
    /// handles an event.
    pub events: Vec<EventRule>,
    /// Who may join and publish to which rooms; the first rule that matches a room decides. `open`
    /// opens every room, and so does leaving the key out, which is warned about.
    pub rooms: Rooms,
    /// Bounds of what rooms with presence tell of who is in them.
    pub presence: Presence,
    /// Bounds on what clients may use.
    pub limits: Limits,
    /// The application's HTTP backend for webhooks.
    pub backend: Option<Backend>,
    /// Which deliveries are measured, and which rooms have a series.
    pub latency: Latency,
    /// How sessions are closed at shutdown.
    pub drain: Drain,
    /// How instances with more sessions than others give some away. Without it, or without
    /// Redis, none does.
    pub rebalance: Option<Rebalance>,
    /// The admin UI of Socket.IO. Without it, there is none.
    pub admin: Option<Admin>,
    /// Logs and traces.
    pub telemetry: Telemetry,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 3000)),
            internal: SocketAddr::from(([127, 0, 0, 1], 9090)),
            health_path: None,
            trusted_proxies: Vec::new(),
            socketio: SocketIo::default(),
            redis: None,
            auth: Auth::default(),
            namespaces: vec!["/".to_owned()],
            events: EventRule::defaults(),
            rooms: Rooms::Unset,
            presence: Presence::default(),
            limits: Limits::default(),
            backend: None,
            latency: Latency::default(),
            drain: Drain::default(),
            rebalance: None,
            admin: None,
            telemetry: Telemetry::default(),
        }
    }
}

impl Config {
    /// Whether clients without a token may connect: as `auth.anonymous` says, and by default only
    /// on a loopback address without `auth.jwt`.
    pub fn anonymous(&self) -> bool {
        self.auth.anonymous.unwrap_or(is_loopback(self.listen.ip()) && self.auth.jwt.is_none())
    }

    /// The namespaces that clients may connect to, compiled.
    ///
    /// # Errors
    /// The first entry that is none, which [`check`](crate::check::check) reports too.
    pub fn offered_namespaces(&self) -> Result<Namespaces, NamespaceError> {
        Namespaces::compile(&self.namespaces)
    }

    /// The namespaces that instances serve, compiled: those that clients may connect to, and that of
    /// admins.
    ///
    /// # Errors
    /// As [`Config::offered_namespaces`].
    pub fn served_namespaces(&self) -> Result<Namespaces, NamespaceError> {
        let of_admins = self.admin.as_ref().map(|admin| &admin.namespace);
        let all: Vec<&String> = self.namespaces.iter().chain(of_admins).collect();
        Namespaces::compile(&all)
    }

    /// Whether pages on this machine may connect, with any port: on a loopback address, where
    /// `socketio.cors.origins` is empty.
    pub fn allows_localhost_origins(&self) -> bool {
        self.socketio.cors.origins.is_empty() && is_loopback(self.listen.ip())
    }
}

/// Whether only this machine can reach `ip`.
pub(crate) fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_hides_passwords_in_urls() {
        let config = Config {
            redis: Some(Redis::at("redis://user:s3cret@cache:6379/1".to_owned())),
            backend: Some(Backend::at("https://user:s3cret@backend/hook?key=s3cret".to_owned())),
            telemetry: Telemetry {
                otlp: Some("https://user:s3cret@collector:4318".to_owned()),
                ..Telemetry::default()
            },
            ..Config::default()
        };
        let shown = format!("{config:?}");
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(shown.contains("redis://***@cache:6379/1"), "{shown}");
        assert!(shown.contains("https://***@backend/hook"), "{shown}");
        assert!(shown.contains("https://***@collector:4318"), "{shown}");
    }
}
