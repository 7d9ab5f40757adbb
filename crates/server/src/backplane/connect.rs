//! Connections to Redis: where to, and how.

mod attempts;
mod client;
mod sentinel;
mod sentinels;

use std::sync::Arc;
use std::time::Duration;

use redis::aio::{AsyncPushSender, MultiplexedConnection};
use redis::{Client, ConnectionAddr, ErrorKind, RedisResult, ServerErrorKind, Value};
use rookery_config::Redis;
use rookery_config::redis_servers::RedisServers;
use rookery_ops::throttle::Throttle;

use crate::telemetry::metrics::Metrics;
pub use attempts::ReconnectDelays;
use attempts::open;
pub use client::BadRedis;
use client::ClientTemplate;
use sentinel::SentinelWatch;
use sentinels::{Primary, Sentinels};

/// Time between two heartbeats on a connection.
pub const HEARTBEAT: Duration = Duration::from_secs(3);

/// How long a heartbeat's answer may take. With [`HEARTBEAT`]: a silent link is noticed within
/// 7 seconds.
pub const HEARTBEAT_ANSWER: Duration = Duration::from_secs(4);

/// Makes connections to Redis. Cloning is shallow.
#[derive(Clone)]
pub(super) struct Connector {
    target: Arc<Target>,
}

/// Where connections lead.
enum Target {
    /// To the server of this client.
    Server(Client),
    /// To the primary that the sentinels name.
    Primary { sentinels: Arc<Sentinels>, template: ClientTemplate, is_tls: bool },
}

/// The server that a connection leads to.
#[derive(Clone, Debug)]
pub(super) struct Server(Option<Primary>);

impl Connector {
    /// Reads where Redis is, and the files that hold passwords and certificates; connects to
    /// nothing. The tasks that ask the sentinels, where there are any, are to be run by the caller.
    /// Blocking I/O.
    ///
    /// # Errors
    /// Where the configuration cannot be used, or a file cannot be read.
    pub(super) fn new(
        config: &Redis,
        metrics: &Metrics,
    ) -> Result<(Self, Vec<SentinelWatch>), BadRedis> {
        let servers = RedisServers::of(config).map_err(BadRedis::Servers)?;
        let is_tls = servers.are_reached_by_tls();
        let certificates = client::certificates(&config.tls)?;
        let template =
            ClientTemplate::of_redis(config, servers.settings.clone(), certificates.clone())?;
        let Some(name) = servers.primary else {
            let address = servers.addresses.into_iter().next().ok_or_else(no_address)?;
            let target = Arc::new(Target::Server(template.at(address)?));
            return Ok((Connector { target }, Vec::new()));
        };
        let lines = || Throttle::new(&metrics.log_lines_suppressed);
        let to_sentinels = ClientTemplate::of_sentinels(config, certificates)?;
        let sentinels = Arc::new(Sentinels::new(name, servers.addresses.len(), lines()));
        let mut watches = Vec::new();
        for (index, address) in servers.addresses.into_iter().enumerate() {
            let named = (index, address.to_string());
            let client = to_sentinels.at(address)?;
            watches.push(SentinelWatch::new(named, client, sentinels.clone(), lines()));
        }
        // Certificates that cannot be used are found now, not at the first connection.
        template.at(address_of("localhost", 0, is_tls))?;
        let target = Arc::new(Target::Primary { sentinels, template, is_tls });
        Ok((Connector { target }, watches))
    }

    /// Makes a connection whose messages, and whose end, `push` gets. `answer`: how long an answer
    /// to a command may take.
    ///
    /// # Errors
    /// When no sentinel names a primary, or Redis does not answer in time, refuses, or is older than
    /// version 6.
    pub(super) async fn connect(
        &self,
        answer: Option<Duration>,
        push: impl AsyncPushSender + Clone,
    ) -> RedisResult<(MultiplexedConnection, Server)> {
        match &*self.target {
            Target::Server(client) => Ok((open(client, answer, push).await?, Server(None))),
            Target::Primary { sentinels, template, is_tls } => loop {
                let primary = sentinels.primary().await?;
                let (host, port) = &primary.address;
                let client = template.at(address_of(host, *port, *is_tls))?;
                let opened = tokio::select! {
                    opened = open(&client, answer, push.clone()) => opened,
                    // A host that is gone does not answer until the deadline.
                    _ = sentinels.moved(&primary) => continue,
                };
                let opened = opened.map_err(|error| {
                    let why = format!("{primary}: {error}");
                    (error.kind(), "the primary that the sentinels name", why)
                })?;
                return Ok((opened, Server(Some(primary))));
            },
        }
    }

