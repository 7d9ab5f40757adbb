//! [`RedisServers`]: where Redis is, as `redis.url` says, or `redis.addresses` with `redis.mode`.
//! Pure.

use redis::{ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo};

use crate::config::{Redis, RedisMode};
use crate::error::Problem;

/// The port of a sentinel whose address names none.
const SENTINEL_PORT: u16 = 26379;

/// The port of a server whose address names none.
const REDIS_PORT: u16 = 6379;

/// The servers that a configuration leads to.
#[derive(Clone, Debug)]
pub struct RedisServers {
    /// The address of the one server, those of the sentinels, or of some nodes of a Cluster: at
    /// least one.
    pub addresses: Vec<ConnectionAddr>,
    /// Whether `addresses` are nodes of a Redis Cluster, which tell where the others are.
    pub is_cluster: bool,
    /// The name by which the sentinels at `addresses` know the primary; `None` without sentinels.
    pub primary: Option<String>,
    /// User, password and database of the URL, for Redis itself.
    pub settings: RedisConnectionInfo,
}

impl RedisServers {
    /// Reads where `redis` says that Redis is. No message repeats a URL, which may hold a password.
    ///
    /// # Errors
    /// The first thing that is wrong, with its key.
    pub fn of(redis: &Redis) -> Result<Self, Problem> {
        let servers = match (redis.url.is_empty(), redis.addresses.is_empty()) {
            (true, true) => Err(problem(
                "redis.url",
                "is missing; write it here, or give `--redis` or ROOKERY_REDIS",
            )),
            (false, false) => Err(problem(
                "redis.addresses",
                "are beside `redis.url`, which says where Redis is too; leave one of them out",
            )),
            (false, true) => from_url(&redis.url, redis.mode),
            (true, false) => from_addresses(redis),
        }?;
        with_sentinels_primary(servers, redis)
    }

    /// Host, an address of IPv6 without its brackets, and port of each; of a Unix socket none.
    pub fn hosts(&self) -> impl Iterator<Item = (&str, u16)> {
        self.addresses.iter().filter_map(|address| match address {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                Some((host.as_str(), *port))
            }
            _ => None,
        })
    }

    /// Whether TLS is spoken with them.
    pub fn are_reached_by_tls(&self) -> bool {
        self.addresses.iter().any(|address| matches!(address, ConnectionAddr::TcpTls { .. }))
    }

    /// Whether it is a Unix socket.
    pub fn is_socket(&self) -> bool {
        self.addresses.iter().any(|address| matches!(address, ConnectionAddr::Unix(_)))
    }
}

/// Completes what `redis.sentinel` says, and refuses that section where there are no sentinels.
fn with_sentinels_primary(servers: RedisServers, redis: &Redis) -> Result<RedisServers, Problem> {
    let is_sentinel = servers.primary.is_some();
    let master = redis.sentinel.as_ref().and_then(|sentinel| sentinel.master.clone());
    if redis.sentinel.is_some() && !is_sentinel {
        let text = "is about sentinels; write `redis.mode: sentinel`, or a redis-sentinel:// URL, \
                    or leave it out";
        return Err(problem("redis.sentinel", text));
    }
    let primary = match (servers.primary.filter(|name| !name.is_empty()), master) {
        (Some(_), Some(_)) => {
            let text = "is also at the end of `redis.url`; leave one of them out";
            return Err(problem("redis.sentinel.master", text));
        }
        (None, None) if is_sentinel && !redis.url.is_empty() => {
            let text = "names no primary; write the name by which the sentinels know it at the \
                        end, such as redis-sentinel://a:26379,b:26379/mymaster, or in \
                        `redis.sentinel.master`";
            return Err(problem("redis.url", text));
        }
        (None, None) if is_sentinel => {
            let text = "is missing; write the name by which the sentinels know the primary, such \
                        as mymaster";
            return Err(problem("redis.sentinel.master", text));
        }
        (named, master) => named.or(master),
    };
    let is_name = |name: &String| {
        let permitted = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        !name.is_empty() && name.chars().all(permitted)
    };
    if !primary.as_ref().is_none_or(is_name) {
        let key = if redis.url.is_empty() { "redis.sentinel.master" } else { "redis.url" };
        let text = "does not name a primary; sentinels know it by letters, digits, `.`, `-` and \
                    `_`, such as mymaster";
        return Err(problem(key, text));
    }
    Ok(RedisServers { primary, ..servers })
}

