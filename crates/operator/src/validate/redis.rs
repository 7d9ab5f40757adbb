//! Rules for `spec.redis`.

use super::problem::Problems;
use crate::crd::{RedisSource, RookerySpec};

/// Checks where Redis is and how the servers log in.
pub(super) fn check(redis: &RedisSource, spec: &RookerySpec, problems: &mut Problems) {
    let written = [redis.url.is_some(), redis.url_secret.is_some(), redis.host.is_some()];
    problems.add_if(
        written.iter().filter(|written| **written).count() != 1,
        "spec.redis",
        "write `url` or `urlSecret` or `host`: exactly one",
    );
    for (key, field) in
        [("url", "spec.config.redis.url"), ("addresses", "spec.config.redis.addresses")]
    {
        let twice = spec.config.0.get("redis").is_some_and(|redis| !redis[key].is_null());
        problems.add_if(twice, field, "is also in `spec.redis`; leave one of them out");
    }
    for (is_set, field) in
        [(redis.port.is_some(), "spec.redis.port"), (redis.tls.is_some(), "spec.redis.tls")]
    {
        problems.add_if(is_set && redis.host.is_none(), field, "goes with `host`; a URL has it");
    }
    problems.add_if(redis.port == Some(0), "spec.redis.port", "must be from 1 to 65535");
    for (is_set, field) in [
        (redis.username.is_some(), "spec.redis.username"),
        (redis.password_secret.is_some(), "spec.redis.passwordSecret"),
    ] {
        problems.add_if(
            is_set && redis.url_secret.is_some(),
            field,
            "goes with `host` or `url`; the URL in `urlSecret` has it",
        );
    }
    if let Some(secret) = &redis.url_secret {
        problems.add_if(
            secret.port == 0,
            "spec.redis.urlSecret.port",
            "must be from 1 to 65535: the port of the URL, which the NetworkPolicy opens",
        );
    }
}
