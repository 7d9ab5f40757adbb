//! The section `redis`: fan-out between instances.

use std::path::PathBuf;

use rookery_policy::Namespaces;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::redacted::redacted;

/// Fan-out between instances through Redis pub/sub.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redis {
    /// The URL of a server, `redis://` or `rediss://` (TLS), of a Unix socket, `unix:///PATH`, of
    /// sentinels, `redis-sentinel://HOST:PORT,…/PRIMARY` or `rediss-sentinel://` (TLS), or of some
    /// nodes of a Cluster, `redis-cluster://HOST:PORT,…` or `rediss-cluster://` (TLS), with user and
    /// password if needed. `--redis` overrides it.
    #[serde(default)]
    pub url: String,
    /// Instead of `url`: the address of the server, those of the sentinels, or of some nodes of a
    /// Cluster, each `HOST:PORT`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// What is at `addresses`. Default: what `url` says, else a single server.
    pub mode: Option<RedisMode>,
    /// The sentinels' login, and the name of the primary that they watch.
    pub sentinel: Option<RedisSentinel>,
    /// The user to log in as, instead of one in `url`.
    pub username: Option<String>,
    /// The file that holds the password, instead of one in `url`: all of it but a trailing newline.
    /// It is read at startup.
    pub password_file: Option<PathBuf>,
    /// TLS to Redis, its sentinels or the nodes of its Cluster.
    #[serde(default)]
    pub tls: RedisTls,
    /// The protocol between instances.
    #[serde(default)]
    pub wire: Wire,
    /// With `wire: sharded`, which broadcasts have channels of their own, as in Node's sharded
    /// adapter.
    #[serde(default)]
    pub subscription_mode: SubscriptionMode,
    /// The prefix of channels, as in Node's adapter, 1 to 200 bytes.
    #[serde(default = "Redis::default_prefix")]
    #[schemars(length(min = 1, max = 200))]
    pub prefix: String,
    /// What happens to publications while Redis is not connected.
    #[serde(default)]
    pub when_down: WhenDown,
    /// The channels on which plain JSON becomes a publication.
    #[serde(default = "BridgeRule::defaults")]
    pub bridge: Vec<BridgeRule>,
}

impl Redis {
    fn default_prefix() -> String {
        "socket.io".to_owned()
    }

    /// The defaults with this URL, which is what `--redis` alone means.
    pub fn at(url: String) -> Self {
        Redis {
            url,
            addresses: Vec::new(),
            mode: None,
            sentinel: None,
            username: None,
            password_file: None,
            tls: RedisTls::default(),
            wire: Wire::default(),
            subscription_mode: SubscriptionMode::default(),
            prefix: Self::default_prefix(),
            when_down: WhenDown::default(),
            bridge: BridgeRule::defaults(),
        }
    }

    /// The rules of the bridge that apply with these namespaces: the default rule publishes in `/`,
    /// so it does not apply if `/` is not among them.
    pub fn bridge_in(&self, namespaces: &Namespaces) -> &[BridgeRule] {
        let default = self.bridge == BridgeRule::defaults();
        let configured = self.bridge.iter().all(|rule| namespaces.offers(&rule.namespace));
        if default && !configured { &[] } else { &self.bridge }
    }

    /// Takes out what says where Redis is besides `url`, which was replaced: addresses, and what
    /// belongs to another kind of URL.
    pub(crate) fn forget_where_it_is(&mut self) {
        (self.addresses, self.mode, self.tls.enabled) = (Vec::new(), None, None);
        match self.url.contains("-sentinel://") {
            // The name is at the end of the URL; the login of the sentinels stays.
            true => self.sentinel.iter_mut().for_each(|sentinel| sentinel.master = None),
            false => self.sentinel = None,
        }
    }

