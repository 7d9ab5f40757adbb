//! The [`RoomRule`] of the configuration.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who may join and publish in the rooms that a pattern matches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoomRule {
    /// The pattern: a template whose placeholders capture.
    #[serde(rename = "match")]
    pub pattern: String,
    /// CEL: who may join. Absent: everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join: Option<String>,
    /// CEL: which clients may publish. Absent: every client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish: Option<String>,
}
