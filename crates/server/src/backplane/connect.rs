//! Connections to Redis: where to, and how.

mod advice;
mod attempts;
mod client;
pub(super) mod cluster;
mod cluster_watch;
mod commands;
mod sentinel;
mod sentinels;
pub(super) mod slot_map;

use std::sync::Arc;
use std::time::Duration;

use redis::aio::{AsyncPushSender, MultiplexedConnection};
use redis::{Client, ConnectionAddr, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value};
use rookery_config::Redis;
use rookery_config::redis_servers::RedisServers;
use rookery_ops::throttle::Throttle;
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use crate::telemetry::metrics::Metrics;
use advice::Asked;
pub use attempts::ReconnectDelays;
use attempts::open;
pub use client::BadRedis;
use client::ClientTemplate;
use cluster::Cluster;
use cluster_watch::ClusterWatch;
pub use commands::CommandConnection;
use sentinel::SentinelWatch;
use sentinels::{NO_PRIMARY, Primary, Sentinels};
use slot_map::{Address, slot_of};

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
    /// To any primary of a Cluster.
    Cluster(Arc<Cluster>),
    /// To one primary of a Cluster.
    Node(Arc<Cluster>, Address),
}

/// The server that a connection leads to.
#[derive(Clone, Debug)]
pub(super) enum Server {
    /// The only one.
    Only,
    /// The primary that the sentinels name.
    Primary(Primary),
    /// A primary of a Cluster.
    Node(Address),
}

/// What asks where the servers are, all the time.
pub(super) enum Watch {
    /// Asks a sentinel.
    Sentinel(Box<SentinelWatch>),
    /// Asks the nodes of a Cluster.
    Cluster(ClusterWatch),
}

impl Watch {
    /// Asks until `shutdown`.
    pub(super) async fn run(self, shutdown: CancellationToken) {
        match self {
            Watch::Sentinel(watch) => watch.run(shutdown).await,
            Watch::Cluster(watch) => watch.run(shutdown).await,
        }
    }
}

impl Connector {
    /// Reads where Redis is, and the files that hold passwords and certificates; connects to
    /// nothing. The tasks that ask the sentinels or the nodes of a Cluster, where there are any, are
    /// to be run by the caller. The latter keep `clock`, by that of the node which owns
    /// `clock_channel`. Blocking I/O.
    ///
    /// # Errors
    /// Where the configuration cannot be used, or a file cannot be read.
    pub(super) fn new(
        config: &Redis,
        metrics: &Metrics,
        clock: &Arc<Clock>,
        clock_channel: String,
    ) -> Result<(Self, Vec<Watch>), BadRedis> {
        let servers = RedisServers::of(config).map_err(BadRedis::Servers)?;
        let is_tls = servers.are_reached_by_tls();
        let certificates = client::certificates(&config.tls)?;
        let template =
            ClientTemplate::of_redis(config, servers.settings.clone(), certificates.clone())?;
        // Certificates that cannot be used are found now, not at the first connection.
        template.at(address_of("localhost", 0, is_tls))?;
        if servers.is_cluster {
            let first = getrandom::u32().unwrap_or_default() as usize;
            let lines = Throttle::new(&metrics.log_lines_suppressed);
            let cluster = Cluster::new(&servers.addresses, template, is_tls, first, lines);
            let cluster = Arc::new(cluster);
            let watch = ClusterWatch::new(cluster.clone(), clock.clone(), clock_channel);
            let target = Arc::new(Target::Cluster(cluster));
            return Ok((Connector { target }, vec![Watch::Cluster(watch)]));
        }
        let Some(name) = servers.primary else {
            let address = servers.addresses.into_iter().next().ok_or_else(no_address)?;
            let target = Arc::new(Target::Server(template.at(address)?));
            return Ok((Connector { target }, Vec::new()));
        };
        let to_sentinels = ClientTemplate::of_sentinels(config, certificates)?;
        let (sentinels, watches) =
            watch_sentinels(name, servers.addresses, &to_sentinels, metrics)?;
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
            Target::Server(client) => Ok((open(client, answer, push).await?, Server::Only)),
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
                return Ok((opened, Server::Primary(primary)));
            },
            Target::Cluster(cluster) => connect_to_any(cluster, answer, push).await,
            Target::Node(cluster, node) => connect_to(cluster, node, answer, push).await,
        }
    }

    /// The Cluster that is connected to; `None` where Redis is none.
    pub(super) fn cluster(&self) -> Option<&Arc<Cluster>> {
        match &*self.target {
            Target::Cluster(cluster) | Target::Node(cluster, _) => Some(cluster),
            Target::Server(_) | Target::Primary { .. } => None,
        }
    }

    /// What to look at where a connection could not be made; `None` where that is not known.
    pub(super) fn advice(&self, error: &RedisError) -> Option<&'static str> {
        let error = error.to_string();
        let asked = match &*self.target {
            Target::Cluster(_) | Target::Node(..) => Asked::Node,
            Target::Primary { .. } if error.contains(NO_PRIMARY) => Asked::Sentinel,
            Target::Primary { .. } | Target::Server(_) => Asked::Server,
        };
        advice::advice(&error, asked)
    }

    /// Takes note of an error that says that a slot is another primary's. True: it is such an error,
    /// of the node that this leads to.
    pub(super) fn is_moved(&self, error: &RedisError) -> bool {
        match &*self.target {
            Target::Node(cluster, node) => cluster.moved(error, node),
            _ => false,
        }
    }

    /// Whether what is published on a channel goes where this leads to.
    pub(super) fn leads_to(&self, channel: &str) -> bool {
        match &*self.target {
            Target::Node(cluster, node) => {
                cluster.map().owner(slot_of(channel.as_bytes())) == Some(node)
            }
            _ => true,
        }
    }

    /// Makes connections to one primary of a Cluster.
    pub(super) fn to_node(cluster: Arc<Cluster>, node: Address) -> Self {
        Connector { target: Arc::new(Target::Node(cluster, node)) }
    }

    /// Waits that long before the next attempt; less where the sentinels name another primary
    /// meanwhile.
    pub(super) async fn pause(&self, delay: Duration) {
        let slept = tokio::time::sleep(delay);
        match &*self.target {
            Target::Server(_) | Target::Cluster(_) | Target::Node(..) => slept.await,
            Target::Primary { sentinels, .. } => tokio::select! {
                () = slept => {}
                () = sentinels.changed() => {}
            },
        }
    }

    /// Resolves, with the reason, when the sentinels name another primary than `server`, or the
    /// Cluster has it as a primary no more. Never with a single server.
    pub(super) async fn moved(&self, server: &Server) -> String {
        match (&*self.target, server) {
            (Target::Cluster(cluster) | Target::Node(cluster, _), Server::Node(node)) => {
                cluster.left(node).await;
                format!("{node} is no primary of the Cluster any more")
            }
            (Target::Primary { sentinels, .. }, Server::Primary(primary)) => {
                let successor = sentinels.moved(primary).await;
                format!("the sentinels name another primary: {successor} instead of {primary}")
            }
            _ => std::future::pending().await,
        }
    }
}