    /// The URL with its user and password replaced by `***`, for logs; of `addresses`, the URL that
    /// says the same.
    pub fn redacted_url(&self) -> String {
        if self.addresses.is_empty() {
            // The query of a socket's URL may hold a password.
            let url = redacted(&self.url);
            return url.split('?').next().unwrap_or(&url).to_owned();
        }
        let scheme = if self.tls.is_wanted() { "rediss" } else { "redis" };
        let addresses = self.addresses.join(",");
        let primary = self.sentinel.as_ref().and_then(|sentinel| sentinel.master.as_deref());
        match self.mode {
            Some(RedisMode::Sentinel) => {
                format!("{scheme}-sentinel://{addresses}/{}", primary.unwrap_or_default())
            }
            Some(RedisMode::Cluster) => format!("{scheme}-cluster://{addresses}"),
            _ => format!("{scheme}://{addresses}"),
        }
    }
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Redis")
            .field("url", &self.redacted_url())
            .field("mode", &self.mode)
            .field("sentinel", &self.sentinel)
            .field("username", &self.username)
            .field("password_file", &self.password_file)
            .field("tls", &self.tls)
            .field("wire", &self.wire)
            .field("subscription_mode", &self.subscription_mode)
            .field("prefix", &self.prefix)
            .field("when_down", &self.when_down)
            .field("bridge", &self.bridge)
            .finish()
    }
}

/// What is at the addresses of Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RedisMode {
    /// One server, at one address.
    Single,
    /// Sentinels, which know the primary's address.
    Sentinel,
    /// Some nodes of a Redis Cluster, which tell where the others are.
    Cluster,
}

/// How to ask the sentinels for the primary.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RedisSentinel {
    /// The name by which the sentinels know the primary, as in `sentinel monitor`, instead of one in
    /// `url`.
    pub master: Option<String>,
    /// The user to log in to the sentinels as. That of Redis is `redis.username`.
    pub username: Option<String>,
    /// The file that holds the sentinels' password: all of it but a trailing newline. It is read at
    /// startup.
    pub password_file: Option<PathBuf>,
}

/// TLS to Redis and its sentinels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RedisTls {
    /// Whether `addresses` are reached by TLS. Default: whether another key of `tls` is written. A
    /// URL says it by its scheme.
    pub enabled: Option<bool>,
    /// The file that holds the certificates, in PEM, of the authorities to trust instead of the
    /// system's. It is read at startup.
    pub ca_file: Option<PathBuf>,
    /// The file that holds the client certificate, in PEM, with its chain. It is read at startup.
    pub cert_file: Option<PathBuf>,
    /// The file that holds the key of the client certificate, in PEM. It is read at startup.
    pub key_file: Option<PathBuf>,
}

impl RedisTls {
    /// Whether servers at `redis.addresses` are reached by TLS.
    pub fn is_wanted(&self) -> bool {
        self.enabled.unwrap_or_else(|| self.files().iter().any(|(_, path)| path.is_some()))
    }

    /// The files that are named, with their keys.
    pub(crate) fn files(&self) -> [(&'static str, &Option<PathBuf>); 3] {
        [
            ("redis.tls.caFile", &self.ca_file),
            ("redis.tls.certFile", &self.cert_file),
            ("redis.tls.keyFile", &self.key_file),
        ]
    }
}

/// The protocol between instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Wire {
    /// That of Node's `@socket.io/redis-adapter`: PUBLISH and SUBSCRIBE.
    #[default]
    Classic,
    /// That of Node's sharded adapter: SPUBLISH and SSUBSCRIBE of Redis 7.
    Sharded,
}

/// Which broadcasts have channels of their own with `wire: sharded`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SubscriptionMode {
    /// Those to one room, unless its name has 20 characters, as the id of a client.
    #[default]
    Dynamic,
    /// Those to one room or one client.
    DynamicPrivate,
}

/// What happens to publications while Redis is not connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WhenDown {
    /// They are delivered to local members, and the answer says so.
    #[default]
    Local,
    /// They are refused with 503, and nothing is delivered.
    Refuse,
}

/// A Redis channel on which plain JSON becomes a publication.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BridgeRule {
    /// The name of the Redis channel.
    pub channel: String,
    /// The namespace that the message is published in.
    #[serde(default = "BridgeRule::default_namespace")]
    pub namespace: String,
    /// The template of the room's name, filled from the message.
    pub room: String,
    /// The template of the event's name, filled from the message.
    pub event: String,
    /// The templates of the event's arguments; one that is a single placeholder gives that value
    /// itself.
    pub args: Vec<String>,
}

impl BridgeRule {
    fn default_namespace() -> String {
        "/".to_owned()
    }

    /// The rules of a configuration without `redis.bridge`.
    pub fn defaults() -> Vec<BridgeRule> {
        vec![BridgeRule {
            channel: "rookery:publish".to_owned(),
            namespace: Self::default_namespace(),
            room: "{workspaceId}:{appId}".to_owned(),
            event: "application_event".to_owned(),
            args: vec!["{payload}".to_owned()],
        }]
    }
}
