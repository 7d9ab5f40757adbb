//! The section `backend`: the application's HTTP backend.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Period;

/// The application's HTTP backend. Not in this version of Rookery yet: such a configuration is
/// refused.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Backend {
    /// The URL that webhooks are posted to.
    pub url: String,
    /// The client events that are forwarded; `*` forwards all.
    #[serde(default)]
    pub events: Vec<String>,
    /// The hooks that are called.
    #[serde(default)]
    pub hooks: Vec<Hook>,
    /// How long the backend may take to answer.
    #[serde(default)]
    pub timeout: Option<Period>,
    /// The file that holds the key that signs requests.
    #[serde(default)]
    pub signing_key_file: Option<PathBuf>,
}

/// A kind of webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Hook {
    /// A client connects to a namespace.
    Connect,
    /// A client sends an event that no rule of `events` handles.
    Event,
    /// A client disconnects.
    Disconnect,
}
