//! What the texts of a resource must look like. The definition has each form as a validation rule
//! with its message, and [`validate`](crate::validate) checks the same for files that no cluster has
//! seen.

/// A form of a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Form {
    /// A regular expression (RE2) that matches the whole text.
    pub(crate) pattern: &'static str,
    /// The end of the message "expected …".
    pub(crate) expected: &'static str,
    /// The most characters.
    pub(crate) longest: u16,
}

/// The forms of texts by the paths of their fields in the spec: `[]` stands for the items of a list,
/// `{}` for the values of a map and `{key}` for its keys.
pub(crate) const FORMS: &[(&str, &Form)] = &[
    ("image", &IMAGE),
    ("ingress.className", &OBJECT_NAME),
    ("ingress.host", &HOST),
    ("ingress.hosts[]", &HOST),
    ("ingress.tls.secretName", &OBJECT_NAME),
    ("ingress.tls.secretNames{key}", &HOST),
    ("ingress.tls.secretNames{}", &OBJECT_NAME),
    ("gateway.parentRefs[].name", &OBJECT_NAME),
    ("gateway.parentRefs[].namespace", &LABEL_NAME),
    ("gateway.parentRefs[].sectionName", &OBJECT_NAME),
    ("gateway.hostnames[]", &HOST),
    ("gateway.annotations{key}", &KEY),
    ("ingress.annotations{key}", &KEY),
    ("service.annotations{key}", &KEY),
    ("service.loadBalancerClass", &KEY),
    ("service.loadBalancerSourceRanges[]", &NETWORK),
    ("redis.host", &REDIS_HOST),
    ("redis.passwordSecret.name", &OBJECT_NAME),
    ("redis.passwordSecret.key", &SECRET_KEY),
    ("redis.caSecret.name", &OBJECT_NAME),
    ("redis.caSecret.key", &SECRET_KEY),
    ("redis.urlSecret.name", &OBJECT_NAME),
    ("redis.urlSecret.key", &SECRET_KEY),
    ("secrets[].secretName", &OBJECT_NAME),
    ("secrets[].mountPath", &FOLDER),
    ("resources.requests{key}", &KEY),
    ("resources.limits{key}", &KEY),
    ("resources.requests{}", &QUANTITY),
    ("resources.limits{}", &QUANTITY),
    ("monitoring.labels{key}", &KEY),
    ("monitoring.labels{}", &LABEL_VALUE),
    ("monitoring.runbookUrl", &WEB_URL),
    ("podTemplate.labels{key}", &KEY),
    ("podTemplate.labels{}", &LABEL_VALUE),
    ("podTemplate.annotations{key}", &KEY),
    ("podTemplate.serviceAccountAnnotations{key}", &KEY),
    ("podTemplate.nodeSelector{key}", &KEY),
    ("podTemplate.nodeSelector{}", &LABEL_VALUE),
    ("podTemplate.priorityClassName", &OBJECT_NAME),
    ("podTemplate.imagePullSecrets[].name", &OBJECT_NAME),
    ("podTemplate.env{key}", &VARIABLE),
    ("podTemplate.sidecars[].name", &LABEL_NAME),
    ("podTemplate.sidecars[].image", &IMAGE),
    ("podTemplate.initContainers[].name", &LABEL_NAME),
    ("podTemplate.initContainers[].image", &IMAGE),
    ("podTemplate.volumes[].name", &LABEL_NAME),
    ("podTemplate.extraEnv[].name", &VARIABLE),
    ("podTemplate.volumeMounts[].mountPath", &FOLDER),
    ("podTemplate.volumeMounts[].name", &LABEL_NAME),
    ("podTemplate.tolerations[].operator", &TOLERATION_OPERATOR),
    ("podTemplate.tolerations[].effect", &TAINT_EFFECT),
    ("networkPolicy.publishers[].ipBlock.cidr", &NETWORK),
    ("networkPolicy.prometheus[].ipBlock.cidr", &NETWORK),
    ("networkPolicy.extraEgress[].to[].ipBlock.cidr", &NETWORK),
    ("networkPolicy.extraEgress[].ports[].protocol", &PROTOCOL),
];

