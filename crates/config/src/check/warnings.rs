//! Warnings of `rookery check`: configurations that can be served but are probably mistakes.

use std::collections::HashMap;

use rookery_policy::MAX_LISTED_ROOMS;

use crate::config::{Config, Transport, is_loopback};
use crate::error::MAX_PROBLEMS;

/// The warning of a configuration without `rooms`.
pub const OPEN_ROOMS: &str = "`rooms` is not written: every client may join every room and publish to \
     it; write rules, or `rooms: open` if that is meant";

/// One sentence for each warning, which names its keys.
pub fn warnings(config: &Config) -> Vec<String> {
    let mut found = Vec::new();
    if config.rooms.is_unset() {
        found.push(OPEN_ROOMS.to_owned());
    }
    if let Some(text) = without_cookies(config) {
        found.push(text);
    }
    if config.auth.anonymous == Some(true) && !is_loopback(config.listen.ip()) {
        found.push(format!(
            "`auth.anonymous: true` on {}: anyone who can reach it may connect without a token",
            config.listen
        ));
    }
    if !config.anonymous() && config.auth.jwt.is_none() {
        found.push(
            "`auth.anonymous: false` without `auth.jwt`: nobody can connect; configure `auth.jwt`"
                .to_owned(),
        );
    }
    if config.auth.api_keys_file.is_none() && !is_loopback(config.internal.ip()) {
        found.push(format!(
            "no `auth.apiKeysFile` while `internal` is {}: the HTTP API answers every request with 403; \
             name a file of keys",
            config.internal
        ));
    }
    found.extend(keys_in_clear(config));
    found.extend(unreachable_rules(config));
    found.extend(too_many_joins(config));
    if config.limits.queue < config.socketio.max_payload {
        found.push(format!(
            "`limits.queue` ({}) is less than `socketio.maxPayload` ({}): a client that is sent \
             the largest message is closed as too slow",
            config.limits.queue, config.socketio.max_payload
        ));
    }
    if config.limits.per_ip.is_some()
        && config.trusted_proxies.is_empty()
        && !is_loopback(config.listen.ip())
    {
        found.push(
            "`limits.perIp` without `trustedProxies`: behind a proxy, all clients count as one; \
             name the proxy's network in `trustedProxies`, or leave the section out"
                .to_owned(),
        );
    }
    found
}

/// Polling with several instances needs sticky cookies, which browsers send to other origins only
/// if the server names their own.
fn without_cookies(config: &Config) -> Option<String> {
    let cors = &config.socketio.cors;
    let polling = config.socketio.transports.contains(&Transport::Polling);
    let named = cors.credentials && !cors.origins.is_empty();
    (config.redis.is_some() && polling && !named).then(|| {
        "`socketio.cors`: with several instances, polling from another origin needs the \
         ingress's cookie; name `socketio.cors.origins`, write `socketio.cors.credentials: true`, \
         and give clients `withCredentials: true`"
            .to_owned()
    })
}

/// A client joins its rooms again whenever it reconnects.
fn too_many_joins(config: &Config) -> Option<String> {
    let limits = &config.limits;
    let (rooms, most) = (limits.rooms_per_client, MAX_LISTED_ROOMS as u32);
    let at_once = rooms.min(most).saturating_add(limits.events_per_second);
    (rooms > at_once).then(|| {
        format!(
            "`limits.roomsPerClient` ({rooms}) is more than a client can join when it connects: \
             {at_once} rooms, which are {most} and `limits.eventsPerSecond` ({}), then as many \
             each second; lower it, or raise `limits.eventsPerSecond`",
            limits.events_per_second
        )
    })
}

/// Anyone who can change the key set in transit can sign tokens.
fn keys_in_clear(config: &Config) -> Option<String> {
    let url = config.auth.jwt.as_ref()?.jwks_url.as_ref()?;
    // The URL may hold a password, so it is not repeated.
    url.starts_with("http://").then(|| {
        "`auth.jwt.jwksUrl` begins with http://: keys come without TLS; use https:// where you can"
            .to_owned()
    })
}

fn unreachable_rules(config: &Config) -> impl Iterator<Item = String> + '_ {
    let mut handled: HashMap<&str, usize> = HashMap::new();
    let rules = config.events.iter().enumerate();
    let unreachable = rules.filter_map(move |(i, rule)| {
        let first = *handled.entry(&rule.on).or_insert(i);
        (first != i).then(|| {
            format!("`events[{i}]` is never reached: `events[{first}]` handles every `{}`", rule.on)
        })
    });
    unreachable.take(MAX_PROBLEMS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{PerIp, Redis, Rooms};
    use rookery_policy::EventRule;

    #[test]
    fn the_defaults_have_no_warnings_but_that_rooms_are_open() {
        assert_eq!(warnings(&Config::default()), [OPEN_ROOMS]);
        let open = Config { rooms: Rooms::Open, ..Config::default() };
        assert_eq!(warnings(&open), [""; 0]);
    }

    #[test]
    fn each_warning_names_its_keys() {
        let mut config = Config {
            listen: "0.0.0.0:3000".parse().unwrap(),
            internal: "0.0.0.0:9090".parse().unwrap(),
            redis: Some(Redis::at("redis://127.0.0.1".to_owned())),
            ..Config::default()
        };
        config.auth.anonymous = Some(true);
        config.events.push(EventRule::defaults().swap_remove(1));
        config.socketio.max_payload.0 = 2 << 20;
        config.limits.per_ip = Some(PerIp::default());
        config.limits.rooms_per_client = 1101;
        let all = warnings(&config).join("\n");
        for key in [
            "withCredentials",
            "auth.anonymous",
            "auth.apiKeysFile",
            "`events[4]` is never reached: `events[1]`",
            "limits.queue",
            "`limits.perIp` without `trustedProxies`",
            "limits.roomsPerClient",
        ] {
            assert!(all.contains(key), "{key} in {all}");
        }
    }

    #[test]
    fn requiring_tokens_without_jwt_is_warned_about() {
        let mut config = Config { rooms: Rooms::Open, ..Config::default() };
        config.auth.anonymous = Some(false);
        assert!(warnings(&config)[0].contains("nobody can connect"));
    }
}
