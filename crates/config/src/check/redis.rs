//! Checks of `redis` and its bridge.

use redis::IntoConnectionInfo;

use crate::config::{BridgeRule, Redis, SubscriptionMode, Wire};

use super::problems::Problems;
use super::rules;

pub(super) fn check(redis: &Redis, namespaces: &[String], problems: &mut Problems) {
    check_url(&redis.url, problems);
    check_login(redis, problems);
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

/// A URL may hold a password, so no message repeats it.
fn check_url(url: &str, problems: &mut Problems) {
    let key = "redis.url";
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let seeds = rest.rsplit('@').next().unwrap_or(rest).split('/').next().unwrap_or(rest);
    if url.is_empty() {
        problems.say(key, "is missing; write it here, or give `--redis` or ROOKERY_REDIS");
    } else if scheme.contains("sentinel") {
        let written = format!("redis.url: {scheme}://");
        problems.unsupported(key, &written, "use the `redis://` or `rediss://` URL of one server");
    } else if scheme.contains("cluster") || (is_redis(scheme) && seeds.contains(',')) {
        let written = "redis.url with the seeds of a cluster";
        problems.unsupported(key, written, "use the `redis://` or `rediss://` URL of one server");
    } else if !is_redis(scheme) {
        problems.say(
            key,
            "must begin with redis:// or rediss:// (TLS), such as redis://127.0.0.1:6379",
        );
    } else if seeds.is_empty() || url.into_connection_info().is_err() {
        problems.say(
            key,
            "is not the URL of a server, such as redis://user:password@host:6379/0; \
             write `@`, `/` and the like in a password as %40, %2F",
        );
    }
}

/// Checks what is written beside the URL against it.
fn check_login(redis: &Redis, problems: &mut Problems) {
    let (scheme, rest) = redis.url.split_once("://").unwrap_or_default();
    let in_url = rest.rsplit_once('@').map(|(login, _)| login);
    if let Some(username) = &redis.username {
        problems.not_blank("redis.username", username);
        let again = in_url.is_some_and(|login| !login.starts_with(':'));
        problems.say_if(again, "redis.username", "is also in `redis.url`; leave one of them out");
        problems.say_if(
            redis.password_file.is_none() && !in_url.is_some_and(|login| login.contains(':')),
            "redis.username",
            "has no password; name the file that holds it in `redis.passwordFile`",
        );
    }
    let again = redis.password_file.is_some() && in_url.is_some_and(|login| login.contains(':'));
    problems.say_if(again, "redis.passwordFile", "is also in `redis.url`; leave one of them out");
    problems.say_if(
        redis.tls.ca_file.is_some() && scheme == "redis",
        "redis.tls.caFile",
        "is for `rediss://` URLs: write `rediss://` in `redis.url`, or leave it out",
    );
}

fn is_redis(scheme: &str) -> bool {
    matches!(scheme, "redis" | "rediss")
}

fn check_bridge(key: &str, rule: &BridgeRule, namespaces: &[String], problems: &mut Problems) {
    problems.not_blank(&format!("{key}.channel"), &rule.channel);
    problems.not_blank(&format!("{key}.room"), &rule.room);
    rules::check_published_event(&format!("{key}.event"), &rule.event, problems);
    if !namespaces.contains(&rule.namespace) {
        problems.say(
            &format!("{key}.namespace"),
            format_args!("is `{}`, which `namespaces` does not name; add it there", rule.namespace),
        );
    }
}
