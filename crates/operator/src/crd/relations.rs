//! What fields of a resource have to do with each other: rules that the cluster checks when a
//! resource is applied, and the bounds of fields that have no type of their own.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use serde_json::{Value, json};

/// The rule that a Secret of `secrets` brings the file at `$path`, unless a section on the way to it is
/// absent (`$absent`).
macro_rules! mounted {
    ($absent:literal, $path:literal) => {
        (
            "",
            concat!(
                "!has(self.config) || ",
                $absent,
                " || !has(self.",
                $path,
                ") || (has(self.secrets) && self.secrets.exists(secret, self.",
                $path,
                ".startsWith(secret.mountPath)))"
            ),
            concat!($path, " is in no mountPath of secrets: add the Secret that has it to secrets"),
        )
    };
}

/// Changes a schema.
type Change = fn(&mut JSONSchemaProps);

/// Bounds of numbers and lists.
pub(super) const BOUNDS: &[(&str, Change)] = &[
    ("podTemplate.sidecars[]", container),
    ("podTemplate.initContainers[]", container),
    ("podTemplate.volumes[]", volume),
    ("config.limits.connections", at_least_one),
    ("config.limits.roomsPerClient", at_least_one),
    ("config.limits.eventsPerSecond", at_least_one),
    ("config.limits.unconnected", at_least_one),
    ("config.limits.httpConnections", at_least_one),
    ("config.limits.perIp.connections", at_least_one),
    ("config.limits.perIp.ipv6Prefix", |schema| {
        at_least_one(schema);
        schema.maximum = Some(128.0);
    }),
    ("config.presence.max", |schema| {
        at_least_one(schema);
        schema.maximum = Some(10_000.0);
    }),
    ("config.latency.sampleEvery", at_least_one),
    ("config.latency.topRooms", |schema| schema.maximum = Some(1000.0)),
    ("config.namespaces", not_empty),
    ("config.socketio.transports", not_empty),
    ("config.auth.jwt.algorithms", not_empty),
    ("ingress.hosts", |schema| schema.max_items = Some(64)),
    // Each item is looked up among the other field's.
    ("secrets", |schema| schema.max_items = Some(64)),
    ("config.socketio.cors.origins", |schema| schema.max_items = Some(256)),
    ("podTemplate.extraEnv", |schema| schema.max_items = Some(256)),
    ("podTemplate.volumeMounts", |schema| schema.max_items = Some(64)),
    ("podTemplate.volumes", |schema| schema.max_items = Some(64)),
    ("podTemplate.sidecars", |schema| schema.max_items = Some(16)),
    ("podTemplate.initContainers", |schema| schema.max_items = Some(16)),
    ("podTemplate.tolerations", |schema| schema.max_items = Some(64)),
    ("podTemplate.imagePullSecrets", |schema| schema.max_items = Some(64)),
    ("networkPolicy.publishers", |schema| schema.max_items = Some(64)),
    ("networkPolicy.prometheus", |schema| schema.max_items = Some(64)),
    ("networkPolicy.extraEgress", |schema| schema.max_items = Some(32)),
    ("networkPolicy.extraEgress[].to", |schema| schema.max_items = Some(32)),
    ("networkPolicy.extraEgress[].ports", |schema| schema.max_items = Some(32)),
    ("config.events", |schema| schema.max_items = Some(256)),
    ("config.redis.addresses", |schema| schema.max_items = Some(16)),
];

fn at_least_one(schema: &mut JSONSchemaProps) {
    schema.minimum = Some(1.0);
}

fn not_empty(schema: &mut JSONSchemaProps) {
    schema.min_items = Some(1);
}

/// Types the fields of a container in which people err, or that a rule is about. Its other fields are
/// kept as they are written, and checked when the Deployment is applied.
fn container(schema: &mut JSONSchemaProps) {
    let unknown = "x-kubernetes-preserve-unknown-fields";
    fields(
        schema,
        json!({
            "name": { "type": "string" },
            "image": { "type": "string" },
            "env": {
                "type": "array",
                "maxItems": 256,
                "items": {
                    "type": "object",
                    unknown: true,
                    "required": ["name"],
                    "properties": { "name": { "type": "string" }, "value": { "type": "string" } },
                },
            },
            "securityContext": {
                "type": "object",
                unknown: true,
                "properties": { "privileged": { "type": "boolean" } },
            },
        }),
    );
}

