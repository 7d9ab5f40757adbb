//! The section `presence`: bounds of what rooms tell of who is in them.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Period;

/// Bounds of what rooms with presence tell of who is in them.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Presence {
    /// Users, or members, up to which a room names them; of a room with more, only the count is
    /// told.
    pub max: u32,
    /// How long somebody whose connection ended stays present, so that a reconnect is neither a
    /// leave nor a join.
    pub leave_delay: Period,
}

impl Default for Presence {
    fn default() -> Self {
        Presence { max: 1000, leave_delay: Period(Duration::from_secs(3)) }
    }
}
