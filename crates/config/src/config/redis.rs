//! The section `redis`: fan-out between instances.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::redacted::redacted;

/// Fan-out between instances through Redis pub/sub.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redis {
    /// A `redis://` or `rediss://` (TLS) URL, with user and password if needed. `--redis` overrides
    /// it.
    #[serde(default)]
    pub url: String,
    /// The user to log in as, instead of one in `url`.
    pub username: Option<String>,
    /// The file that holds the password, instead of one in `url`: all of it but a trailing newline.
    /// It is read at startup.
    pub password_file: Option<PathBuf>,
    /// How a `rediss://` URL is verified.
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
    pub fn bridge_in(&self, namespaces: &[String]) -> &[BridgeRule] {
        let default = self.bridge == BridgeRule::defaults();
        let configured = self.bridge.iter().all(|rule| namespaces.contains(&rule.namespace));
        if default && !configured { &[] } else { &self.bridge }
    }

    /// The URL with its user and password replaced by `***`, for logs.
    pub fn redacted_url(&self) -> String {
        redacted(&self.url)
    }
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Redis")
            .field("url", &self.redacted_url())
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

/// How the certificate of a Redis server is verified.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RedisTls {
    /// The file that holds the certificates, in PEM, of the authorities to trust instead of the
    /// system's. It is read at startup.
    pub ca_file: Option<PathBuf>,
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
