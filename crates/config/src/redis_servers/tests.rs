use super::*;
use crate::config::{RedisSentinel, RedisTls};

fn at(url: &str) -> Redis {
    Redis::at(url.to_owned())
}

fn addresses(redis: &Redis) -> Vec<String> {
    let servers = RedisServers::of(redis).unwrap();
    servers.addresses.iter().map(ToString::to_string).collect()
}

#[test]
fn a_url_of_sentinels_names_them_their_primary_and_the_login_of_redis() {
    let url = "rediss-sentinel://us%40er:p%2Fw@a:26379,b,[fd00::7]:1,[fd00::8]/my-master.1";
    let servers = RedisServers::of(&at(url)).unwrap();
    assert_eq!(addresses(&at(url)), ["a:26379", "b:26379", "fd00::7:1", "fd00::8:26379"]);
    assert_eq!(servers.primary.as_deref(), Some("my-master.1"));
    assert_eq!(servers.settings.username(), Some("us@er"));
    assert_eq!(servers.settings.password(), Some("p/w"));
    assert!(servers.are_reached_by_tls());
    assert!(!RedisServers::of(&at("redis-sentinel://a/m")).unwrap().are_reached_by_tls());
}

#[test]
fn a_primary_may_be_named_beside_the_url() {
    let sentinel = RedisSentinel { master: Some("m".to_owned()), ..RedisSentinel::default() };
    for url in ["redis-sentinel://a,b", "redis-sentinel://a,b/"] {
        let redis = Redis { sentinel: Some(sentinel.clone()), ..at(url) };
        assert_eq!(RedisServers::of(&redis).unwrap().primary.as_deref(), Some("m"));
    }
}

#[test]
fn a_url_of_a_socket_has_its_login_in_the_query() {
    for url in
        ["unix:///run/r.sock?user=u&pass=p&db=2", "redis+unix:///run/r.sock?user=u&pass=p&db=2"]
    {
        let servers = RedisServers::of(&at(url)).unwrap();
        assert!(servers.is_socket() && !servers.are_reached_by_tls());
        assert_eq!((servers.settings.username(), servers.settings.db()), (Some("u"), 2));
        assert_eq!(at(url).redacted_url(), url.split('?').next().unwrap());
    }
}

#[test]
fn addresses_are_one_server_or_sentinels_and_say_the_same_as_a_url() {
    let one = Redis { addresses: vec!["cache:1".to_owned()], ..at("") };
    assert_eq!(
        (addresses(&one), one.redacted_url()),
        (vec!["cache:1".to_owned()], "redis://cache:1".to_owned())
    );
    let portless = Redis { addresses: vec!["cache".to_owned()], ..at("") };
    assert_eq!(addresses(&portless), ["cache:6379"]);
    let sentinels = Redis {
        addresses: vec!["a:1".to_owned(), "b".to_owned()],
        mode: Some(RedisMode::Sentinel),
        sentinel: Some(RedisSentinel { master: Some("m".to_owned()), ..RedisSentinel::default() }),
        tls: RedisTls { ca_file: Some("/ca".into()), ..RedisTls::default() },
        ..at("")
    };
    assert_eq!(addresses(&sentinels), ["a:1", "b:26379"]);
    let servers = RedisServers::of(&sentinels).unwrap();
    assert!(servers.are_reached_by_tls() && servers.primary.as_deref() == Some("m"));
    assert_eq!(sentinels.redacted_url(), "rediss-sentinel://a:1,b/m");
}

#[test]
fn no_message_repeats_a_password() {
    for url in [
        "redis-sentinel://u:hunter2@",
        "redis-sentinel://u:hunter2@a:x/m",
        "redis-sentinel://u:hunter2@a",
        "redis-sentinel://u:hunter2@a/m/n",
        "redis-sentinel://u:hunter2@a/m?x",
        "redis-sentinel://u:hun/ter2@a/m",
        "redis-sentinel://u:hunter2@a,,b/m",
        "unix://run/r.sock?pass=hunter2&db=x",
        "redis-cluster://u:hunter2@",
        "redis-cluster://u:hunter2@a,,b",
        "redis-cluster://u:hunter2@a/1",
        "redis-cluster://u:hun/ter2@a",
        "http://u:hunter2@a",
    ] {
        let problem = RedisServers::of(&at(url)).unwrap_err();
        assert_eq!(problem.key.as_deref(), Some("redis.url"), "{url}: {problem:?}");
        assert!(!problem.text.contains("hunter2") && !problem.text.contains("ter2"), "{problem:?}");
    }
    let redis = Redis { addresses: vec!["u:hunter2@h:1".to_owned()], ..at("") };
    let problem = RedisServers::of(&redis).unwrap_err();
    assert!(!problem.text.contains("hunter2"), "{problem:?}");
}

#[test]
fn nodes_of_a_cluster_are_named_by_a_url_or_by_addresses() {
    let url = "rediss-cluster://us%40er:p%2Fw@a:7000,b,[fd00::7]:1/0";
    let servers = RedisServers::of(&at(url)).unwrap();
    assert_eq!(addresses(&at(url)), ["a:7000", "b:6379", "fd00::7:1"]);
    assert!(servers.is_cluster && servers.are_reached_by_tls() && servers.primary.is_none());
    assert_eq!(servers.settings.username(), Some("us@er"));
    assert_eq!(servers.settings.password(), Some("p/w"));
    for several in ["redis://a:1,b:2", "redis-cluster://a", "redis://a"] {
        let mode = (several == "redis://a").then_some(RedisMode::Cluster);
        let servers = RedisServers::of(&Redis { mode, ..at(several) }).unwrap();
        assert!(servers.is_cluster && !servers.are_reached_by_tls(), "{several}");
    }
    let named = Redis {
        addresses: vec!["a:1".to_owned(), "b".to_owned()],
        mode: Some(RedisMode::Cluster),
        tls: RedisTls { enabled: Some(true), ..RedisTls::default() },
        ..at("")
    };
    assert_eq!(addresses(&named), ["a:1", "b:6379"]);
    assert!(RedisServers::of(&named).unwrap().is_cluster);
    assert_eq!(named.redacted_url(), "rediss-cluster://a:1,b");
}