/// As [`FORMS`], for what becomes the servers' configuration, which [`rookery_config`] checks more
/// closely.
pub(super) const CONFIG_FORMS: &[(&str, &Form)] = &[
    ("redis.url", &REDIS_URL),
    ("config.listen", &LISTENER),
    ("config.internal", &LISTENER),
    ("config.trustedProxies[]", &NETWORK),
    ("config.namespaces[]", &NAMESPACE),
    ("config.admin.namespace", &NAMESPACE),
    ("config.admin.username", &NOT_BLANK),
    ("config.admin.passwordHashFile", &FILE),
    ("config.auth.apiKeysFile", &FILE),
    ("config.auth.queryParam", &NOT_BLANK),
    ("config.auth.jwt.secretFile", &FILE),
    ("config.auth.jwt.publicKeyFile", &FILE),
    ("config.auth.jwt.jwksUrl", &WEB_URL),
    ("config.auth.jwt.issuer", &NOT_BLANK),
    ("config.auth.jwt.audience", &NOT_BLANK),
    ("config.auth.jwt.userClaim", &NOT_BLANK),
    ("config.redis.url", &REDIS_URL),
    ("redis.username", &NOT_BLANK),
    ("config.redis.username", &NOT_BLANK),
    ("config.redis.passwordFile", &FILE),
    ("config.redis.addresses[]", &REDIS_ADDRESS),
    ("config.redis.sentinel.master", &REDIS_PRIMARY),
    ("config.redis.sentinel.username", &NOT_BLANK),
    ("config.redis.sentinel.passwordFile", &FILE),
    ("config.redis.tls.caFile", &FILE),
    ("config.redis.tls.certFile", &FILE),
    ("config.redis.tls.keyFile", &FILE),
    ("config.redis.prefix", &NOT_BLANK),
    ("config.redis.bridge[].channel", &NOT_BLANK),
    ("config.redis.bridge[].room", &NOT_BLANK),
    ("config.redis.bridge[].event", &NOT_BLANK),
    ("config.redis.bridge[].namespace", &NAMESPACE),
    ("config.healthPath", &URL_PATH),
    ("config.socketio.path", &URL_PATH),
    ("config.socketio.cors.origins[]", &ORIGIN),
    ("config.socketio.pingInterval", &NOT_ZERO),
    ("config.socketio.pingTimeout", &NOT_ZERO),
    ("config.socketio.connectTimeout", &NOT_ZERO),
    ("config.limits.writeStall", &NOT_ZERO),
    ("config.limits.headerRead", &NOT_ZERO),
    ("config.limits.firstPacket", &NOT_ZERO),
    ("config.limits.keepAlive", &NOT_ZERO),
    ("config.limits.bodyIdle", &NOT_ZERO),
    ("config.latency.trackRooms[]", &ROOM),
    ("config.events[].on", &NOT_BLANK),
    ("config.events[].room", &NOT_BLANK),
    ("config.drain.stickyCookie", &COOKIE),
    ("config.telemetry.otlp", &COLLECTOR_URL),
];

/// Docker's grammar of references (distribution/reference, `reference.go`).
const IMAGE: Form = Form {
    pattern: r"^(([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(:[0-9]+)?/)?[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@[A-Za-z][A-Za-z0-9+._-]*:[0-9A-Fa-f]{32,})?$",
    expected: "an image such as registry.example.com/rookery:1.2.3, without spaces",
    longest: 1024,
};

/// Kubernetes documentation, "Object Names and IDs", section "DNS Subdomain Names".
const OBJECT_NAME: Form = Form {
    pattern: r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$",
    expected: "a name such as chat-keys: a-z, 0-9, `-` and `.`",
    longest: 253,
};

