//! `spec.redis`.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Redis that connects the servers: one of `url`, `urlSecret` and `host`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = (
        "[has(self.url), has(self.urlSecret), has(self.host)].filter(key, key).size() == 1",
        "write url or urlSecret or host: exactly one"
    ),
    validation = (
        "has(self.host) || (!has(self.port) && !has(self.tls))",
        "port and tls go with host: a URL has both"
    ),
    validation = (
        "!has(self.urlSecret) || (!has(self.username) && !has(self.passwordSecret))",
        "username and passwordSecret go with host or url: the URL in urlSecret has both"
    ),
    validation = (
        "!has(self.username) || has(self.passwordSecret)",
        "username needs passwordSecret"
    ),
    validation = (
        "!has(self.caSecret) || has(self.urlSecret) || (has(self.tls) && self.tls) || \
         (has(self.url) && self.url.startsWith('rediss'))",
        "caSecret needs TLS: write tls: true, or a rediss:// URL"
    )
)]
pub struct RedisSource {
    /// URL of Redis: `redis://host:6379`, or `rediss://…` for TLS. It is visible in the ConfigMap:
    /// use `passwordSecret` or `urlSecret` for a password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Key of a Secret in the same namespace that holds the URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_secret: Option<SecretKey>,
    /// Host name or address of Redis.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Port at `host`. Default: 6379.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Whether `host` is reached by TLS. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<bool>,
    /// User to log in as. Default: Redis's default user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Key of a Secret in the same namespace that holds the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_secret: Option<SecretField>,
    /// Key of a Secret in the same namespace that holds the certificates, in PEM, of the authorities
    /// to trust instead of the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_secret: Option<SecretField>,
}

impl RedisSource {
    /// The URL that is written, or that `host`, `port` and `tls` give; `None` if a Secret holds it.
    pub fn written_url(&self) -> Option<String> {
        let from_host = |host: &String| {
            let scheme = if self.tls == Some(true) { "rediss" } else { "redis" };
            let port = self.port.unwrap_or_else(SecretKey::default_port);
            match host.contains(':') {
                true => format!("{scheme}://[{host}]:{port}"),
                false => format!("{scheme}://{host}:{port}"),
            }
        };
        self.url.clone().or_else(|| self.host.as_ref().map(from_host))
    }
}

/// A key of a Secret that holds a URL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKey {
    /// Name of the Secret.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Key in the Secret.
    #[serde(default = "SecretKey::default_key")]
    pub key: String,
    /// Port of the URL, which the NetworkPolicy opens.
    #[serde(default = "SecretKey::default_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
}

impl SecretKey {
    fn default_key() -> String {
        "url".to_owned()
    }

    fn default_port() -> u16 {
        6379
    }
}

/// A key of a Secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretField {
    /// Name of the Secret.
    pub name: String,
    /// Key in the Secret.
    pub key: String,
}
