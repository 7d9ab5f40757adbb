//! Checks of `redis` and its bridge.

use rookery_policy::Namespaces;

use crate::config::{BridgeRule, Redis, SubscriptionMode, Wire};
use crate::redis_servers::RedisServers;

use super::problems::Problems;
use super::rules;

pub(super) fn check(redis: &Redis, namespaces: &[String], problems: &mut Problems) {
    // What is wrong with an entry of `namespaces` is said there.
    let offered: Vec<_> =
        namespaces.iter().filter(|entry| Namespaces::compile(&[entry]).is_ok()).collect();
    let namespaces = &Namespaces::compile(&offered).unwrap_or_default();
    match RedisServers::of(redis) {
        Ok(servers) => {
            check_login(redis, &servers, problems);
            check_tls(redis, &servers, problems);
        }
        Err(problem) => problems.push(problem),
    }
    check_sentinels_login(redis, problems);
    problems.say_if(
        redis.wire == Wire::Classic && redis.subscription_mode != SubscriptionMode::default(),
        "redis.subscriptionMode",
        "is for `redis.wire: sharded`; write that too, or leave it out",
    );
    problems.not_blank("redis.prefix", &redis.prefix);
    problems.say_if(redis.prefix.len() > 200, "redis.prefix", "is longer than 200 bytes");
    for (i, rule) in redis.bridge_in(namespaces).iter().enumerate() {
        check_bridge(&format!("redis.bridge[{i}]"), rule, namespaces, problems);
    }
}

/// Checks the login that is written beside the URL against the one in it.
fn check_login(redis: &Redis, servers: &RedisServers, problems: &mut Problems) {
    let has_password = servers.settings.password().is_some();
    if let Some(username) = &redis.username {
        problems.not_blank("redis.username", username);
        let again = servers.settings.username().is_some();
        problems.say_if(again, "redis.username", "is also in `redis.url`; leave one of them out");
        problems.say_if(
            redis.password_file.is_none() && !has_password,
            "redis.username",
            "has no password; name the file that holds it in `redis.passwordFile`",
        );
    }
    let again = redis.password_file.is_some() && has_password;
    problems.say_if(again, "redis.passwordFile", "is also in `redis.url`; leave one of them out");
}

fn check_sentinels_login(redis: &Redis, problems: &mut Problems) {
    let Some(sentinel) = &redis.sentinel else { return };
    let key = "redis.sentinel.username";
    if let Some(username) = &sentinel.username {
        problems.not_blank(key, username);
        problems.say_if(
            sentinel.password_file.is_none(),
            key,
            "has no password; name the file that holds it in `redis.sentinel.passwordFile`",
        );
    }
}

/// Checks `redis.tls` against where Redis is.
fn check_tls(redis: &Redis, servers: &RedisServers, problems: &mut Problems) {
    let tls = &redis.tls;
    let without = match () {
        () if servers.are_reached_by_tls() => None,
        () if servers.is_socket() => {
            Some("is for TLS, which a Unix socket is without; leave it out")
        }
        () if redis.url.is_empty() => {
            Some("is beside `redis.tls.enabled: false`; leave one of them out")
        }
        () => Some("is for `rediss://` URLs: write `rediss://` in `redis.url`, or leave it out"),
    };
    let named = tls.files().into_iter().find(|(_, path)| path.is_some());
    if let (Some(text), Some((key, _))) = (without, named) {
        problems.say(key, text);
    }
    let of_url = (!redis.url.is_empty()).then(|| servers.are_reached_by_tls());
    if let (Some(enabled), Some(of_url)) = (tls.enabled, of_url) {
        let text = "is for `redis.addresses`, and contradicts `redis.url`, whose scheme says it: \
                    rediss:// is TLS, redis:// is not; leave it out";
        problems.say_if(enabled != of_url, "redis.tls.enabled", text);
    }
    problems.say_if(
        tls.cert_file.is_some() && tls.key_file.is_none(),
        "redis.tls.certFile",
        "needs its key; name the file that holds it in `redis.tls.keyFile`",
    );
    problems.say_if(
        tls.key_file.is_some() && tls.cert_file.is_none(),
        "redis.tls.keyFile",
        "needs its certificate; name the file that holds it in `redis.tls.certFile`",
    );
}

fn check_bridge(key: &str, rule: &BridgeRule, namespaces: &Namespaces, problems: &mut Problems) {
    problems.not_blank(&format!("{key}.channel"), &rule.channel);
    problems.not_blank(&format!("{key}.room"), &rule.room);
    rules::check_published_event(&format!("{key}.event"), &rule.event, problems);
    if !namespaces.offers(&rule.namespace) {
        problems.say(
            &format!("{key}.namespace"),
            format_args!(
                "is `{}`, which `namespaces` does not offer; add it there",
                rule.namespace
            ),
        );
    }
}