/// Kubernetes documentation, "Object Names and IDs", section "RFC 1123 Label Names".
const LABEL_NAME: Form = Form {
    pattern: r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
    expected: "a name such as keys: a-z, 0-9 and `-`",
    longest: 63,
};

/// As Kubernetes has it for the hosts of an Ingress (networking/v1, `IngressRule.host`).
pub(crate) const HOST: Form = Form {
    pattern: r"^(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$",
    expected: "a name such as chat.example.com: no scheme, no port, no path, no capitals",
    longest: 253,
};

/// Kubernetes documentation, "Labels and Selectors", section "Syntax and character set".
const KEY: Form = Form {
    pattern: r"^([a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$",
    expected: "a key such as example.com/team",
    longest: 317,
};

const LABEL_VALUE: Form = Form {
    pattern: r"^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$",
    expected: "a label's value: at most 63 letters, digits, `-`, `_` and `.`",
    longest: 63,
};

/// Kubernetes API reference, `Secret.data`.
const SECRET_KEY: Form = Form {
    pattern: r"^[A-Za-z0-9_.-]+$",
    expected: "the key of a Secret, such as url: letters, digits, `-`, `_` and `.`",
    longest: 253,
};

/// As Kubernetes has it since 1.30 (`IsRelaxedEnvVarName`).
const VARIABLE: Form = Form {
    pattern: r"^[ -<>-~]+$",
    expected: "the name of an environment variable, such as RUST_LOG",
    longest: 253,
};

const FOLDER: Form = Form {
    pattern: r"^(/+(\.?[^/:.][^/:]*|\.\.[^/:]+))+/*$",
    expected: "the full path of a folder, such as /etc/keys",
    longest: 1024,
};

const FILE: Form = Form {
    pattern: r"^(/+(\.?[^/.][^/]*|\.\.[^/]+))+$",
    expected: "the full path of a file, such as /etc/keys/jwt.pem",
    longest: 1024,
};

const NETWORK: Form = Form {
    pattern: r"^(((25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])/(3[0-2]|[12]?[0-9])|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*/(12[0-8]|1[01][0-9]|[1-9]?[0-9]))$",
    expected: "a network such as 192.0.2.0/24 or 2001:db8::/32",
    longest: 64,
};

/// An address that the pod's clients can reach.
const LISTENER: Form = Form {
    pattern: r"^(0\.0\.0\.0|\[::\]):(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})$",
    expected: "0.0.0.0 or [::] and a port, such as 0.0.0.0:3000, or no key at all",
    longest: 21,
};

/// The URL may hold a password; see [`hides_value`].
const REDIS_URL: Form = Form {
    pattern: r"^rediss?://([^/@ ]*@)?([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[0-9]*)?(\?[^ ]*)?(#insecure)?$|^rediss?-sentinel://([^/@ ]*@)?([A-Za-z0-9_.:,-]|\[[0-9A-Fa-f:.]+\])+(/[A-Za-z0-9._-]*)?$|^rediss?(-cluster)?://([^/@ ]*@)?([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(,([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?)*(/0?)?$|^(redis\+)?unix:///[^ ]+$",
    expected: "the URL of one server, such as redis://host:6379 or rediss://host:6379 (TLS), of sentinels, such as redis-sentinel://host:26379,host:26379/mymaster, or of nodes of a Cluster, such as redis-cluster://host:6379,host:6379; `@`, `/` and the like in a password are written %40, %2F",
    longest: 2048,
};

const REDIS_ADDRESS: Form = Form {
    pattern: r"^([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$",
    expected: "a host with its port, such as redis:6379 or [fd00::7]:6379",
    longest: 261,
};

/// The characters of a name in `sentinel monitor` (Redis, sentinel.conf).
const REDIS_PRIMARY: Form = Form {
    pattern: "^[A-Za-z0-9._-]+$",
    expected: "the name by which the sentinels know the primary, such as mymaster",
    longest: 253,
};

const REDIS_HOST: Form = Form {
    pattern: r"^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$|^[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*$",
    expected: "a host name or an address alone, such as redis or 10.0.0.7: the port is in `port`",
    longest: 253,
};

