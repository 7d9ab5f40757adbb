//! [`RoomRule`]: an entry of the configuration's section `rooms`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::presence::Presence;
use crate::room_hooks::RoomHooks;

/// Who may join and publish to the rooms that a pattern matches, and who is told who is there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// Whether the rooms tell their members who is there.
    #[serde(default, skip_serializing_if = "Presence::is_off")]
    pub presence: Presence,
    /// A CEL expression whose value the members, or the backend, are told of whoever is there, at
    /// most 1 KiB of JSON. Only with `presence` or `hooks`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence_info: Option<String>,
    /// What the backend is told of the rooms: a list of `room_occupied`, `room_vacated`,
    /// `member_joined` and `member_left`, or `true` for all.
    #[serde(default, skip_serializing_if = "RoomHooks::is_empty")]
    pub hooks: RoomHooks,
}
