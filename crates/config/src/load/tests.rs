//! What is refused and what the refusal says; what overrides what.

mod malformed;

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use malformed::MALFORMED;

use crate::config::{Rooms, Transport};

fn load(text: &str) -> Result<Config, ConfigError> {
    Sources::file("rookery.yaml").load_text(text)
}

fn refused(text: &str) -> String {
    match load(text) {
        Ok(config) => panic!("accepted: {text}\nas {config:?}"),
        Err(error) => error.to_string(),
    }
}

fn as_json(config: &Config) -> serde_json::Value {
    serde_json::to_value(config).unwrap()
}

#[test]
fn the_bridge_may_publish_to_a_namespace_of_a_pattern() {
    let of = |namespace: &str| {
        format!(
            "namespaces: ['/tenant-{{id}}']\nredis:\n  url: redis://h\n  bridge:\n    \
             - {{ channel: c, namespace: {namespace}, room: '{{r}}', event: e, args: [] }}\n"
        )
    };
    assert!(load(&of("/tenant-7")).is_ok());
    for other in ["/tenant-7-8", "/"] {
        let error = refused(&of(other));
        assert!(error.contains("`redis.bridge[0].namespace`"), "{error}");
    }
}

#[test]
fn every_refusal_names_file_key_and_fix() {
    for (text, expected) in MALFORMED {
        let message = refused(text);
        assert!(message.starts_with("rookery.yaml:"), "{text}\n{message}");
        for part in *expected {
            assert!(message.contains(part), "{text}\nhas no {part}\n{message}");
        }
    }
}

#[test]
fn one_mistake_is_one_line() {
    for (text, _) in MALFORMED {
        // Without the files, which are missing as well.
        let read = Sources::file("rookery.yaml").read_text(text);
        let checked = read.and_then(|read| {
            let problems = check::check(&read.config);
            read.finish(problems)
        });
        let message = checked.err().map(|error| error.to_string()).unwrap_or_default();
        let allowed = if text.contains("operation: publish") { 2 } else { 1 };
        assert!(message.lines().count() <= allowed, "{text}\n{message}");
    }
}

#[test]
fn all_mistakes_are_reported_at_once_in_the_order_of_the_file() {
    let message = refused(
        "listen: here\nlimits:\n  conections: 1\n  queue: big\n  queue: 1\n\
         redis:\n  urll: redis://h\nevents:\n- on: a\n  operation: fly\n  room: r\n- on: b\n",
    );
    let keys = [
        ":1: `listen`",
        ":3: `limits.conections`",
        ":4: `limits.queue`",
        ":5: `limits.queue`",
        ":7: `redis.urll`",
        ":10: `events[0].operation`",
        ":12: `events[1]` needs the key `operation`",
    ];
    let lines: Vec<&str> = message.lines().collect();
    assert_eq!(lines.len(), keys.len(), "{message}");
    for (line, key) in lines.iter().zip(keys) {
        assert!(line.contains(key), "{key} in {line}");
    }
}

#[test]
fn no_message_holds_a_password() {
    for url in [
        "redis://:hunter2@",
        "http://u:hunter2@h",
        "redis://u:hunter2@a,,b",
        "redis-sentinel://u:hunter2@h",
    ] {
        let sources = Sources { redis: Some(url.to_owned()), ..Sources::default() };
        assert!(!sources.load().unwrap_err().to_string().contains("hunter2"), "{url}");
        assert!(!format!("{sources:?}").contains("hunter2"), "{url}");
    }
    for text in ["redis: redis://u:hunter2@h", "redis: { url: [redis://u:hunter2@h] }"] {
        assert!(!refused(text).contains("hunter2"), "{text}");
    }
}

#[test]
fn an_empty_file_and_empty_sections_are_the_defaults() {
    for text in ["", "# nothing yet\n", "---\n", "{}", "limits:\nredis:\nevents:\nauth:\n  jwt:\n"]
    {
        assert_eq!(as_json(&load(text).unwrap()), as_json(&Config::default()), "{text:?}");
    }
}

