//! Redis by host, port and keys of Secrets.

use super::*;

const KEYS: &str = "
redis:
  host: cache
  port: 6380
  tls: true
  username: chat
  passwordSecret: { name: cache, key: pass }
  caSecret: { name: authorities, key: tls.crt }
";

#[test]
fn a_password_and_authorities_are_files_in_the_pods() {
    let v = validated(KEYS);
    let config: Value = serde_saphyr::from_str(&v.config_text).unwrap();
    assert_eq!(
        config["redis"],
        json!({
            "url": "rediss://cache:6380",
            "username": "chat",
            "passwordFile": "/etc/rookery-redis/password/password",
            "tls": { "caFile": "/etc/rookery-redis/ca/ca.crt" },
        })
    );
    let pod = deployment(KEYS)["spec"]["template"]["spec"].take();
    let volumes = pod["volumes"].as_array().unwrap();
    let volume = |name: &str| volumes.iter().find(|volume| volume["name"] == name).unwrap();
    assert_eq!(volume("redis-password")["secret"]["secretName"], "cache");
    let item = json!([{ "key": "pass", "path": "password" }]);
    assert_eq!(volume("redis-password")["secret"]["items"], item);
    assert_eq!(volume("redis-ca")["secret"]["items"][0]["path"], "ca.crt");
    let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
    let folder = |name: &str| mounts.iter().find(|mount| mount["name"] == name).unwrap();
    assert_eq!(folder("redis-password")["mountPath"], "/etc/rookery-redis/password");
    assert_eq!(folder("redis-ca")["mountPath"], "/etc/rookery-redis/ca");
    assert_eq!((v.min_replicas, v.max_replicas), (2, 10));
}

#[test]
fn a_host_alone_is_a_url() {
    for (spec, url) in [
        ("redis: { host: cache }", "redis://cache:6379"),
        ("redis: { host: 10.0.0.7, port: 7000 }", "redis://10.0.0.7:7000"),
        ("redis: { host: 'fd00::7', tls: true }", "rediss://[fd00::7]:6379"),
    ] {
        assert_eq!(validated(spec).config.redis.unwrap().url, url);
    }
}

#[test]
fn authorities_go_with_a_url_in_a_secret() {
    let v = validated("redis: { urlSecret: { name: s }, caSecret: { name: c, key: ca } }");
    let config: Value = serde_saphyr::from_str(&v.config_text).unwrap();
    assert_eq!(config["redis"], json!({ "tls": { "caFile": "/etc/rookery-redis/ca/ca.crt" } }));
}

#[test]
fn the_network_policy_opens_the_port_of_the_host() {
    let policy = find(&built(KEYS), "NetworkPolicy", "chat");
    let ports = policy["spec"]["egress"].as_array().unwrap().iter().flat_map(|rule| {
        rule["ports"].as_array().into_iter().flatten().map(|port| port["port"].clone())
    });
    assert!(ports.collect::<Vec<_>>().contains(&json!(6380)));
}
