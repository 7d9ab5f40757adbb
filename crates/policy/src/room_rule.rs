//! [`RoomRule`]: an entry of the configuration's section `rooms`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who may join and publish to the rooms that a pattern matches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoomRule {
    /// The pattern of the rooms' names, whose placeholders are captures.
    #[serde(rename = "match")]
    pub pattern: String,
    /// A CEL expression that decides which clients may join. Without it, every client may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join: Option<String>,
    /// A CEL expression that decides which clients may publish. Without it, every client may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish: Option<String>,
}