/// Every key that has a default, as documented.
const DEFAULTS: &str = r#"
listen: 127.0.0.1:3000
internal: 127.0.0.1:9090
trustedProxies: []
socketio: { path: /socket.io, transports: [polling, websocket], eio3: true, pingInterval: 25s, pingTimeout: 20s,
            connectTimeout: 45s, maxPayload: 1MiB, cors: { origins: [], credentials: false } }
namespaces: ["/"]
events:
  - on: application
    operation: byField
    byField: { name: event, join: SUBSCRIBE, leave: UNSUBSCRIBE }
    room: "{payload.workspaceId}:{payload.appId}"
    reply: { event: application_response }
  - { on: join,  operation: join,  room: "{room}" }
  - { on: leave, operation: leave, room: "{room}" }
  - { on: publish, operation: publish, room: "{room}", event: "{event}", args: ["{data}"], except: none }
limits: { connections: 50000, connectRate: 500/s, roomsPerClient: 100, eventsPerSecond: 100, queue: 1MiB, writeStall: 10s, headerRead: 10s,
          firstPacket: 10s, keepAlive: 2m, bodyIdle: 10s, bodyRate: 1KiB, bodies: 64MiB }
latency: { sampleEvery: 1, trackRooms: [], topRooms: 50 }
drain: { lead: 5s, window: 30s, keepReady: false }
telemetry: { traceRatio: 0.01, logFormat: auto }
"#;

#[test]
fn the_documented_defaults_are_the_defaults() {
    assert_eq!(as_json(&load(DEFAULTS).unwrap()), as_json(&Config::default()));
}

#[test]
fn rooms_are_opened_by_a_word_and_never_by_an_empty_value() {
    assert_eq!(load("rooms: open\n").unwrap().rooms, Rooms::Open);
    assert_eq!(load("rooms:\n").unwrap().rooms, Rooms::Unset);
    for (text, named) in [
        ("rooms: []\n", "write `rooms: open`"),
        ("rooms: closed\n", "the word open"),
        ("rooms: [{ match: a, join: }]\n", "`rooms[0].join` has no value"),
        ("rooms:\n- match: a\n- match: b\n  publish: ~\n", "`rooms[1].publish` has no value"),
        ("rooms: [{ match: a, join: '' }]\n", "is empty"),
    ] {
        let error = load(text).map(drop).unwrap_err().to_string();
        assert!(error.contains(named), "{text:?}: {error}");
    }
}

#[test]
fn the_documented_redis_section_is_what_a_url_alone_means() {
    let written = load(
        r#"
redis:
  url: redis://127.0.0.1:6379
  wire: classic
  prefix: socket.io
  whenDown: local
  bridge:
    - { channel: rookery:publish, room: "{workspaceId}:{appId}", event: application_event, args: ["{payload}"] }
"#,
    );
    let url = "redis://127.0.0.1:6379".to_owned();
    let alone = Sources { redis: Some(url), ..Sources::default() }.load();
    assert_eq!(as_json(&written.unwrap()), as_json(&alone.unwrap()));
}

#[test]
fn a_full_configuration_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let (secret, keys) = (dir.path().join("secret"), dir.path().join("keys"));
    std::fs::write(&secret, "s3cret-0123456789-0123456789-abcdef\n").unwrap();
    std::fs::write(&keys, "billing:k-0123456789abcde publish\n").unwrap();
    let config = load(&format!(
        "listen: 0.0.0.0:3000\ninternal: '[::]:9090'\ntrustedProxies: [10.0.0.0/8, fd00::/8]\n\
         socketio: {{ transports: [websocket], cors: {{ origins: [https://a.example], credentials: true }} }}\n\
         redis: {{ url: 'rediss://u:p%40@redis:6380/2', bridge: [] }}\n\
         auth:\n  jwt: {{ algorithms: [HS256, HS512], secretFile: {}, issuer: i, audience: a }}\n  \
         queryParam: token\n  apiKeysFile: {}\n\
         namespaces: [/, /chat]\n\
         events: [{{ on: on, operation: join, room: '{{room}}' }}]\n\
         rooms:\n- {{ match: '{{a}}', join: 'a in claims.list', publish: 'false' }}\n\
         limits: {{ perIp: {{ connections: 10, connectRate: 5/s }}, queue: 65536, writeStall: 1m 30s }}\n\
         drain: {{ lead: 0s, window: 0s, stickyCookie: rookery }}\n",
        secret.display(),
        keys.display()
    ))
    .unwrap();
    assert_eq!(config.socketio.transports, [Transport::Websocket]);
    assert!(!config.anonymous());
    assert_eq!(config.events[0].on, "on");
    assert_eq!(config.limits.queue.0, 65536);
    assert_eq!(config.limits.write_stall.0, Duration::from_secs(90));
    assert_eq!(config.redis.as_ref().unwrap().bridge.len(), 0);
    assert_eq!(config.rooms[0].join.as_deref(), Some("a in claims.list"));
}