/// As [`container`], for a volume.
fn volume(schema: &mut JSONSchemaProps) {
    let any = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    fields(schema, json!({ "name": { "type": "string" }, "hostPath": any }));
}

fn fields(schema: &mut JSONSchemaProps, properties: Value) {
    schema.properties = serde_json::from_value(properties).ok();
    schema.required = Some(vec!["name".to_owned()]);
}

/// Rules by the path of the object that they are of: path, rule, message.
pub(super) const RELATIONS: &[(&str, &str, &str)] = &[
    (
        "",
        "has(self.config) && has(self.config.auth) && (has(self.config.auth.jwt) || \
         (has(self.config.auth.anonymous) && self.config.auth.anonymous))",
        "config.auth does not say who may connect: configure config.auth.jwt, or write \
         config.auth.anonymous: true to let everybody in",
    ),
    (
        "",
        "!has(self.config) || !has(self.config.limits) || !has(self.config.limits.connections) || \
         !has(self.autoscaling) || !has(self.autoscaling.connectionsPerPod) || \
         self.autoscaling.connectionsPerPod <= self.config.limits.connections",
        "autoscaling.connectionsPerPod is above config.limits.connections, so there would never \
         be another server: write at most as much, or raise the limit",
    ),
    (
        "",
        "!has(self.autoscaling) || !has(self.autoscaling.cpuUtilization) || \
         !has(self.resources) || (has(self.resources.requests) && 'cpu' in self.resources.requests)",
        "autoscaling.cpuUtilization is a part of the requested CPU: write resources.requests.cpu",
    ),
    mounted!("!has(self.config.auth)", "config.auth.apiKeysFile"),
    mounted!("!has(self.config.admin)", "config.admin.passwordHashFile"),
    mounted!("!has(self.config.auth) || !has(self.config.auth.jwt)", "config.auth.jwt.secretFile"),
    mounted!(
        "!has(self.config.auth) || !has(self.config.auth.jwt)",
        "config.auth.jwt.publicKeyFile"
    ),
    mounted!("!has(self.config.redis)", "config.redis.passwordFile"),
    mounted!("!has(self.config.redis) || !has(self.config.redis.tls)", "config.redis.tls.caFile"),
    mounted!(
        "!has(self.config.redis) || !has(self.config.redis.sentinel)",
        "config.redis.sentinel.passwordFile"
    ),
    mounted!("!has(self.config.redis) || !has(self.config.redis.tls)", "config.redis.tls.certFile"),
    mounted!("!has(self.config.redis) || !has(self.config.redis.tls)", "config.redis.tls.keyFile"),
    (
        "config.auth.jwt",
        "[has(self.secretFile), has(self.publicKeyFile), has(self.jwksUrl)].filter(key, key).size() == 1",
        "write exactly one of secretFile, publicKeyFile and jwksUrl",
    ),
    (
        "config.auth.jwt",
        "!has(self.algorithms) && !has(self.secretFile) || has(self.algorithms) && \
         self.algorithms.all(algorithm, algorithm.startsWith('HS') == has(self.secretFile))",
        "secretFile goes with algorithms HS256, HS384 and HS512, and publicKeyFile and jwksUrl with \
         the others",
    ),
    (
        "config.auth",
        "!has(self.queryParam) || !(self.queryParam in ['EIO', 'transport', 'sid', 't', 'j', 'b64'])",
        "queryParam is one that Engine.IO uses itself: use another name, such as token",
    ),
    (
        "config.socketio.cors",
        "!has(self.credentials) || !self.credentials || (has(self.origins) && \
         self.origins.size() > 0 && !('*' in self.origins))",
        "credentials needs origins that are named, such as https://app.example.com: browsers send \
         no cookies to *",
    ),
    (
        "secrets[]",
        "self.mountPath != '/etc' && self.mountPath != '/etc/' && \
         !(self.mountPath + '/').startsWith('/etc/rookery/')",
        "mountPath would hide the configuration in /etc/rookery: mount it elsewhere, such as /etc/keys",
    ),
    (
        "podTemplate.volumeMounts[]",
        "self.mountPath != '/etc' && self.mountPath != '/etc/' && \
         !(self.mountPath + '/').startsWith('/etc/rookery/')",
        "mountPath would hide the configuration in /etc/rookery: mount it elsewhere",
    ),
    (
        "podTemplate.labels",
        "self.all(key, !(key in ['app.kubernetes.io/name', 'app.kubernetes.io/instance', \
         'app.kubernetes.io/component', 'app.kubernetes.io/managed-by']))",
        "has a label by which the servers are found, such as app.kubernetes.io/name: leave it out",
    ),
    (
        "podTemplate.annotations",
        "self.all(key, !key.startsWith('rookery.dev/'))",
        "has an annotation rookery.dev/…, which is the operator's own: leave it out",
    ),
    (
        "podTemplate.annotations",
        "self.all(key, !(key.startsWith('container.apparmor.security.beta.kubernetes.io/') || \
         key.startsWith('container.seccomp.security.alpha.kubernetes.io/') || \
         key.startsWith('seccomp.security.alpha.kubernetes.io/')) || \
         self[key] == 'runtime/default' || self[key].startsWith('localhost/'))",
        "has an annotation that weakens the pods' security: leave it out",
    ),
    (
        "podTemplate.sidecars[]",
        "!has(self.securityContext) || !has(self.securityContext.privileged) || \
         !self.securityContext.privileged",
        "securityContext.privileged weakens the pods' security: leave it out",
    ),
    (
        "podTemplate.initContainers[]",
        "!has(self.securityContext) || !has(self.securityContext.privileged) || \
         !self.securityContext.privileged",
        "securityContext.privileged weakens the pods' security: leave it out",
    ),
    (
        "podTemplate.volumes[]",
        "!has(self.hostPath)",
        "hostPath weakens the pods' security: use another kind of volume",
    ),
    (
        "podTemplate.env",
        "self.all(key, !(key in ['ROOKERY_CONFIG', 'ROOKERY_LISTEN', 'ROOKERY_INTERNAL', \
         'ROOKERY_REDIS', 'ROOKERY_REVISION', 'POD_NAMESPACE', 'POD_TEMPLATE_HASH']))",
        "has a variable that would contradict the resource, such as ROOKERY_LISTEN: write config or \
         redis instead",
    ),
    (
        "podTemplate.extraEnv[]",
        "!(self.name in ['ROOKERY_CONFIG', 'ROOKERY_LISTEN', 'ROOKERY_INTERNAL', 'ROOKERY_REDIS', \
         'ROOKERY_REVISION', 'POD_NAMESPACE', 'POD_TEMPLATE_HASH'])",
        "name is that of a variable that would contradict the resource: write config or redis instead",
    ),
    (
        "podTemplate.extraEnv[]",
        "!has(self.value) || !has(self.valueFrom)",
        "write value or valueFrom, not both",
    ),
    (
        "resources.requests",
        "!('memory' in self) || type(self['memory']) == int || !self['memory'].matches('m$')",
        "memory in thousandths of a byte (`m`) is less than one byte: write M or Mi",
    ),
    (
        "resources.limits",
        "!('memory' in self) || type(self['memory']) == int || !self['memory'].matches('m$')",
        "memory in thousandths of a byte (`m`) is less than one byte: write M or Mi",
    ),
    (
        "monitoring",
        "!has(self.interval) || !self.interval.matches(r\"^(0+ *(ms|s|m|h|d) *|[0-9]{1,3} *ms *)+$\")",
        "interval must be at least 1s",
    ),
    (
        "service",
        "!has(self.externalTrafficPolicy) || (has(self.type) && self.type != 'ClusterIP')",
        "externalTrafficPolicy needs type: LoadBalancer or type: NodePort",
    ),
    (
        "config.events[]",
        "!has(self.on) || !(self.on in ['connect', 'connect_error', 'disconnect', 'disconnecting', \
         'newListener', 'removeListener', 'auth:refresh'])",
        "on is an event that clients cannot send as their own",
    ),
    (
        "config.events[]",
        "has(self.byField) == (has(self.operation) && self.operation == 'byField')",
        "byField goes with operation: byField",
    ),
];
