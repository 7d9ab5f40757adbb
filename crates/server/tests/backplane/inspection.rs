//! What `rookery check --connect` finds on a real Redis.

use rookery_config::{Redis, Wire};
use rookery_policy::Namespaces;
use rookery_server::backplane::inspection::{
    Inspection, NotInspected, Severity, Tracking, inspect,
};
use rookery_server::telemetry::metrics::Metrics;

use super::documented_rights;
use super::redis_server::RedisServer;

async fn inspected(url: String) -> Result<Inspection, NotInspected> {
    inspected_with(&Redis::at(url)).await
}

async fn inspected_with(config: &Redis) -> Result<Inspection, NotInspected> {
    let namespaces = Namespaces::compile(&["/", "/admin"]).unwrap();
    inspect(config, &namespaces, Tracking::Off, &Metrics::new().unwrap()).await
}

/// The texts of one severity, for a user with this rule.
async fn found(redis: &RedisServer, wire: Wire, rule: &str, severity: Severity) -> Vec<String> {
    redis.order("ACL DELUSER rookery").await;
    redis.order(&format!("ACL SETUSER rookery on >secret {rule}")).await;
    let mut config = Redis::at(format!("redis://rookery:secret@{}", redis.address()));
    config.wire = wire;
    let findings = inspected_with(&config).await.unwrap().findings;
    findings.into_iter().filter(|f| f.severity == severity).map(|f| f.text).collect()
}

#[tokio::test]
async fn a_server_as_it_comes_has_everything() {
    let redis = RedisServer::start().await;
    let inspection = inspected(redis.url()).await.unwrap();
    assert_eq!(inspection.findings, []);
    assert!(inspection.version.unwrap().starts_with(|c: char| c.is_ascii_digit()));
    assert_eq!(redis.channels().await, [""; 0]);
    let keys = redis::cmd("DBSIZE").query_async::<u64>(&mut redis.connection().await).await;
    assert_eq!(keys.unwrap(), 0, "no key is left behind");
}

#[tokio::test]
async fn the_documented_rights_are_enough_and_each_of_them_is_needed() {
    let redis = RedisServer::start().await;
    let rules = [
        (Wire::Classic, documented_rights::classic(), 1),
        (Wire::Sharded, documented_rights::sharded(), 0),
    ];
    for (wire, rule, warnings) in &rules {
        let wire = *wire;
        assert_eq!(found(&redis, wire, rule, Severity::Error).await, [""; 0]);
        let warned = found(&redis, wire, rule, Severity::Warning).await;
        assert_eq!(warned.len(), *warnings, "{warned:?}");
        assert!(warned.iter().all(|text| text.contains("allchannels")), "{warned:?}");
        let notes = found(&redis, wire, rule, Severity::Note).await;
        assert_eq!(notes.len(), 1, "CONFIG GET is not permitted");
        for right in rule.split_whitespace().filter(|word| word.starts_with('+')) {
            let without = rule.replace(&format!(" {right}"), "");
            let errors = found(&redis, wire, &without, Severity::Error).await;
            let fix = format!("`ACL SETUSER rookery {right}`");
            assert!(errors.iter().any(|error| error.contains(&fix)), "{right}: {errors:?}");
        }
    }
}

#[tokio::test]
async fn channels_and_keys_that_are_not_permitted_are_named() {
    let redis = RedisServer::start().await;
    let (classic, sharded) = (documented_rights::classic(), documented_rights::sharded());
    for (wire, rule, given, instead, named) in [
        (Wire::Classic, &classic, "&rookery:publish", "", "&rookery:publish`"),
        (Wire::Classic, &classic, "&socket.io*", "&socket.io*/#*", "&socket.io-request#/admin#`"),
        (Wire::Classic, &classic, "&socket.io*", "&socket.io-*", "&socket.io#/#check#`"),
        (Wire::Classic, &classic, "~socket.io:rookery:*", "~other:*", "~socket.io:rookery:*"),
        (Wire::Sharded, &sharded, "&rookery:publish", "", "&rookery:publish`"),
        (Wire::Sharded, &sharded, "&socket.io*", "&socket.io-*", "&socket.io#/#check#`"),
    ] {
        let errors = found(&redis, wire, &rule.replace(given, instead), Severity::Error).await;
        assert!(errors.iter().any(|error| error.contains(named)), "{named}: {errors:?}");
    }
}