    /// Waits that long before the next attempt; less where the sentinels name another primary
    /// meanwhile.
    pub(super) async fn pause(&self, delay: Duration) {
        let slept = tokio::time::sleep(delay);
        match &*self.target {
            Target::Server(_) => slept.await,
            Target::Primary { sentinels, .. } => tokio::select! {
                () = slept => {}
                () = sentinels.changed() => {}
            },
        }
    }

    /// Resolves, with the reason, when the sentinels name another primary than `server`. Never
    /// without sentinels.
    pub(super) async fn moved(&self, server: &Server) -> String {
        match (&*self.target, &server.0) {
            (Target::Primary { sentinels, .. }, Some(primary)) => {
                let successor = sentinels.moved(primary).await;
                format!("the sentinels name another primary: {successor} instead of {primary}")
            }
            _ => std::future::pending().await,
        }
    }
}

fn address_of(host: &str, port: u16, is_tls: bool) -> ConnectionAddr {
    let host = host.to_owned();
    match is_tls {
        true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
        false => ConnectionAddr::Tcp(host, port),
    }
}

fn no_address() -> redis::RedisError {
    (ErrorKind::InvalidClientConfig, "no address of Redis").into()
}

/// Asks the server whether it is a primary still: one that was demoted keeps its connections, and
/// what is published there reaches nobody else. HELLO tells it to any user, whatever Redis' ACL
/// (it is needed before a client logs in); a server that refuses it is taken for a primary.
///
/// # Errors
/// When the server is a replica, or the connection is lost.
pub async fn check_primary(connection: &mut MultiplexedConnection) -> RedisResult<()> {
    let greeting = redis::cmd("HELLO").arg(3).query_async::<Value>(connection).await;
    match greeting {
        Ok(greeting) if is_replica(&greeting) => {
            let why = "the server is a replica: what is published there does not reach the cluster";
            Err((ErrorKind::Server(ServerErrorKind::ReadOnly), why).into())
        }
        Err(error) if error.kind() == ErrorKind::Io => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Whether an error is that of [`check_primary`].
pub fn says_replica(error: &redis::RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
}

/// Whether a server's answer to HELLO is that of a replica.
pub(super) fn is_replica(greeting: &Value) -> bool {
    let text = |value: &Value| redis::from_redis_value_ref::<String>(value).ok();
    let Value::Map(fields) = greeting else { return false };
    let role = fields.iter().find(|(key, _)| text(key).as_deref() == Some("role"));
    role.and_then(|(_, role)| text(role)).is_some_and(|role| role == "replica" || role == "slave")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_tells_a_replica_from_a_primary() {
        let greeting = |role: &str| {
            let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
            Value::Map(vec![(text("proto"), Value::Int(3)), (text("role"), text(role))])
        };
        assert!(is_replica(&greeting("replica")) && is_replica(&greeting("slave")));
        assert!(!is_replica(&greeting("master")) && !is_replica(&Value::Okay));
    }

    #[test]
    fn a_silent_link_is_noticed_within_ten_seconds() {
        assert!(HEARTBEAT + HEARTBEAT_ANSWER < Duration::from_secs(10));
    }

    fn said(config: &Redis) -> Option<String> {
        let made = Connector::new(config, &Metrics::new().unwrap());
        made.err().map(|error| error.to_string())
    }

    #[test]
    fn a_bad_url_names_the_key() {
        let at = |url: &str| said(&Redis::at(url.to_owned()));
        assert!(at("http://x").unwrap().starts_with("`redis.url` must begin with"));
        assert_eq!(at("redis://:secret@localhost:1/2"), None);
        assert_eq!(at("redis-sentinel://:secret@localhost:1/main"), None);
        assert_eq!(at("unix:///run/redis.sock"), None);
    }

    #[test]
    fn a_file_that_cannot_be_read_names_its_key() {
        let mut config = Redis::at("redis://localhost:1".to_owned());
        config.password_file = Some("/nowhere/password".into());
        let said = said(&config).unwrap();
        assert!(said.starts_with("redis.passwordFile: cannot read /nowhere/password: "), "{said}");
    }
}
