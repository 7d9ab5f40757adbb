use serde_json::{Value, json};

use super::*;

mod pods;
mod rights;

/// A resource named `chat` with this `spec`; `auth` is decided unless the spec says otherwise.
fn resource(spec: &str) -> Rookery {
    let mut spec: Value = serde_saphyr::from_str(spec).unwrap();
    if !spec.is_object() {
        spec = json!({});
    }
    if spec["config"]["auth"].is_null() {
        spec["config"]["auth"] = json!({ "anonymous": true });
    }
    let mut resource = Rookery::new("chat", serde_json::from_value(spec).unwrap());
    resource.metadata.namespace = Some("team".to_owned());
    resource
}

fn defaults() -> Defaults {
    Defaults { image: "rookery:test".to_owned(), ..Defaults::default() }
}

#[track_caller]
fn valid(spec: &str) -> Validated {
    validate(&resource(spec), &defaults()).unwrap()
}

#[track_caller]
fn said(resource: &Rookery) -> String {
    validate(resource, &defaults()).unwrap_err().to_string()
}

/// The configuration as the servers will see it.
fn config(v: &Validated) -> Value {
    serde_saphyr::from_str(&v.config_text).unwrap()
}

#[test]
fn an_empty_resource_is_one_reachable_server() {
    let v = valid("{}");
    assert_eq!((v.min_replicas, v.max_replicas), (1, 1));
    assert_eq!((v.client_port, v.internal_port), (3000, 9090));
    assert_eq!(v.drain_seconds(), 35);
    assert_eq!((v.image.as_str(), &v.owner, &v.sticky_cookie), ("rookery:test", &None, &None));
    assert_eq!(
        config(&v),
        json!({
            "auth": { "anonymous": true },
            "drain": { "keepReady": true, "lead": "5s", "window": "30s" },
            "internal": "0.0.0.0:9090",
            "listen": "0.0.0.0:3000",
        })
    );
}

#[test]
fn missing_replica_bounds_are_derived_from_each_other() {
    let redis = "redis: { url: 'redis://r' }";
    for (replicas, with_redis, wanted) in [
        ("", false, (1, 1)),
        ("", true, (2, 10)),
        ("replicas: { max: 1 }", false, (1, 1)),
        ("replicas: { min: 1 }", false, (1, 1)),
        ("replicas: { min: 3 }", true, (3, 10)),
        ("replicas: { min: 12 }", true, (12, 12)),
        ("replicas: { max: 5 }", true, (2, 5)),
        ("replicas: { max: 1 }", true, (1, 1)),
        ("replicas: { min: 4, max: 4 }", true, (4, 4)),
    ] {
        let redis = if with_redis { redis } else { "" };
        let v = valid(&format!("{replicas}\n{redis}\n"));
        assert_eq!((v.min_replicas, v.max_replicas), wanted, "{replicas} {redis}");
    }
    let v = valid("config: { redis: { url: 'redis://r' }, auth: { anonymous: true } }");
    assert_eq!((v.min_replicas, v.max_replicas), (2, 10));
}

#[test]
fn what_was_written_stays_and_the_drain_has_its_own_place() {
    let v = valid(
        "config: { listen: '[::]:8000', internal: 0.0.0.0:8001, auth: { anonymous: true },\n\
         drain: { lead: 1s, window: 7s, stickyCookie: mine } }\n\
         drain: { window: 1500ms }\ningress: {}\n",
    );
    assert_eq!((v.client_port, v.internal_port), (8000, 8001));
    assert_eq!(v.sticky_cookie.as_deref(), Some("mine"));
    assert_eq!(v.drain_seconds(), 3, "2.5 seconds, rounded up");
    let drain = &config(&v)["drain"];
    assert_eq!(drain["lead"], "1s");
    assert_eq!(drain["window"], "1s 500ms");
    assert_eq!(drain["keepReady"], true);
}

#[test]
fn the_cookie_is_the_ingresses() {
    assert_eq!(valid("ingress: {}").sticky_cookie.as_deref(), Some("rookery"));
    let v = valid("ingress: { sticky: false }");
    assert_eq!(v.sticky_cookie, None);
    assert!(config(&v)["drain"].get("stickyCookie").is_none());
}