fn from_url(url: &str, mode: Option<RedisMode>) -> Result<RedisServers, Problem> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let hosts = rest.rsplit('@').next().unwrap_or(rest).split('/').next().unwrap_or(rest);
    let is_sentinel = matches!(scheme, "redis-sentinel" | "rediss-sentinel");
    let is_server = matches!(scheme, "redis" | "rediss");
    let is_socket = matches!(scheme, "unix" | "redis+unix");
    let is_cluster_scheme = matches!(scheme, "redis-cluster" | "rediss-cluster");
    if !(is_sentinel || is_server || is_socket || is_cluster_scheme) {
        return Err(problem(
            "redis.url",
            "must begin with redis:// or rediss:// (TLS), redis-sentinel:// or \
             rediss-sentinel://, redis-cluster:// or rediss-cluster://, or unix://, such as \
             redis://127.0.0.1:6379",
        ));
    }
    // Several servers without sentinels can only be nodes of a Cluster.
    let is_cluster = is_cluster_scheme || (is_server && hosts.contains(','));
    check_mode(mode, is_sentinel, is_cluster)?;
    if is_cluster || (is_server && mode == Some(RedisMode::Cluster)) {
        return from_cluster_url(scheme, rest);
    }
    if is_sentinel {
        return from_sentinel_url(scheme, rest).ok_or_else(|| {
            problem(
                "redis.url",
                "is not the URL of sentinels, such as \
                 redis-sentinel://user:password@a:26379,b:26379/mymaster; write `@`, `/` and the \
                 like in a password as %40, %2F",
            )
        });
    }
    let info = url.into_connection_info().ok().filter(|_| is_socket || !hosts.is_empty());
    let Some(info) = info else {
        return Err(problem(
            "redis.url",
            "is not the URL of a server, such as redis://user:password@host:6379/0 or \
             unix:///run/redis.sock; write `@`, `/` and the like in a password as %40, %2F",
        ));
    };
    Ok(RedisServers {
        addresses: vec![info.addr().clone()],
        is_cluster: false,
        primary: None,
        settings: info.redis_settings().clone(),
    })
}

/// A URL says by itself whether it names sentinels, or several nodes of a Cluster.
fn check_mode(mode: Option<RedisMode>, is_sentinel: bool, is_cluster: bool) -> Result<(), Problem> {
    match mode {
        Some(RedisMode::Cluster) if is_sentinel => Err(problem(
            "redis.mode",
            "is `cluster`, but `redis.url` names sentinels, which a Cluster is without; leave the \
             mode out, or write redis-cluster://HOST:6379,HOST:6379",
        )),
        Some(RedisMode::Single) if is_cluster => Err(problem(
            "redis.mode",
            "is `single`, but `redis.url` names nodes of a Cluster; leave the mode out, or write \
             the `redis://` or `rediss://` URL of one server",
        )),
        Some(RedisMode::Single) if is_sentinel => Err(problem(
            "redis.mode",
            "is `single`, but `redis.url` names sentinels; leave the mode out, or write the \
             `redis://` or `rediss://` URL of one server",
        )),
        Some(RedisMode::Sentinel) if !is_sentinel => Err(problem(
            "redis.mode",
            "is `sentinel`, but `redis.url` is that of one server; write \
             redis-sentinel://HOST:26379,HOST:26379/mymaster, or name the sentinels in \
             `redis.addresses`",
        )),
        _ => Ok(()),
    }
}

