use serde_json::{Value, json};

use super::super::names;
use super::{built, find};

fn policy(spec: &str) -> Value {
    find(&built(spec), "NetworkPolicy", "chat")["spec"].take()
}

fn egress(spec: &str) -> Vec<Value> {
    policy(spec)["egress"].as_array().unwrap().clone()
}

#[test]
fn only_allowed_peers_reach_the_internal_port() {
    let ingress = policy("{}")["ingress"].take();
    let from = |i: usize| &ingress[i]["from"][0];
    assert!(ingress[0].get("from").is_none(), "clients come from anywhere");
    assert_eq!(ingress[0]["ports"][0]["port"], 3000);
    assert_eq!(from(1), &json!({ "podSelector": {} }));
    assert_eq!(from(2)["namespaceSelector"], json!({}));
    assert_eq!(
        from(3)["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"],
        "operators"
    );
    assert_eq!(from(3)["podSelector"]["matchLabels"][names::COMPONENT], "operator");
    for rule in &ingress.as_array().unwrap()[1..] {
        assert_eq!(rule["ports"], json!([{ "port": 9090, "protocol": "TCP" }]));
        assert!(!rule["from"].as_array().unwrap().is_empty());
    }
    // Nobody, not everybody.
    let ingress = policy("networkPolicy: { publishers: [], prometheus: [] }")["ingress"].take();
    assert_eq!(ingress.as_array().unwrap().len(), 2);
}

#[test]
fn servers_reach_what_their_configuration_names() {
    assert_eq!(egress("{}").len(), 1, "DNS alone");
    let block = |cidr: &str| json!([{ "ipBlock": { "cidr": cidr } }]);
    for (spec, port, to) in [
        ("redis: { url: 'rediss://u:p@10.1.2.3:6380/2' }", 6380, block("10.1.2.3/32")),
        ("redis: { url: 'redis://[fd00::1]:6381' }", 6381, block("fd00::1/128")),
        ("redis: { url: 'redis://redis.example.com' }", 6379, Value::Null),
        ("config: { auth: { jwt: { jwksUrl: 'https://id.a.example/k' } } }", 443, Value::Null),
        ("config: { auth: { jwt: { jwksUrl: 'http://id.a.example:8080' } } }", 8080, Value::Null),
    ] {
        let rules = egress(spec);
        assert_eq!(rules.len(), 2, "{spec}");
        assert_eq!(rules[1]["ports"], json!([{ "port": port, "protocol": "TCP" }]), "{spec}");
        assert_eq!(rules[1]["to"], to, "{spec}");
    }
    let extra = "networkPolicy: { extraEgress: [{ ports: [{ port: 1 }] }] }";
    assert_eq!(egress(extra)[1], json!({ "ports": [{ "port": 1 }] }));
}

#[test]
fn servers_reach_sentinels_and_the_primary_that_they_name() {
    for spec in [
        "redis: { url: 'redis-sentinel://10.1.2.3,s.example.com:1/m' }",
        "config: { redis: { mode: sentinel, addresses: [10.1.2.3, 's.example.com:1'],\n\
         \x20 sentinel: { master: m } } }",
    ] {
        let rules = egress(spec);
        let ports: Vec<_> =
            rules[1..].iter().map(|rule| rule["ports"][0]["port"].clone()).collect();
        assert_eq!(ports, [26379, 1, 6379], "{spec}");
        assert!(rules[1]["to"].is_array() && rules[3]["to"].is_null(), "{spec}");
    }
}

#[test]
fn servers_reach_every_node_of_a_cluster_on_the_ports_of_the_named_ones() {
    for spec in [
        "redis: { url: 'redis-cluster://10.1.2.3,c.example.com:7000' }",
        "config: { redis: { mode: cluster, addresses: [10.1.2.3, 'c.example.com:7000'] } }",
    ] {
        let rules = egress(spec);
        let to_all: Vec<_> = rules[1..].iter().filter(|rule| rule["to"].is_null()).collect();
        let ports: Vec<_> = to_all.iter().map(|rule| rule["ports"][0]["port"].clone()).collect();
        assert_eq!(ports, [7000, 6379], "{spec}");
        assert!(rules[1]["to"].is_array(), "{spec}");
    }
}

/// A Service's port may be another than its pods'.
#[test]
fn servers_reach_the_pods_behind_a_service() {
    let of = |namespace: &str| {
        let labels = json!({ "kubernetes.io/metadata.name": namespace });
        json!({ "podSelector": {}, "namespaceSelector": { "matchLabels": labels } })
    };
    for (host, peer) in [
        ("redis", json!({ "podSelector": {} })),
        ("redis.data", of("data")),
        ("redis.data.svc", of("data")),
        ("Redis.Data.SVC", of("data")),
        ("redis.data.svc.cluster.local", of("data")),
    ] {
        let rules = egress(&format!("redis: {{ url: 'redis://{host}' }}"));
        assert_eq!(rules.len(), 3, "{host}");
        assert_eq!(rules[1], json!({ "ports": [{ "port": 6379, "protocol": "TCP" }] }));
        assert_eq!(rules[2], json!({ "to": [peer] }), "{host}");
    }
}