/// The sentinels at these addresses, which know the primary by `name`, with what asks them.
fn watch_sentinels(
    name: String,
    addresses: Vec<ConnectionAddr>,
    template: &ClientTemplate,
    metrics: &Metrics,
) -> RedisResult<(Arc<Sentinels>, Vec<Watch>)> {
    let lines = || Throttle::new(&metrics.log_lines_suppressed);
    let sentinels = Arc::new(Sentinels::new(name, addresses.len(), lines()));
    let mut watches = Vec::new();
    for (index, address) in addresses.into_iter().enumerate() {
        let named = (index, address.to_string());
        let client = template.at(address)?;
        let watch = SentinelWatch::new(named, client, sentinels.clone(), lines());
        watches.push(Watch::Sentinel(Box::new(watch)));
    }
    Ok((sentinels, watches))
}

/// Makes a connection to some primary of a Cluster: each time to the next one that can be reached.
async fn connect_to_any(
    cluster: &Arc<Cluster>,
    answer: Option<Duration>,
    push: impl AsyncPushSender + Clone,
) -> RedisResult<(MultiplexedConnection, Server)> {
    let map = cluster.first_map().await?;
    let mut last = Err((ErrorKind::Io, "the Cluster has no primary").into());
    for node in cluster.primaries_in_turn(&map) {
        last = connect_to(cluster, &node, answer, push.clone()).await;
        if last.is_ok() {
            break;
        }
    }
    last
}

async fn connect_to(
    cluster: &Arc<Cluster>,
    node: &Address,
    answer: Option<Duration>,
    push: impl AsyncPushSender,
) -> RedisResult<(MultiplexedConnection, Server)> {
    let opened = open(&cluster.client(node)?, answer, push).await;
    let opened = opened.map_err(|error| {
        cluster.suspect();
        (error.kind(), "a primary of the Cluster", format!("{node}: {error}"))
    })?;
    Ok((opened, Server::Node(node.clone())))
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
        let clock = Arc::default();
        let made = Connector::new(config, &Metrics::new().unwrap(), &clock, String::new());
        made.err().map(|error| error.to_string())
    }

    #[test]
    fn a_bad_url_names_the_key() {
        let at = |url: &str| said(&Redis::at(url.to_owned()));
        assert!(at("http://x").unwrap().starts_with("`redis.url` must begin with"));
        assert_eq!(at("redis://:secret@localhost:1/2"), None);
        assert_eq!(at("redis-sentinel://:secret@localhost:1/main"), None);
        assert_eq!(at("redis-cluster://:secret@localhost:1,localhost:2"), None);
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
