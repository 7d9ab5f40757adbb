//! The section `redis`: fan-out between instances.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::redacted;

/// Fan-out between instances through Redis pub/sub.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redis {
    /// `redis://` or `rediss://` (TLS), with user and password where needed. `--redis` beats it.
    #[serde(default)]
    pub url: String,
    /// The wire between instances.
    #[serde(default)]
    pub wire: Wire,
    /// Channel prefix, as Node's adapter uses it.
    #[serde(default = "Redis::default_prefix")]
    #[schemars(length(min = 1, max = 200))]
    pub prefix: String,
    /// What happens to publications while Redis is away.
    #[serde(default)]
    pub when_down: WhenDown,
    /// Channels on which plain JSON becomes a publication.
    #[serde(default = "BridgeRule::defaults")]
    pub bridge: Vec<BridgeRule>,
}

impl Redis {
    fn default_prefix() -> String {
        "socket.io".to_owned()
    }

    /// The defaults with this URL: what `--redis` alone means.
    pub fn at(url: String) -> Self {
        Redis {
            url,
            wire: Wire::default(),
            prefix: Self::default_prefix(),
            when_down: WhenDown::default(),
            bridge: BridgeRule::defaults(),
        }
    }

    /// The bridge as it holds with these namespaces: the default one is for `/`, and without it
    /// there is none.
    pub fn bridge_in(&self, namespaces: &[String]) -> &[BridgeRule] {
        let default = self.bridge == BridgeRule::defaults();
        let configured = self.bridge.iter().all(|rule| namespaces.contains(&rule.namespace));
        if default && !configured { &[] } else { &self.bridge }
    }

    /// The URL with its password hidden, for logs.
    pub fn redacted_url(&self) -> String {
        redacted(&self.url)
    }
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Redis")
            .field("url", &self.redacted_url())
            .field("wire", &self.wire)
            .field("prefix", &self.prefix)
            .field("when_down", &self.when_down)
            .field("bridge", &self.bridge)
            .finish()
    }
}

/// The wire between instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Wire {
    /// Node's `@socket.io/redis-adapter`, classic: PUBLISH and SUBSCRIBE.
    #[default]
    Classic,
    /// Node's sharded adapter: SPUBLISH and SSUBSCRIBE, Redis 7. Not in this version yet.
    Sharded,
}

/// What happens to publications while Redis is away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WhenDown {
    /// Local members still get it, and the answer says so.
    #[default]
    Local,
    /// Refused with 503; nothing is delivered.
    Refuse,
}

/// A Redis channel on which plain JSON becomes a publication.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BridgeRule {
    /// The channel.
    pub channel: String,
    /// The namespace it is published in.
    #[serde(default = "BridgeRule::default_namespace")]
    pub namespace: String,
    /// The room, as a template over the message.
    pub room: String,
    /// The event, as a template over the message.
    pub event: String,
    /// The arguments, each a template; one that is a single placeholder is that value itself.
    pub args: Vec<String>,
}

impl BridgeRule {
    fn default_namespace() -> String {
        "/".to_owned()
    }

    /// The bridge that exists where nothing else is written.
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