#[test]
fn a_url_in_a_secret_is_not_in_the_configuration() {
    let v = valid(
        "redis: { urlSecret: { name: s, port: 7000 } }\n\
         config: { redis: { prefix: mine }, auth: { anonymous: true } }\n",
    );
    assert_eq!(config(&v)["redis"], json!({ "prefix": "mine" }));
    assert_eq!(v.config.redis.as_ref().unwrap().prefix, "mine");
    let secret = v.redis_secret.unwrap();
    assert_eq!((secret.name.as_str(), secret.key.as_str(), secret.port), ("s", "url", 7000));

    let v = valid("redis: { urlSecret: { name: s } }");
    assert!(config(&v).get("redis").is_none() && v.config.redis.is_some());
    assert_eq!((v.min_replicas, v.max_replicas), (2, 10));
}

#[test]
fn a_url_is_written_where_servers_read_it() {
    let v = valid("redis: { url: 'redis://r:1' }");
    assert_eq!(config(&v)["redis"], json!({ "url": "redis://r:1" }));
    assert!(v.warnings.iter().all(|warning| !warning.contains("password")), "{:?}", v.warnings);
    let v = valid("redis: { url: 'redis://u:hunter2@r:1' }");
    assert!(v.warnings.iter().any(|warning| warning.contains("redis.urlSecret")));
    assert!(!format!("{v:?} {:?}", v.warnings).contains("hunter2"));
}

#[test]
fn only_what_needs_a_restart_is_in_the_restart_text() {
    let with = |limits: &str, namespaces: &str| {
        let v = valid(&format!(
            "config: {{ limits: {limits}, namespaces: {namespaces}, auth: {{ anonymous: true }},\n\
             rooms: [{{ match: a }}] }}\nautoscaling: {{ connectionsPerPod: 1 }}\n"
        ));
        (v.config_text, v.restart_text)
    };
    let one = with("{ connections: 10 }", "['/']");
    let other = with("{ connections: 20 }", "['/']");
    assert_ne!(one.0, other.0);
    assert_eq!(one.1, other.1);
    assert_ne!(one.1, with("{ connections: 10 }", "['/a']").1);
}

#[test]
fn the_owner_is_known_by_its_uid() {
    let mut resource = resource("{}");
    resource.metadata.uid = Some("u".to_owned());
    let owner = validate(&resource, &defaults()).unwrap().owner.unwrap();
    assert_eq!(
        (owner.kind.as_str(), owner.name.as_str(), owner.uid.as_str()),
        ("Rookery", "chat", "u")
    );
    assert_eq!((owner.controller, owner.block_owner_deletion), (Some(true), Some(true)));
}

#[test]
fn files_may_be_anywhere_below_a_mounted_secret() {
    let v = valid(
        "secrets: [{ secretName: a, mountPath: /etc/keys/ }]\n\
         config: { auth: { jwt: { algorithms: [HS256], secretFile: /etc/keys/a/b },\n\
         apiKeysFile: /etc/keys/c },\n\
         admin: { username: a, passwordHashFile: /etc/keys/d } }\n",
    );
    assert_eq!(v.spec.secrets.len(), 1);
}

#[test]
fn probably_unintended_settings_are_warnings() {
    let v = valid(
        "redis: { url: 'redis://r' }\ningress: { sticky: false }\n\
         config: { limits: { perIp: { connections: 5 } } }\n",
    );
    let all = v.warnings.join("\n");
    for part in [
        "ingress.sticky",
        "withCredentials",
        "auth.apiKeysFile",
        "auth.anonymous",
        "trustedProxies",
    ] {
        assert!(all.contains(part), "{part} in {all}");
    }
}

