//! The section `admin`: the admin UI of Socket.IO.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The namespace that the page of `@socket.io/admin-ui` connects to, and who may log in there.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Admin {
    /// The namespace that the page connects to. It must not be one of `namespaces`.
    #[serde(default = "Admin::default_namespace")]
    pub namespace: String,
    /// The name that admins log in with.
    pub username: String,
    /// The file that holds the bcrypt hash of their password.
    pub password_hash_file: PathBuf,
    /// Whether admins may only look: then they cannot emit events, move or disconnect clients.
    #[serde(default)]
    pub readonly: bool,
    /// What admins see: in `development` the sockets and rooms and how they change, in `production`
    /// only the figures of each server.
    #[serde(default)]
    pub mode: AdminMode,
    /// Sockets of one instance up to which they are shown; with more, only its figures are.
    #[serde(default = "Admin::default_max_sockets")]
    pub max_sockets: u32,
}

impl Admin {
    fn default_namespace() -> String {
        "/admin".to_owned()
    }

    fn default_max_sockets() -> u32 {
        10_000
    }
}

/// What admins see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AdminMode {
    /// The sockets and rooms and how they change, and the figures of each server.
    #[default]
    Development,
    /// Only the figures of each server.
    Production,
}
