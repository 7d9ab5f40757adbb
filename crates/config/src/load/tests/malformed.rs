//! Configurations that are refused, with what the refusal says.

/// Texts, each with what its refusal must contain: the place, the key and the fix.
pub(super) const MALFORMED: &[(&str, &[&str])] = &[
    // Keys
    (
        "limits:\n  conections: 5\n",
        &["rookery.yaml:2: `limits.conections`", "did you mean `limits.connections`?"],
    ),
    ("lisen: 127.0.0.1:1\n", &[":1: `lisen`", "did you mean `listen`?"]),
    ("socketio: { cors: { origin: [] } }", &["`socketio.cors.origin`", "`socketio.cors.origins`"]),
    (
        "socketio:\n  ping_interval: 1s\n",
        &[":2: `socketio.ping_interval`", "`socketio.pingInterval`"],
    ),
    (
        "events:\n- { on: a, operation: join, room: r }\n- { on: b, operation: leave, rom: r, room: r }\n",
        &[":3: `events[1].rom`", "`events[1].room`"],
    ),
    (
        "drain: { stickiness: x }",
        &[
            "`drain.stickiness`",
            "known under `drain`: `lead`, `window`, `pace`, `longestWindow`, `order`, `keepReady`, `patience` or `stickyCookie`",
        ],
    ),
    ("clustering: true", &["`clustering`", "known here: `listen`, `internal`,"]),
    (
        "listen: 127.0.0.1:1\nlimits: {}\nlisten: 127.0.0.1:2\n",
        &[":3: `listen` is written twice, first on line 1", "keep one"],
    ),
    ("limits:\n  queue: 1\n  queue: 2\n", &[":3: `limits.queue` is written twice"]),
    // Types
    (
        "limits: { connections: many }",
        &["`limits.connections` expected a whole number, 0 or more, found `many`"],
    ),
    ("limits: { connections: -1 }", &["`limits.connections`", "a whole number, 0 or more"]),
    ("limits: { queue: 1 mebibyte }", &["`limits.queue` expected a size such as 1MiB"]),
    (
        "limits: { queue: true }",
        &["`limits.queue` expected a size such as 1MiB or a number of bytes, found `true`"],
    ),
    (
        "limits: { writeStall: 10 }",
        &["`limits.writeStall` expected a time such as 25s or 500ms, found the number `10`"],
    ),
    (
        "limits: { writeStall: soon }",
        &["`limits.writeStall` expected a time such as 25s or 500ms, found `soon`"],
    ),
    ("limits: { connectRate: 500 }", &["`limits.connectRate` expected a rate such as 500/s"]),
    ("limits: { connectRate: 0/s }", &["`limits.connectRate` expected a rate such as 500/s"]),
    ("presence: { max: 0 }", &["`presence.max` must be from 1 to 10000"]),
    ("presence: { leaveDelay: 1h }", &["`presence.leaveDelay` must be at most 10min"]),
    (
        "rooms: [{ match: a, presence: all }]",
        &["`rooms[0].presence`", "true, false, user or member"],
    ),
    (
        "rooms: [{ match: a, presenceInfo: 'claims.name' }]",
        &["`rooms[0].presenceInfo` is only for a rule with `presence`"],
    ),
    (
        "rooms: [{ match: a, presence: true, presenceInfo: 'claim.name' }]",
        &["`rooms[0].presenceInfo`", "there is no variable `claim`"],
    ),
    ("limits: 5", &["`limits` expected a section with keys of its own, found the number `5`"]),
    ("limits: [5]", &["`limits` expected a section with keys of its own, found a list"]),
    (
        "listen: localhost:3000",
        &["`listen` expected an address with a port, such as 127.0.0.1:3000"],
    ),
    ("internal: 9090", &["`internal` expected an address with a port"]),
    ("trustedProxies: [10.0.0.1]", &["`trustedProxies[0]` expected a network such as 10.0.0.0/8"]),
    ("trustedProxies: 10.0.0.0/8", &["`trustedProxies` expected a list, found text"]),
    ("namespaces: [1]", &["`namespaces[0]` expected text, found the number `1`; put it in quotes"]),
    (
        "socketio: { transports: [websockets] }",
        &["`socketio.transports[0]` expected `polling` or `websocket`, found `websockets`"],
    ),
    ("socketio: { eio3: yes }", &["`socketio.eio3` expected true or false, found `yes`"]),
    ("socketio: { eio3: maybe }", &["`socketio.eio3` expected true or false, found `maybe`"]),
    (
        "redis: { url: \"redis://h\", wire: sharded, subscriptionMode: static }",
        &["`redis.subscriptionMode` expected `dynamic` or `dynamic-private`, found `static`"],
    ),
    (
        "redis: { url: \"redis://h\", subscriptionMode: dynamic-private }",
        &["`redis.subscriptionMode` is for `redis.wire: sharded`; write that too, or leave it out"],
    ),
    ("redis: { wire: classic }", &["`redis.url` is missing; write it here, or give `--redis`"]),
    ("events: [{ on: a, operation: join }]", &["`events[0]` needs the key `room`"]),
    (
        "telemetry: { logFormat: xml }",
        &["`telemetry.logFormat` expected `auto`, `text` or `json`, found `xml`"],
    ),
    (
        "auth: { jwt: { algorithms: [none], secretFile: x } }",
        &["`auth.jwt.algorithms[0]` expected `HS256`,"],
    ),
    ("- listen\n", &["rookery.yaml: expected a section with keys of its own, found a list"]),
    ("listen: [\n", &["rookery.yaml:", "not readable as YAML"]),
    // Of the wrong kind
    (
        "redis: { url: \"redis-sentinel://h/m\", mode: cluster }",
        &["`redis.mode` is `cluster`, but `redis.url` names sentinels"],
    ),
    (
        "redis: { url: \"redis-cluster://a,b\", mode: single }",
        &["`redis.mode` is `single`, but `redis.url` names nodes of a Cluster"],
    ),
    (
        "redis: { url: \"redis-cluster://a/2\" }",
        &["`redis.url` names a database, and a Cluster has none but 0"],
    ),
    // Values that make no sense together
    (
        "telemetry: { otlp: \"collector:4317\" }",
        &["`telemetry.otlp` is not the URL of an OTLP collector over HTTP, such as http://"],
    ),
    (
        "telemetry: { otlp: \"http://c:4318/v1/traces\" }",
        &["`telemetry.otlp` is the collector's base: leave `/v1/traces` out"],
    ),
    (
        "telemetry: { traceRatio: 10 }",
        &["`telemetry.traceRatio` must be from 0 to 1, such as 0.01"],
    ),
    ("listen: 0.0.0.0:3000", &["`listen` is 0.0.0.0:3000", "`auth.jwt`", "`auth.anonymous: true`"]),
    (
        "listen: 0.0.0.0:3000\nauth: { anonymous: false }",
        &[":1: `listen`", "`auth.anonymous: true`"],
    ),
    ("internal: 127.0.0.1:3000", &["`internal` is taken by `listen`", "another port"]),
    ("socketio: { path: socket.io }", &["`socketio.path` is `socket.io`; it must start with `/`"]),
    ("healthPath: healthz", &["`healthPath` is `healthz`; it must start with `/`"]),
    ("healthPath: /socket.io/", &["`healthPath` is `/socket.io/`, where Socket.IO answers"]),
    ("socketio: { transports: [] }", &["`socketio.transports` is empty; name polling"]),
    (
        "socketio: { transports: [polling, polling] }",
        &["`socketio.transports[1]` names polling again"],
    ),
    ("socketio: { pingInterval: 0s }", &["`socketio.pingInterval` must be more than 0s"]),
    ("socketio: { connectTimeout: 100years }", &["`socketio.connectTimeout` must be at most"]),
    ("socketio: { perMessageDeflate: { threshold: 63 } }", &["must be at least 64 bytes"]),
    (
        "socketio: { perMessageDeflate: { threshold: 2MiB } }",
        &["`socketio.perMessageDeflate.threshold` is 2MiB, more than `socketio.maxPayload` (1MiB)"],
    ),
    ("socketio: { perMessageDeflate: true }", &["socketio.perMessageDeflate"]),
    (
        "socketio: { transports: [polling], perMessageDeflate: {} }",
        &["`socketio.perMessageDeflate` has a meaning only on WebSockets"],
    ),
    ("socketio: { maxPayload: 0 }", &["`socketio.maxPayload` must be more than 0 bytes"]),
    (
        "socketio: { cors: { credentials: true } }",
        &["`socketio.cors.credentials` needs `socketio.cors.origins` named", "https://"],
    ),
    (
        "socketio: { cors: { origins: [\"a.example\"] } }",
        &["`socketio.cors.origins[0]` is `a.example`", "https://app.example.com"],
    ),
    ("namespaces: []", &["`namespaces` is empty; name at least `/`"]),
    ("namespaces: [chat]", &["`namespaces[0]` is `chat`", "starts with `/`"]),
    ("namespaces: ['/', '/t-{id']", &["`namespaces[1]`: the `{` at byte 3 has no `}`"]),
    ("namespaces: ['/{a}{b}']", &["`namespaces[0]`: `{a}` and `{b}` need a character between"]),
    ("namespaces: ['{any}']", &["`namespaces[0]` is `{any}`", "starts with `/`"]),
    ("namespaces: ['/a#{b}']", &["`namespaces[0]` is `/a#{b}`", "has no `#`"]),
    ("limits: { namespaces: 0 }", &["`limits.namespaces` must be at least 1"]),
    ("namespaces: [/, /a, /]", &["`namespaces[2]` names `/` again"]),
    ("redis: { url: \"http://h\" }", &["`redis.url` must begin with redis:// or rediss://"]),
    (
        "redis: { url: \"redis+sentinel://h/m\" }",
        &["`redis.url` must begin with redis://", "redis-sentinel://"],
    ),
    ("redis: { url: \"unix://\" }", &["`redis.url` is not the URL of a server", "unix:///run/"]),
    (
        "redis: { url: \"redis-sentinel://h\" }",
        &["`redis.url` names no primary", "26379/mymaster", "`redis.sentinel.master`"],
    ),
    ("redis: { url: \"redis-sentinel:///m\" }", &["`redis.url` is not the URL of sentinels"]),
    ("redis: { url: \"redis-sentinel://h/m/0\" }", &["`redis.url` does not name a primary"]),
    (
        "redis: { url: \"redis-sentinel://h/m\", sentinel: { master: m } }",
        &["`redis.sentinel.master` is also at the end of `redis.url`"],
    ),
    (
        "redis: { url: \"redis://h\", sentinel: { master: m } }",
        &["`redis.sentinel` is about sentinels; write `redis.mode: sentinel`"],
    ),
    (
        "redis: { url: \"redis://h\", addresses: [\"h:1\"] }",
        &["`redis.addresses` are beside `redis.url`", "leave one of them out"],
    ),
    (
        "redis: { url: \"redis-sentinel://h/m\", mode: single }",
        &["`redis.mode` is `single`, but `redis.url` names sentinels"],
    ),
    (
        "redis: { url: \"redis://h\", mode: sentinel }",
        &["`redis.mode` is `sentinel`, but `redis.url` is that of one server", "redis-sentinel://"],
    ),
    (
        "redis: { addresses: [\"a:1\", \"b:1\"] }",
        &["`redis.addresses` names several servers; write `redis.mode: cluster`"],
    ),
    (
        "redis: { addresses: [\"a:1\"], mode: sentinel }",
        &["`redis.sentinel.master` is missing", "such as mymaster"],
    ),
    (
        "redis: { addresses: [\"a:1\"], mode: sentinel, sentinel: { master: \"a b\" } }",
        &["`redis.sentinel.master` does not name a primary"],
    ),
    (
        "redis: { addresses: [\"a:1\", \"redis://b\"], mode: sentinel, sentinel: { master: m } }",
        &["`redis.addresses[1]` is not HOST:PORT", "`redis.username`"],
    ),
    (
        "redis: { url: \"redis-sentinel://h/m\", sentinel: { username: u } }",
        &["`redis.sentinel.username` has no password", "`redis.sentinel.passwordFile`"],
    ),
    (
        "redis: { url: \"rediss://h\", tls: { certFile: /a } }",
        &["`redis.tls.certFile` needs its key; name the file that holds it in `redis.tls.keyFile`"],
    ),
    (
        "redis: { url: \"rediss://h\", tls: { keyFile: /a } }",
        &["`redis.tls.keyFile` needs its certificate", "`redis.tls.certFile`"],
    ),
    (
        "redis: { url: \"redis://h\", tls: { certFile: /a, keyFile: /b } }",
        &["`redis.tls.certFile` is for `rediss://` URLs"],
    ),
    (
        "redis: { url: \"unix:///run/r.sock\", tls: { caFile: /a } }",
        &["`redis.tls.caFile` is for TLS, which a Unix socket is without"],
    ),
    (
        "redis: { url: \"redis://h\", tls: { enabled: true } }",
        &["`redis.tls.enabled` is for `redis.addresses`", "rediss:// is TLS"],
    ),
    (
        "redis: { addresses: [\"h:1\"], tls: { enabled: false, caFile: /a } }",
        &["`redis.tls.caFile` is beside `redis.tls.enabled: false`"],
    ),
    (
        "redis: { url: \"unix:///run/r.sock?user=u&pass=p\", username: v }",
        &["`redis.username` is also in `redis.url`"],
    ),
    ("redis: { url: \"redis://\" }", &["`redis.url` is not the URL of a server"]),
    (
        "redis: { url: \"redis://h\", bridge: [{ channel: c, namespace: /x, room: r, event: e, args: [] }] }",
        &["`redis.bridge[0].namespace` is `/x`", "`namespaces`"],
    ),
    (
        "redis: { url: \"redis://h\", bridge: [{ channel: c, room: r, event: connect, args: [] }] }",
        &["`redis.bridge[0].event` is `connect`", "another name"],
    ),
    ("auth: { jwt: {} }", &["`auth.jwt` has no key; write one of `secretFile`"]),
    (
        "auth: { jwt: { secretFile: a, jwksUrl: \"https://x\" } }",
        &["`auth.jwt` has secretFile and jwksUrl; keep exactly one"],
    ),
    ("auth: { jwt: { secretFile: a } }", &["`auth.jwt.algorithms` has RS256", "write HS256"]),
    (
        "auth: { jwt: { jwksUrl: \"https://x\", algorithms: [ES256, HS256] } }",
        &["`auth.jwt.algorithms` has HS256", "`auth.jwt.secretFile`"],
    ),
    (
        "auth: { jwt: { jwksUrl: \"https://x\", algorithms: [] } }",
        &["`auth.jwt.algorithms` is empty"],
    ),
    (
        "auth: { jwt: { jwksUrl: \"https://x\", jwksMaxAge: 0s } }",
        &["`auth.jwt.jwksMaxAge` is 0s", "such as 24h"],
    ),
    (
        "auth: { jwt: { jwksUrl: \"ftp://x\" } }",
        &["`auth.jwt.jwksUrl` is not an http:// or https:// URL"],
    ),
    (
        "auth: { jwt: { secretFile: /nowhere/secret, algorithms: [HS256] } }",
        &["`auth.jwt.secretFile` names /nowhere/secret", "check the path"],
    ),
    (
        "auth: { apiKeysFile: /nowhere/keys }",
        &["`auth.apiKeysFile` is refused: cannot read /nowhere/keys"],
    ),
    ("backend: {}", &["`backend` needs the key `url`"]),
    (
        "backend: { url: \"http://b\", event: [a] }",
        &["`backend.event` is not a known key; did you mean `backend.events`?"],
    ),
    ("backend: { url: \"http://b\", hooks: [join] }", &["`backend.hooks[0]` expected `connect`"]),
    ("backend: { url: \"http://b\", hooks: [] }", &["`backend.hooks` is empty"]),
    (
        "rooms: [{ match: a }, { match: b, hooks: true }]",
        &["`rooms[1].hooks` needs the section `backend`"],
    ),
    (
        "rooms: [{ match: a, hooks: true }]\nbackend: { url: \"http://b\", hooks: [event] }",
        &["`rooms[0].hooks` needs `rooms` in `backend.hooks`"],
    ),
    (
        "rooms: [{ match: a, hooks: [joined] }]\nbackend: { url: \"http://b\" }",
        &["`rooms[0].hooks", "room_occupied, room_vacated, member_joined or member_left"],
    ),
    (
        "backend: { url: \"http://b\", vacatedDelay: 1h }",
        &["`backend.vacatedDelay` must be at most 10min"],
    ),
    (
        "backend: { url: \"http://b\", hooks: [event, event] }",
        &["`backend.hooks[1]` names event again"],
    ),
    ("backend: { url: \"http://b\", events: [] }", &["`backend.events` is empty", "[\"*\"]"]),
    ("backend: { url: \"http://b\", events: [a, \"\"] }", &["`backend.events[1]` is empty"]),
    ("backend: { url: \"b:8000\" }", &["`backend.url` is not an http:// or https:// URL"]),
    ("backend: { url: \"http://b/#a\" }", &["`backend.url` must have no `#`"]),
    (
        "backend: { url: \"http://b\", caFile: /ca.pem }",
        &["`backend.caFile` has a meaning only if", "https://"],
    ),
    ("backend: { url: \"http://b\", timeout: 0s }", &["`backend.timeout` must be more than 0s"]),
    ("backend: { url: \"http://b\", maxInFlight: 0 }", &["`backend.maxInFlight` must be from 1"]),
    ("backend: { url: \"http://b\", maxReply: 1GiB }", &["`backend.maxReply` must be at most"]),
    (
        "backend: { url: \"http://b\", signingKeyFile: /nowhere/key }",
        &["`backend.signingKeyFile` names /nowhere/key", "check the path"],
    ),
    (
        "backend: { url: \"https://b\", caFile: /nowhere/ca.pem }",
        &["`backend.caFile` names /nowhere/ca.pem", "check the path"],
    ),
    ("auth: { queryParam: sid }", &["`auth.queryParam` is `sid`", "another name"]),
    (
        "events:\n- { on: a, operation: byField, room: r }\n",
        &[":2: `events[0].byField` is missing", "byField: {"],
    ),
    (
        "events: [{ on: a, operation: byField, byField: { name: f }, room: r }]",
        &["`events[0].byField` does nothing; write at least one"],
    ),
    (
        "events: [{ on: a, operation: byField, byField: { name: f, join: X, leave: X }, room: r }]",
        &["`events[0].byField.leave` is `X` like `join`"],
    ),
    (
        "events: [{ on: a, operation: publish, room: r }]",
        &["`events[0].event` is missing", "`events[0].args` is missing", "args: [\"{data}\"]"],
    ),
    (
        "events: [{ on: a, operation: byField, byField: { name: f, publish: P }, room: r, event: e }]",
        &["`events[0].args` is missing"],
    ),
    (
        "events: [{ on: a, operation: join, room: r, except: sender }]",
        &["`events[0].except` is only for rules that publish; remove it"],
    ),
    ("events: [{ on: disconnect, operation: join, room: r }]", &["`events[0].on` is `disconnect`"]),
    ("rooms: [{ match: \"\" }]", &["`rooms[0].match` is empty"]),
    ("limits: { connections: 0 }", &["`limits.connections` must be at least 1"]),
    ("limits: { perIp: { connections: 0 } }", &["`limits.perIp.connections` must be at least 1"]),
    ("limits: { perIp: { ipv6Prefix: 0 } }", &["`limits.perIp.ipv6Prefix` must be from 1 to 128"]),
    ("limits: { perIp: { ipv6Prefix: 129 } }", &["`limits.perIp.ipv6Prefix` must be from 1"]),
    ("latency: { sampleEvery: 0 }", &["`latency.sampleEvery` must be at least 1"]),
    (
        "drain: { window: 30s, longestWindow: 10s }",
        &["`drain.longestWindow` is less than `drain.window`"],
    ),
    ("rebalance: { threshold: 0% }", &["`rebalance.threshold` must be from 5% to 1000%"]),
    ("rebalance: { rate: 0 }", &["`rebalance.rate` expected sessions"]),
    ("rebalance: { after: 0s }", &["`rebalance.after` must be more than 0s"]),
    ("admin: { passwordHashFile: h }", &["`admin` needs the key `username`"]),
    ("admin: { username: a }", &["`admin` needs the key `passwordHashFile`"]),
    ("admin: { username: \" \", passwordHashFile: h }", &["`admin.username` is empty"]),
    (
        "admin: { username: a, passwordHashFile: h, namespace: admin }",
        &["`admin.namespace` is `admin`", "starts with `/`"],
    ),
    (
        "admin: { username: a, passwordHashFile: h, namespace: / }",
        &["`admin.namespace` is `/`", "such as /admin"],
    ),
    (
        "namespaces: [/, /admin]\nadmin: { username: a, passwordHashFile: h }",
        &["`admin.namespace` is `/admin`, which `namespaces` offers"],
    ),
    (
        "admin: { username: a, passwordHashFile: h, maxSockets: 0 }",
        &["`admin.maxSockets` must be from 1 to 100000"],
    ),
    ("admin: { username: a, passwordHashFile: h, mode: debug }", &["`admin.mode`"]),
    ("drain: { stickyCookie: \"a=b\" }", &["`drain.stickyCookie` is `a=b`", "the name alone"]),
];