/// Reads `[user:password@]host[:port],…`, which some nodes of a Cluster are.
fn from_cluster_url(scheme: &str, rest: &str) -> Result<RedisServers, Problem> {
    let Some((servers, database)) = from_hosts(scheme, rest, REDIS_PORT) else {
        return Err(problem(
            "redis.url",
            "is not the URL of a Cluster, such as \
             redis-cluster://user:password@a:6379,b:6379,c:6379; write `@`, `/` and the like in a \
             password as %40, %2F",
        ));
    };
    if !matches!(database.as_str(), "" | "0") {
        let text = "names a database, and a Cluster has none but 0; leave out what follows the \
                    addresses";
        return Err(problem("redis.url", text));
    }
    Ok(RedisServers { is_cluster: true, ..servers })
}

/// Reads `[user:password@]host[:port],…[/primary]`. The primary is empty where it is not named.
fn from_sentinel_url(scheme: &str, rest: &str) -> Option<RedisServers> {
    let (servers, primary) = from_hosts(scheme, rest, SENTINEL_PORT)?;
    Some(RedisServers { primary: Some(primary), ..servers })
}

/// Reads `[user:password@]host[:port],…[/path]`, with `port` where an address names none; gives the
/// path too.
fn from_hosts(scheme: &str, rest: &str, port: u16) -> Option<(RedisServers, String)> {
    let (login, hosts) = match rest.rsplit_once('@') {
        Some((login, hosts)) => (format!("{login}@"), hosts),
        None => (String::new(), rest),
    };
    let (hosts, path) = hosts.split_once('/').unwrap_or((hosts, ""));
    let scheme = if scheme.starts_with("rediss") { "rediss" } else { "redis" };
    let mut settings = RedisConnectionInfo::default();
    let mut addresses = Vec::new();
    for host in hosts.split(',') {
        let address = with_port(host, port);
        let info = format!("{scheme}://{login}{address}").into_connection_info().ok()?;
        is_plain(host).then_some(())?;
        addresses.push(info.addr().clone());
        settings = info.redis_settings().clone();
    }
    let servers = RedisServers { addresses, is_cluster: false, primary: None, settings };
    Some((servers, path.to_owned()))
}

fn from_addresses(redis: &Redis) -> Result<RedisServers, Problem> {
    let is_sentinel = redis.mode == Some(RedisMode::Sentinel);
    let is_cluster = redis.mode == Some(RedisMode::Cluster);
    if !is_sentinel && !is_cluster && redis.addresses.len() > 1 {
        let text = "names several servers; write `redis.mode: cluster` if they are nodes of a \
                    Cluster, `redis.mode: sentinel` if they are sentinels, or leave one of them";
        return Err(problem("redis.addresses", text));
    }
    let scheme = if redis.tls.is_wanted() { "rediss" } else { "redis" };
    let port = if is_sentinel { SENTINEL_PORT } else { REDIS_PORT };
    let mut addresses = Vec::new();
    for (i, address) in redis.addresses.iter().enumerate() {
        let info = format!("{scheme}://{}", with_port(address, port)).into_connection_info();
        let Some(info) = info.ok().filter(|_| is_plain(address)) else {
            let key = format!("redis.addresses[{i}]");
            let text = "is not HOST:PORT, such as 10.0.0.7:6379 or [fd00::7]:6379; user and \
                        password are `redis.username` and `redis.passwordFile`, and TLS is \
                        `redis.tls`";
            return Err(problem(&key, text));
        };
        addresses.push(info.addr().clone());
    }
    let primary = is_sentinel.then(String::new);
    Ok(RedisServers { addresses, is_cluster, primary, settings: RedisConnectionInfo::default() })
}

/// Whether `address` is a host, with a port or without, and nothing else.
fn is_plain(address: &str) -> bool {
    !address.is_empty()
        && !address.contains(['/', '@', '?', '#', ' ', ','])
        && !address.ends_with(':')
}

/// The address with its port, or with `port` where it names none.
fn with_port(address: &str, port: u16) -> String {
    let after_host = address.rsplit(']').next().unwrap_or(address);
    if after_host.contains(':') { address.to_owned() } else { format!("{address}:{port}") }
}

fn problem(key: &str, text: &str) -> Problem {
    Problem::new(key, format!("`{key}` {text}"))
}

#[cfg(test)]
mod tests;