/// A spec, and what each line of the answer begins with.
const INVALID: &[(&str, &[&str])] = &[
    (
        "config: { auth: {} , limits: { queue: 0 } }",
        &[
            "spec.config.auth: does not say who may connect: configure `jwt`, or write `anonymous: true`",
            "spec.config.limits.queue: must be more than 0 bytes",
        ],
    ),
    ("config: { auth: { anonymous: false } }", &["spec.config.auth: does not say"]),
    (
        "config: { limits: { conections: 1 } }",
        &["spec.config.limits.conections: is not a known key; did you mean `limits.connections`?"],
    ),
    ("config: { limits: { queue: big } }", &["spec.config.limits.queue: expected a size"]),
    ("config: { limits: 5 }", &["spec.config.limits: expected a section"]),
    ("config: { drain: 5 }", &["spec.config.drain: expected a section"]),
    ("config: { rooms: [{ match: a, join: '1 +' }] }", &["spec.config.rooms[0].join: "]),
    (
        "config: { backend: { url: 'http://b', hooks: [] } }",
        &["spec.config.backend.hooks: is empty, so the backend is never called"],
    ),
    (
        "config: { listen: 127.0.0.1:3000 }",
        &["spec.config.listen: is 127.0.0.1:3000, where nobody outside the pod reaches it"],
    ),
    ("config: { internal: 10.0.0.1:9090 }", &["spec.config.internal: is 10.0.0.1:9090"]),
    ("config: { listen: 0.0.0.0:0 }", &["spec.config.listen: has no fixed port"]),
    ("config: { listen: 0.0.0.0:9090 }", &["spec.config.internal: is taken by `listen`"]),
    ("config: { listen: here }", &["spec.config.listen: expected an address"]),
    (
        "config: { redis: { prefix: a } }",
        &["spec.config.redis: has no URL; write `spec.redis.url`"],
    ),
    ("redis: { url: 'http://hunter2' }", &["spec.redis.url: must begin with redis://"]),
    ("redis: { url: '' }", &["spec.redis.url: is missing"]),
    ("redis: {}", &["spec.redis: write `url` or `urlSecret` or `host`: exactly one"]),
    ("redis: { host: r, url: 'redis://r' }", &["spec.redis: write `url` or"]),
    ("redis: { url: 'redis://r', port: 1 }", &["spec.redis.port: goes with `host`"]),
    ("redis: { host: r, caSecret: { name: a, key: b } }", &["spec.redis.caSecret: needs TLS"]),
    ("redis: { host: r, username: u }", &["spec.redis.username: has no password"]),
    ("redis: { url: 'redis://r', urlSecret: { name: a } }", &["spec.redis: write `url` or"]),
    (
        "redis: { url: 'redis://r' }\nconfig: { redis: { url: 'redis://s' } }",
        &["spec.config.redis.url: is also in `spec.redis`"],
    ),
    (
        "redis: { urlSecret: { name: '', key: '', port: 0 } }",
        &[
            "spec.redis.urlSecret.port: must be from 1 to 65535",
            "spec.redis.urlSecret.name: is ``; expected a name such as chat-keys",
            "spec.redis.urlSecret.key: is ``; expected the key of a Secret",
        ],
    ),
    ("replicas: { min: 2 }", &["spec.replicas: more than one server needs Redis"]),
    (
        "replicas: { min: 0, max: 1001 }\nredis: { url: 'redis://r' }",
        &["spec.replicas.min: must be from 1 to 1000", "spec.replicas.max: must be from 1 to 1000"],
    ),
    (
        "replicas: { min: 3, max: 2 }\nredis: { url: 'redis://r' }",
        &["spec.replicas: min (3) is above max (2)"],
    ),
    (
        "autoscaling: { connectionsPerPod: 0, stabilization: 61m }",
        &[
            "spec.autoscaling.connectionsPerPod: must be at least 1",
            "spec.autoscaling.stabilization: must be at most 1h",
        ],
    ),
    (
        "config: { limits: { connections: 9999 } }",
        &["spec.autoscaling.connectionsPerPod: is 10000, but a server takes only 9999"],
    ),
    (
        "config: { auth: { anonymous: true, apiKeysFile: /etc/keys/k } }",
        &["spec.config.auth.apiKeysFile: names /etc/keys/k, which no Secret of `spec.secrets` \
         brings; add `{secretName: …, mountPath: /etc/keys}` there"],
    ),
    (
        "config: { auth: { jwt: { publicKeyFile: /etc/key } } }\n\
         secrets: [{ secretName: a, mountPath: /etc/key }, { secretName: b, mountPath: /etc/ke }]",
        &["spec.config.auth.jwt.publicKeyFile: names /etc/key"],
    ),
    (
        "config: { auth: { jwt: { algorithms: [HS256], secretFile: key } } }",
        &["spec.config.auth.jwt.secretFile: names key"],
    ),
    (
        "secrets: [{ secretName: a, mountPath: /k }, { secretName: '', mountPath: /k/ },\n\
         { secretName: a, mountPath: etc }, { secretName: a, mountPath: / },\n\
         { secretName: a, mountPath: /a/../etc }]",
        &[
            "spec.secrets[1].mountPath: is `/k/` again",
            "spec.secrets[3].mountPath: is `/`, which would hide the configuration",
            "spec.secrets[1].secretName: is ``; expected a name such as chat-keys",
            "spec.secrets[2].mountPath: is `etc`; expected the full path",
            "spec.secrets[3].mountPath: is `/`; expected the full path",
            "spec.secrets[4].mountPath: is `/a/../etc`; expected the full path",
        ],
    ),
    (
        "secrets: [{ secretName: a, mountPath: /etc }, { secretName: b, mountPath: /etc/rookery },\n\
         { secretName: c, mountPath: /etc/rookery/keys }]",
        &[
            "spec.secrets[0].mountPath: is `/etc`, which would hide the configuration",
            "spec.secrets[1].mountPath: is `/etc/rookery`, which would hide",
            "spec.secrets[2].mountPath: is `/etc/rookery/keys`, which would hide",
        ],
    ),
    ("image: ' '", &["spec.image: is ` `; expected an image such as"]),
    (
        "ingress: { host: 'https://a', className: A, tls: { secretName: a/b },\n\
         annotations: { a/b/c: x } }",
        &[
            "spec.ingress.className: is `A`",
            "spec.ingress.host: is `https://a`; expected a name such as chat.example.com",
            "spec.ingress.tls.secretName: is `a/b`",
            "spec.ingress.annotations: has `a/b/c`; expected a key",
        ],
    ),
    (
        "podTemplate: { labels: { a: 'b c' }, annotations: { 'a b': c }, env: { 'a=b': c } }\n\
         monitoring: { labels: { '': a } }",
        &[
            "spec.monitoring.labels: has ``; expected a key",
            "spec.podTemplate.labels: has `a: b c`; expected a label's value",
            "spec.podTemplate.annotations: has `a b`; expected a key",
            "spec.podTemplate.env: has `a=b`",
        ],
    ),
    ("monitoring: { interval: 10ms }", &["spec.monitoring.interval: must be at least 1s"]),
    (
        "podTemplate: { labels: { app.kubernetes.io/name: x }, env: { ROOKERY_LISTEN: x },\n\
         annotations: { rookery.dev/applied: x } }",
        &[
            "spec.podTemplate.labels: has `app.kubernetes.io/name`",
            "spec.podTemplate.env: has ROOKERY_LISTEN",
            "spec.podTemplate.annotations: has `rookery.dev/applied`",
        ],
    ),
];

