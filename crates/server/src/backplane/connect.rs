//! Connections to Redis, and how long to wait between two attempts.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use redis::aio::{AsyncPushSender, MultiplexedConnection};
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, IntoConnectionInfo, ProtocolVersion, RedisResult,
    ServerErrorKind, TlsCertificates, Value,
};
use rookery_backoff::Backoff;
use rookery_config::{Redis, files};

/// How long a connection may take to be made, greeting included.
const CONNECT: Duration = Duration::from_secs(2);

/// Time between two heartbeats on a connection.
pub const HEARTBEAT: Duration = Duration::from_secs(3);

/// How long a heartbeat's answer may take. With [`HEARTBEAT`]: a silent link is noticed within
/// 7 seconds.
pub const HEARTBEAT_ANSWER: Duration = Duration::from_secs(4);

/// The configuration of Redis cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadRedis {
    /// The URL is none, or the certificates of `redis.tls` are none.
    #[error(
        "redis.url: {0}; expected redis://HOST:PORT or, for TLS, rediss://HOST:PORT, and \
         certificates in PEM in redis.tls.caFile"
    )]
    Url(#[from] redis::RedisError),
    /// A file that it names cannot be read.
    #[error("{key}: cannot read {}: {error}; check the path and its mode", path.display())]
    File {
        /// The key that names the file.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// Reads the URL and the files that hold a password and certificates; connects to nothing. Blocking
/// I/O.
///
/// # Errors
/// Where the URL is none of Redis, or a file cannot be read.
pub fn client(config: &Redis) -> Result<Client, BadRedis> {
    let info = config.url.as_str().into_connection_info()?;
    // RESP3, because there messages are handed over while the socket is read: no queue between.
    let mut settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    if let Some(username) = &config.username {
        settings = settings.set_username(username);
    }
    if let Some(path) = &config.password_file {
        let read = read("redis.passwordFile", path, files::read_password)?;
        settings = settings.set_password(read);
    }
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    let info = info.set_redis_settings(settings).set_tcp_settings(tcp);
    match &config.tls.ca_file {
        None => Ok(Client::open(info)?),
        Some(path) => {
            let root_cert = Some(read("redis.tls.caFile", path, files::read_authorities)?);
            Ok(Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert })?)
        }
    }
}

fn read<T>(
    key: &'static str,
    path: &Path,
    read: fn(&Path) -> io::Result<T>,
) -> Result<T, BadRedis> {
    read(path).map_err(|error| BadRedis::File { key, path: path.to_owned(), error })
}

/// Makes a connection whose messages, and whose end, `push` gets. `answer`: how long an answer to
/// a command may take.
///
/// # Errors
/// When Redis does not answer in time, refuses, or is older than version 6.
pub async fn connect(
    client: &Client,
    answer: Option<Duration>,
    push: impl AsyncPushSender,
) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(answer)
        .set_push_sender(push);
    let connected = client.get_multiplexed_async_connection_with_config(&config);
    tokio::time::timeout(CONNECT, connected).await.unwrap_or_else(|_| {
        let error = std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer within 2 s");
        Err(error.into())
    })
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

fn is_replica(greeting: &Value) -> bool {
    let text = |value: &Value| redis::from_redis_value_ref::<String>(value).ok();
    let Value::Map(fields) = greeting else { return false };
    let role = fields.iter().find(|(key, _)| text(key).as_deref() == Some("role"));
    role.and_then(|(_, role)| text(role)).is_some_and(|role| role == "replica" || role == "slave")
}

/// The delays between attempts to connect, from 50 ms to 2 s. They start again after a connection
/// that lasted; one that broke at once does not count, so that a server which accepts and closes is
/// not flooded.
pub struct ReconnectDelays(Backoff);

impl ReconnectDelays {
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(2);
    const LASTING: Duration = Duration::from_secs(5);

    /// The delay before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        self.0.next_delay()
    }

    /// A connection lasted that long.
    pub fn lasted(&mut self, time: Duration) {
        if time >= Self::LASTING {
            self.0.reset();
        }
    }
}

impl Default for ReconnectDelays {
    fn default() -> Self {
        ReconnectDelays(Backoff::new(Self::FIRST, Self::LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_broke_at_once_does_not_start_the_delays_again() {
        let mut delays = ReconnectDelays::default();
        assert!(delays.next_delay() <= ReconnectDelays::FIRST);
        for _ in 0..100 {
            delays.next_delay();
        }
        delays.lasted(Duration::from_secs(1));
        assert!(delays.next_delay() >= ReconnectDelays::LONGEST / 2);
        delays.lasted(Duration::from_secs(60));
        assert!(delays.next_delay() <= ReconnectDelays::FIRST);
    }

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

    #[test]
    fn a_bad_url_names_the_key() {
        let at = |url: &str| client(&Redis::at(url.to_owned()));
        assert!(at("http://x").unwrap_err().to_string().starts_with("redis.url: "));
        assert!(at("redis://:secret@localhost:1/2").is_ok());
    }

    #[test]
    fn a_file_that_cannot_be_read_names_its_key() {
        let mut config = Redis::at("redis://localhost:1".to_owned());
        config.password_file = Some("/nowhere/password".into());
        let said = client(&config).unwrap_err().to_string();
        assert!(said.starts_with("redis.passwordFile: cannot read /nowhere/password: "), "{said}");
    }
}