#[tokio::test]
async fn a_replica_and_a_full_server_are_errors() {
    let (redis, primary) = (RedisServer::start().await, RedisServer::start().await);
    redis.order("CONFIG SET maxmemory 1").await;
    let errors = inspected(redis.url()).await.unwrap().findings;
    assert!(errors[0].severity == Severity::Error && errors[0].text.starts_with("SET fails: "));
    redis.order("CONFIG SET maxmemory 0").await;
    redis.order(&format!("REPLICAOF {}", primary.address().replace(':', " "))).await;
    let errors = inspected(redis.url()).await.unwrap().findings;
    assert!(errors.iter().any(|error| error.text.contains("is a replica")), "{errors:?}");
}

#[tokio::test]
async fn settings_that_lose_messages_are_warned_of() {
    let redis = RedisServer::start().await;
    redis.order("CONFIG SET maxmemory 100mb maxmemory-policy allkeys-lru").await;
    let mut command = redis::cmd("CONFIG");
    command.arg("SET").arg("client-output-buffer-limit").arg("pubsub 1mb 512kb 60");
    command.query_async::<()>(&mut redis.connection().await).await.unwrap();
    let texts: Vec<String> =
        inspected(redis.url()).await.unwrap().findings.into_iter().map(|f| f.text).collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[0].contains("allkeys-lru") && texts[1].contains("1048576 524288"), "{texts:?}");
}

#[tokio::test]
async fn a_server_that_cannot_be_used_is_named_with_what_to_look_at() {
    let redis = RedisServer::start().await;
    let stopped = RedisServer::stopped();
    redis.order("CONFIG SET requirepass secret").await;
    for (url, fix) in [
        (stopped.url(), "check the address"),
        (redis.url(), "check the user and the password"),
        (format!("redis://:wrong@{}", redis.address()), "check the user and the password"),
        (format!("rediss://{}", redis.address()), "rediss:// if the server expects TLS"),
    ] {
        let said = inspected(url.clone()).await.unwrap_err().to_string();
        assert!(said.contains(fix) && !said.contains("wrong@"), "{url}: {said}");
    }
    redis.signal("STOP");
    let said = inspected(format!("redis://:secret@{}", redis.address())).await.unwrap_err();
    redis.signal("CONT");
    assert!(said.to_string().contains("no firewall or NetworkPolicy"), "{said}");
}

/// Fails where these rights, beside those of every instance, are not enough or one is not needed.
async fn each_is_needed(tracking: Tracking, rights: &[&str]) {
    let redis = RedisServer::start().await;
    let found = async |without: Option<&str>| {
        redis.order("ACL DELUSER rookery").await;
        let given = rights.iter().filter(|right| Some(**right) != without).copied();
        let given: Vec<&str> = given.collect();
        let rule = format!("{} {}", documented_rights::classic(), given.join(" "));
        redis.order(&format!("ACL SETUSER rookery on >secret {rule}")).await;
        let config = Redis::at(format!("redis://rookery:secret@{}", redis.address()));
        let namespaces = Namespaces::compile(&["/"]).unwrap();
        let inspected = inspect(&config, &namespaces, tracking, &Metrics::new().unwrap()).await;
        let findings = inspected.unwrap().findings.into_iter();
        let errors = findings.filter(|finding| finding.severity == Severity::Error);
        errors.map(|finding| finding.text).collect::<Vec<_>>()
    };
    assert_eq!(found(None).await, [""; 0]);
    for right in rights {
        let errors = found(Some(right)).await;
        assert!(!errors.is_empty(), "{right}");
        assert!(errors.iter().all(|error| error.contains(right)), "{right}: {errors:?}");
    }
    let left = async || {
        let keys = redis::cmd("DBSIZE").query_async::<u64>(&mut redis.connection().await).await;
        keys.unwrap() <= 1
    };
    super::until("only what could not be deleted, or made to expire, is left", left).await;
}

#[tokio::test]
async fn presence_needs_its_own_rights_and_each_of_them() {
    each_is_needed(Tracking::Presence, &["+hset", "+hdel", "+hgetall", "+pexpire"]).await;
}

#[tokio::test]
async fn hooks_need_their_own_rights_and_each_of_them() {
    let rights = documented_rights::of_hooks();
    let rights: Vec<&str> = rights.split(' ').collect();
    assert!(rights.len() > 4, "{rights:?}");
    each_is_needed(Tracking::Hooks, &rights).await;
}
