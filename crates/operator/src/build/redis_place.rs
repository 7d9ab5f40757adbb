//! Which Redis connects the servers, as an annotation of their Deployment says. Pure.

use rookery_config::redis_servers::RedisServers;

use crate::validate::Validated;

/// The ports of Redis and of its sentinels where an address names none.
const PORTS: [&str; 2] = ["6379", "26379"];

/// Which Redis connects the servers, and under which prefix: without user and password. `None`
/// where none does.
pub fn of(v: &Validated) -> Option<String> {
    let redis = v.config.redis.as_ref()?;
    let place = match &v.redis_secret {
        Some(secret) => format!("Redis of the Secret {} (key {})", secret.name, secret.key),
        None => {
            let servers = RedisServers::of(redis).ok();
            let addresses = servers.as_ref().map(addresses).filter(|text| !text.is_empty());
            let place = addresses.unwrap_or_else(|| without_scheme(&redis.redacted_url()));
            format!("Redis at {place}")
        }
    };
    Some(format!("{place} with the prefix {}", redis.prefix))
}

/// Whether servers at two places, as [`of`] describes them, hear each other. Of sentinels, or nodes
/// of a Cluster, it is enough that one is named by both.
pub fn is_same(one: &str, other: &str) -> bool {
    let parts = || Some((Parts::of(one)?, Parts::of(other)?));
    one == other || parts().is_some_and(|(one, other)| one.hears(&other))
}

/// `HOST:PORT,…`, and after a `/` the sentinels' name of the primary, or the database.
fn addresses(servers: &RedisServers) -> String {
    let address = |(host, port): (&str, u16)| match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    };
    let mut text = servers.hosts().map(address).collect::<Vec<_>>().join(",");
    let database = servers.settings.db();
    if let Some(primary) = &servers.primary {
        text += &format!("/{primary}");
    } else if database != 0 && !text.is_empty() {
        text += &format!("/{database}");
    }
    text
}

fn without_scheme(url: &str) -> String {
    let address = url.split_once("://").map_or(url, |(_, rest)| rest);
    let address = address.rsplit_once('@').map_or(address, |(_, rest)| rest);
    address.split(['?', '#']).next().unwrap_or(address).to_owned()
}

/// A place with addresses, in its parts.
struct Parts<'a> {
    addresses: Vec<&'a str>,
    /// The primary or the database; empty for database 0.
    path: &'a str,
    prefix: &'a str,
}

impl<'a> Parts<'a> {
    fn of(place: &'a str) -> Option<Self> {
        let (servers, prefix) = place.strip_prefix("Redis at ")?.split_once(" with the prefix ")?;
        let (addresses, path) = servers.split_once('/').unwrap_or((servers, ""));
        let path = if path == "0" { "" } else { path };
        Some(Parts { addresses: addresses.split(',').collect(), path, prefix })
    }

    fn hears(&self, other: &Self) -> bool {
        let is_named = |one: &&str| other.addresses.iter().any(|two| is_same_address(one, two));
        (self.path, self.prefix) == (other.path, other.prefix)
            && self.addresses.iter().any(|address| !address.is_empty() && is_named(address))
    }
}

fn is_same_address(one: &str, other: &str) -> bool {
    let is_default = |full: &str, host: &str| {
        let port = full.strip_prefix(host).and_then(|rest| rest.strip_prefix(':'));
        port.is_some_and(|port| PORTS.contains(&port))
    };
    one == other || is_default(one, other) || is_default(other, one)
}

#[cfg(test)]
mod tests {
    use super::super::tests::validated;
    use super::*;

    const SENTINELS: &str = "config: { redis: { mode: sentinel, addresses: [a, 'b:1'], \
                             sentinel: { master: m } } }";

    #[test]
    fn redis_is_named_without_user_and_password() {
        for (spec, expected) in [
            ("redis: { url: 'rediss://u:hunter2@cache:6380/2' }", "Redis at cache:6380/2"),
            ("redis: { host: cache }", "Redis at cache:6379"),
            ("redis: { urlSecret: { name: r } }", "Redis of the Secret r (key url)"),
            ("config: { redis: { url: 'redis://:p%40ss@h' } }", "Redis at h:6379"),
            ("config: { redis: { url: 'redis://[fd00::7]' } }", "Redis at [fd00::7]:6379"),
            ("config: { redis: { url: 'unix:///run/r.sock?pass=p' } }", "Redis at /run/r.sock"),
            (SENTINELS, "Redis at a:26379,b:1/m"),
            ("config: { redis: { mode: cluster, addresses: [a, b] } }", "Redis at a:6379,b:6379"),
        ] {
            let expected = format!("{expected} with the prefix socket.io");
            assert_eq!(of(&validated(spec)), Some(expected), "{spec}");
        }
        assert_eq!(of(&validated("{}")), None);
    }

    #[test]
    fn one_address_that_both_name_makes_it_the_same_redis() {
        let at = |place: &str| format!("Redis at {place} with the prefix socket.io");
        for (one, other, same) in [
            ("a:1,b:1/m", "b:1,c:1/m", true),
            ("a:1,b:1/m", "a:1,b:1/n", false),
            ("a:1,b:1/m", "c:1,d:1/m", false),
            ("a:1", "a:2", false),
            ("a:1", "a:1/2", false),
            // As earlier versions wrote it.
            ("a", "a:6379", true),
            ("a,b/m", "a:26379,b:26379/m", true),
            ("[fd00::7]/0", "[fd00::7]:6379", true),
            ("a", "a:6380", false),
            ("fd00::7", "fd00::7:6379", true),
            ("", "", true),
            ("/run/a", "/run/b", false),
        ] {
            assert_eq!(is_same(&at(one), &at(other)), same, "{one} {other}");
            assert_eq!(is_same(&at(other), &at(one)), same, "{other} {one}");
        }
        let prefix = |prefix| format!("Redis at a:1 with the prefix {prefix}");
        assert!(!is_same(&prefix("a"), &prefix("b")));
        let secret = |name| format!("Redis of the Secret {name} (key url) with the prefix a");
        assert!(is_same(&secret("r"), &secret("r")) && !is_same(&secret("r"), &secret("s")));
    }
}