#[test]
fn every_problem_names_its_field() {
    for (spec, wanted) in INVALID {
        // Nothing is added where the spec decides on `auth` itself.
        let said = said(&resource(spec));
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.len(), wanted.len(), "{spec}\n{said}");
        for (line, wanted) in lines.iter().zip(*wanted) {
            assert!(line.starts_with(wanted), "{spec}\nwanted {wanted}\nsaid {line}");
        }
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn names_must_be_valid_for_pods_and_services() {
    let long = "a".repeat(46);
    for good in ["a", "chat-2", &long] {
        let mut resource = resource("{}");
        resource.metadata.name = Some(good.to_owned());
        let v = validate(&resource, &defaults()).unwrap();
        assert!(v.internal_service().len() <= 63);
        // What is before the last five characters of a pod's name is cut at 58.
        assert!(format!("{good}-7d9f8b6c5d-").len() <= 58);
    }
    let too_long = "a".repeat(47);
    for (bad, part) in [
        ("", "is missing"),
        ("2chat", "begin with a letter"),
        ("chat.a", "cannot name a Service"),
        ("chat-", "cannot name a Service"),
        ("Chat", "cannot name a Service"),
        (&too_long, "at most 46 fit"),
    ] {
        let mut resource = resource("{}");
        resource.metadata.name = Some(bad.to_owned());
        let said = said(&resource);
        assert!(said.starts_with("metadata.name: ") && said.contains(part), "{said}");
    }
}