const WEB_URL: Form = Form {
    pattern: r"^https?://([^/@ ?#]*@)?([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?([/?#][^ ]*)?$",
    expected: "a URL that begins with http:// or https://, without spaces",
    longest: 2048,
};

const COLLECTOR_URL: Form = Form {
    pattern: r"^https?://([^/@ ?#]*@)?([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[^ ?#]*)?$",
    expected: "the base URL of an OTLP collector over HTTP, such as http://otel-collector:4318",
    longest: 2048,
};

const URL_PATH: Form = Form {
    pattern: r"^/[^?# ]*$",
    expected: "a plain path that begins with `/`, such as /socket.io",
    longest: 1024,
};

/// RFC 6454, section 7.
const ORIGIN: Form = Form {
    pattern: r"^(\*|null|[^:/ ]+://[^/?#* @]+)$",
    expected: "`*`, or a scheme and a host without a path, such as https://app.example.com",
    longest: 512,
};

const NAMESPACE: Form = Form {
    pattern: r"^/[^,?]*$",
    expected: "a namespace such as /chat: it begins with `/`, and has no `,` or `?`",
    longest: 512,
};

/// RFC 6265, section 4.1.1, `cookie-name`.
const COOKIE: Form = Form {
    pattern: r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$",
    expected: "the name of a cookie alone, such as rookery",
    longest: 256,
};

const ROOM: Form = Form {
    pattern: r"^[^\n]+$",
    expected: "the name of a room, of at most 255 bytes",
    longest: 255,
};

const NOT_BLANK: Form = Form {
    pattern: r"[^\s]",
    expected: "a value: it is empty; write one, or leave the key out",
    longest: 1024,
};

const NOT_ZERO: Form =
    Form { pattern: r"[1-9]", expected: "more than 0s, such as 10s", longest: 128 };

/// Kubernetes API reference, `Quantity`; no resource has a negative one.
pub(super) const QUANTITY: Form = Form {
    pattern: r"^[+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+|[KMGTPE]i|[numkMGTPE])?$",
    expected: "a quantity such as 500m, 2, 128Mi or 1Gi: `MB` is written M or Mi",
    longest: 64,
};

/// A text of [`rookery_config::units::Period`], with the units that are documented.
pub(crate) const PERIOD: Form = Form {
    pattern: r"^([0-9]+ *(ms|s|m|h|d) *)+$",
    expected: "a time such as 25s, 500ms, 5m or 1h 30m, in ms, s, m, h and d",
    longest: 128,
};

/// A text of [`rookery_config::units::Size`] that is more than zero.
pub(super) const SIZE: Form = Form {
    pattern: r"^0*[1-9][0-9]* *(B|KiB|MiB|GiB|kB|KB|MB|GB)?$",
    expected: "a size such as 64KiB, 1MiB or 65536, more than 0",
    longest: 64,
};

/// A text of [`rookery_config::units::Rate`].
pub(super) const RATE: Form = Form {
    pattern: r"^0*[1-9][0-9]* */ *s$",
    expected: "a rate such as 500/s, more than 0",
    longest: 64,
};

const TOLERATION_OPERATOR: Form =
    Form { pattern: "^(Exists|Equal)?$", expected: "Exists or Equal", longest: 16 };

const TAINT_EFFECT: Form = Form {
    pattern: "^(NoSchedule|PreferNoSchedule|NoExecute)?$",
    expected: "NoSchedule, PreferNoSchedule or NoExecute",
    longest: 32,
};

const PROTOCOL: Form =
    Form { pattern: "^(TCP|UDP|SCTP)$", expected: "TCP, UDP or SCTP", longest: 8 };

/// Whether a message must not repeat a value of this form, which may hold a password.
pub(crate) fn hides_value(form: &Form) -> bool {
    *form == REDIS_URL || *form == WEB_URL || *form == COLLECTOR_URL
}