#[test]
fn overrides_leave_the_rest_of_the_file() {
    let sources = Sources {
        listen: Some("127.0.0.1:1".parse().unwrap()),
        redis: Some("redis://flag".to_owned()),
        ..Sources::file("rookery.yaml")
    };
    let config = sources
        .load_text("listen: 127.0.0.1:2\ninternal: 127.0.0.1:3\nredis: { url: 'redis://file', prefix: p, bridge: [] }\n")
        .unwrap();
    let redis = config.redis.unwrap();
    assert_eq!(config.listen.port(), 1);
    assert_eq!(config.internal.port(), 3);
    assert_eq!(
        (redis.url.as_str(), redis.prefix.as_str(), redis.bridge.len()),
        ("redis://flag", "p", 0)
    );
}

#[test]
fn a_url_takes_the_place_of_sentinels_and_of_addresses() {
    let file = "redis: { mode: sentinel, addresses: [\"s:26379\"], tls: { enabled: true }, \
                sentinel: { master: main, username: ann, passwordFile: p } }\n";
    for (url, sentinel) in [
        ("redis://flag", None),
        ("redis-sentinel://t:26379/other", Some((None, Some("ann".to_owned())))),
    ] {
        let sources = Sources { redis: Some(url.to_owned()), ..Sources::default() };
        let (config, problems) = sources.judge_text(file).unwrap();
        assert!(problems.is_empty(), "{problems:?}");
        let redis = config.redis.unwrap();
        assert_eq!((redis.url.as_str(), redis.addresses.len(), redis.mode), (url, 0, None));
        let found = redis.sentinel.map(|sentinel| (sentinel.master, sentinel.username));
        assert_eq!(found, sentinel, "{url}");
    }
}

#[test]
fn a_public_address_from_a_flag_is_refused_like_one_from_the_file() {
    let sources = Sources { listen: Some("0.0.0.0:1".parse().unwrap()), ..Sources::default() };
    let message = sources.load().unwrap_err().to_string();
    assert!(message.starts_with("the command line: `listen`"), "{message}");
    assert!(message.ends_with("(set by `--listen` or ROOKERY_LISTEN)"), "{message}");
    assert!(sources.load_text("auth: { anonymous: true }").is_ok());
}

#[test]
fn a_missing_file_is_named() {
    let message = Sources::file("/nowhere/rookery.yaml").load().unwrap_err().to_string();
    assert!(message.starts_with("/nowhere/rookery.yaml: cannot read"), "{message}");
}

proptest! {
    /// A configuration that is written out reads back the same.
    #[test]
    fn a_configuration_survives_being_written(
        connections in 1u32..,
        queue in 1u64..1 << 40,
        stall in 1u64..1_000_000,
        rate in 1u32..,
        text in proptest::option::of("[a-z{}:#'\"\\\\ \u{e4}]{1,12}x"),
    ) {
        let mut config = Config::default();
        config.limits.connections = connections.into();
        config.limits.queue.0 = queue;
        config.limits.write_stall.0 = Duration::from_millis(stall);
        config.limits.connect_rate.0 = rate;
        config.events[1].reply = text.map(|event| rookery_policy::Reply { event });
        let text = serde_saphyr::to_string(&config).unwrap();
        let read = load(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        prop_assert_eq!(as_json(&read), as_json(&config));
    }

    /// No text makes the reader panic, and every refusal names the file.
    #[test]
    fn any_text_is_read_or_refused(text in "[a-z:{}\\[\\], \n&*!|>'\"#-]{0,60}") {
        if let Err(error) = load(&text) {
            prop_assert!(error.to_string().starts_with("rookery.yaml"));
        }
    }
}
