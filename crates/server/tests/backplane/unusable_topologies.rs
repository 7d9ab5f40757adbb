//! What `rookery check --connect` says where Sentinel, a Cluster or TLS cannot be used.

use rookery_config::{Redis, RedisMode, RedisSentinel, Wire};
use rookery_policy::Namespaces;
use rookery_server::backplane::inspection::{Inspection, NotInspected, Tracking, inspect};
use rookery_server::telemetry::metrics::Metrics;

use super::cluster_servers::RedisCluster;
use super::redis_server::RedisServer;
use super::sentinels::RedisWithSentinels;

async fn inspected(config: &Redis) -> Result<Inspection, NotInspected> {
    let namespaces = Namespaces::compile(&["/"]).unwrap();
    inspect(config, &namespaces, Tracking::Off, &Metrics::new().unwrap()).await
}

/// A configuration with a mistake.
type Mistaken = (&'static str, Redis);

/// Each is refused, and the error names all of the words.
async fn each_is_explained(mistakes: &[(&[&str], Redis)]) {
    for (words, config) in mistakes {
        let said = match inspected(config).await {
            Ok(inspection) => panic!("{words:?}: {inspection:?}"),
            Err(error) => error.to_string(),
        };
        for word in *words {
            assert!(said.contains(word), "{word}: {said}");
        }
        assert!(!said.contains("NetworkPolicy"), "{words:?}: {said}");
    }
}

/// The mistakes that can be made with certificates, with what the error must name.
fn with_other_certificates(config: &Redis) -> [Mistaken; 2] {
    let without = |change: fn(&mut Redis)| {
        let mut config = config.clone();
        change(&mut config);
        config
    };
    [
        (
            "redis.tls.caFile",
            without(|redis| {
                redis.tls.ca_file = None;
                redis.tls.enabled = Some(true);
            }),
        ),
        (
            "redis.tls.certFile",
            without(|redis| {
                (redis.tls.cert_file, redis.tls.key_file) = (None, None);
            }),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_cluster_s_certificates_and_users_is_named() {
    let cluster = RedisCluster::secured(Wire::Classic).await;
    let config = cluster.config();
    for (word, config) in with_other_certificates(&config) {
        each_is_explained(&[(&["127.0.0.1:", word], config)]).await;
    }
    let nobody = Redis { username: Some("nobody".to_owned()), ..config.clone() };
    let no_login = Redis { username: None, password_file: None, ..config.clone() };
    each_is_explained(&[
        (&["WRONGPASS", "each node"], nobody),
        (&["NOAUTH", "each node"], no_login),
    ])
    .await;
    let order = async |words: &[&str]| {
        for server in &cluster.servers {
            cluster.order::<()>(server.port, words).await.unwrap();
        }
    };
    order(&["ACL", "SETUSER", "rookery", "-cluster|slots"]).await;
    each_is_explained(&[(&["+cluster|slots"], config.clone())]).await;
    order(&["ACL", "SETUSER", "rookery", "+cluster|slots"]).await;
    let last = cluster.servers[2].port;
    cluster.order::<()>(last, &["ACL", "DELUSER", "rookery"]).await.unwrap();
    let findings = inspected(&config).await.unwrap().findings;
    let at_last =
        |text: &str| text.contains(&format!("127.0.0.1:{last}")) && text.contains("each node");
    assert!(findings.iter().any(|finding| at_last(&finding.text)), "{findings:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_sentinels_certificates_and_users_is_named() {
    let redis = RedisWithSentinels::secured().await;
    let config = redis.config();
    for (word, config) in with_other_certificates(&config) {
        each_is_explained(&[(&["no sentinel names the primary", word], config)]).await;
    }
    let sentinel = config.sentinel.clone().unwrap();
    let with = |sentinel: RedisSentinel| Redis { sentinel: Some(sentinel), ..config.clone() };
    let no_login = RedisSentinel { username: None, password_file: None, ..sentinel.clone() };
    let nobody = RedisSentinel { username: Some("nobody".to_owned()), ..sentinel.clone() };
    let unknown = RedisSentinel { master: Some("other".to_owned()), ..sentinel };
    let wrong = Redis { username: Some("nobody".to_owned()), ..config.clone() };
    each_is_explained(&[
        (&["NOAUTH", "redis.sentinel.passwordFile"], with(no_login)),
        (&["WRONGPASS", "redis.sentinel.username"], with(nobody)),
        (&["redis.sentinel.master", "sentinel monitor"], with(unknown)),
        (&["the primary that the sentinels name", "check the user and the password"], wrong),
    ])
    .await;
    for sentinel in &redis.sentinels {
        let forbid = ["ACL", "SETUSER", "rookery", "-sentinel|master"];
        redis.order::<()>(sentinel.port, &forbid).await.unwrap();
    }
    each_is_explained(&[(&["+sentinel|master"], config)]).await;
}

#[tokio::test]
async fn servers_of_another_kind_are_named_with_the_mode_that_they_need() {
    let single = RedisServer::start().await;
    let mut cluster = Redis { addresses: vec![single.address()], ..Redis::at(String::new()) };
    cluster.mode = Some(RedisMode::Cluster);
    let mut sentinel = Redis { mode: Some(RedisMode::Sentinel), ..cluster.clone() };
    sentinel.sentinel = Some(RedisSentinel { master: Some("m".to_owned()), ..Default::default() });
    each_is_explained(&[
        (&["cluster support disabled", "leave out redis.mode"], cluster),
        (&["'SENTINEL'", "no sentinel: name the addresses"], sentinel),
    ])
    .await;
    let sentinels = RedisWithSentinels::start().await;
    let url = format!("redis://127.0.0.1:{}", sentinels.sentinels[0].port);
    let findings = inspected(&Redis::at(url)).await.unwrap().findings;
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].text.contains("`redis.mode: sentinel`"), "{findings:?}");
}
