//! What a release without an operator refuses to change while several pods run.

use serde_json::{Value, json};

use super::cluster::{Cluster, Objects};
use super::{KUBERNETES, charts, helm, helm_is_missing};

/// The release `chat` as it runs: this many pods, connected by a URL in its configuration or by a
/// Secret.
fn running(pods: u32, url: &str, secret: Option<&str>, annotations: Value) -> Cluster {
    let redis = if secret.is_some() { json!({}) } else { json!({ "url": url }) };
    connected(pods, redis, secret, annotations)
}

/// The same, with this section `redis` in its configuration.
fn connected(pods: u32, redis: Value, secret: Option<&str>, annotations: Value) -> Cluster {
    let key = |name| json!({ "secretKeyRef": { "name": name, "key": "url", "optional": false } });
    let env = secret.map(|name| json!({ "name": "ROOKERY_REDIS", "valueFrom": key(name) }));
    let env: Vec<Value> = env.into_iter().collect();
    let config = json!({ "redis": redis });
    let meta = json!({ "name": "chat", "namespace": "team", "annotations": annotations });
    let pod = json!({ "spec": { "containers": [{ "name": "rookery", "env": env }] } });
    let deployment = json!({
        "metadata": meta, "spec": { "template": pod }, "status": { "replicas": pods },
    });
    let config_map = json!({ "metadata": meta, "data": { "rookery.yaml": config.to_string() } });
    Cluster::of(Objects {
        deployments: vec![deployment],
        config_maps: vec![config_map],
        ..Objects::default()
    })
}

/// What Helm says of an upgrade; nothing, if it accepts it.
fn said(cluster: &Cluster, sets: &str) -> String {
    let mut template = helm(&["template", "chat", "--dry-run=server", "--is-upgrade"]);
    template.arg(charts("rookery")).args(["--namespace", "team", "--kube-version", KUBERNETES]);
    template.args(["--set", "anonymous=true,rookery.standalone=true,autoscaling.enabled=false"]);
    let out = cluster.give_to(template.args(["--set", sets])).output().unwrap();
    match out.status.success() {
        true => String::new(),
        false => String::from_utf8(out.stderr).unwrap(),
    }
}

#[test]
fn several_pods_are_not_moved_to_another_redis() {
    if helm_is_missing() {
        return;
    }
    let by_url = running(3, "redis://u:hunter2@a:6379", None, json!({}));
    for (sets, other) in [
        ("redis.url=redis://b:6379", "Redis at b:6379"),
        ("redis.host=a,redis.port=6380", "Redis at a:6380"),
        ("redis.urlSecret.name=r", "Redis of the Secret r (key url)"),
        ("config.redis.url=redis://b:6379", "Redis at b:6379"),
        ("redis.demo=true", "Redis at chat-redis:6379"),
    ] {
        let said = said(&by_url, sets);
        for part in ["3 pods", "connected by Redis at a:6379,", other, "redis-change=accept"] {
            assert!(said.contains(part), "{sets}: no `{part}` in {said}");
        }
        assert!(!said.contains("hunter2"), "{said}");
    }
    let by_secret = running(2, "", Some("r"), json!({}));
    assert!(said(&by_secret, "redis.urlSecret.name=s").contains("the Secret s (key url)"));
    assert!(said(&by_secret, "redis.url=redis://b:6379").contains("Redis at b:6379"));
    assert_eq!(said(&by_secret, "redis.urlSecret.name=r"), "");
}

#[test]
fn what_splits_nothing_or_is_accepted_is_upgraded() {
    if helm_is_missing() {
        return;
    }
    let accepted = json!({ "rookery.dev/redis-change": "accept" });
    for (cluster, sets) in [
        (running(3, "redis://a:6379", None, json!({})), "redis.url=rediss://u:new@a:6379"),
        (running(3, "redis://a:6379", None, json!({})), "redis.host=a"),
        (running(1, "redis://a:6379", None, json!({})), "redis.url=redis://b:6379"),
        (running(3, "redis://a:6379", None, accepted), "redis.url=redis://b:6379"),
        (Cluster::with(vec![], vec![]), "redis.url=redis://b:6379"),
    ] {
        assert_eq!(said(&cluster, sets), "", "{sets}");
    }
}

#[test]
fn sentinels_are_the_same_redis_while_one_stays() {
    if helm_is_missing() {
        return;
    }
    let sentinels = json!({
        "mode": "sentinel", "addresses": ["a", "b:26379"], "sentinel": { "master": "m" },
    });
    let cluster = connected(3, sentinels, None, json!({}));
    let set = |addresses: &str, master: &str| {
        format!(
            "config.redis.mode=sentinel,config.redis.addresses={{{addresses}}},\
             config.redis.sentinel.master={master}"
        )
    };
    assert_eq!(said(&cluster, &set("a:26379,b:26379,c:26379", "m")), "");
    assert_eq!(said(&cluster, &set("c,b", "m")), "");
    assert_eq!(said(&cluster, "redis.url=redis-sentinel://b:26379/m"), "");
    for sets in [set("c,d", "m"), set("a,b", "other"), "redis.url=redis://a:6379".to_owned()] {
        let said = said(&cluster, &sets);
        assert!(said.contains("connected by Redis at a,b:26379/m,"), "{sets}: {said}");
    }
}

#[test]
fn nodes_of_a_cluster_are_the_same_redis_while_one_stays() {
    if helm_is_missing() {
        return;
    }
    let nodes = json!({ "mode": "cluster", "addresses": ["a:6379", "b:6379"] });
    let cluster = connected(3, nodes, None, json!({}));
    let sets = "config.redis.mode=cluster,config.redis.addresses={c:6379,b:6379}";
    assert_eq!(said(&cluster, sets), "");
    let other = said(&cluster, &sets.replace("b:6379", "d:6379"));
    assert!(other.contains("connected by Redis at c:6379,d:6379;"), "{other}");
}

#[test]
fn another_prefix_is_refused() {
    if helm_is_missing() {
        return;
    }
    let cluster = running(3, "redis://a:6379", None, json!({}));
    let said = said(&cluster, "redis.url=redis://a:6379,config.redis.prefix=chat");
    assert!(said.contains("config.redis.prefix cannot change"), "{said}");
}
