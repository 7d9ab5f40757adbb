//! The section `rebalance`: how instances with more sessions than others give some away.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{Pace, Percent, Period};

/// How instances with more sessions than others give some away.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rebalance {
    /// How far an instance must be above the mean of all before it closes sessions, in percent of
    /// the mean.
    pub threshold: Percent,
    /// Sessions per second that all instances together close; never more than the reconnect budget
    /// of `drain`.
    pub rate: Pace,
    /// How long an instance must be above the threshold before it begins.
    pub after: Period,
}

impl Default for Rebalance {
    fn default() -> Self {
        Rebalance { threshold: Percent(20), rate: Pace(50), after: Period(Duration::from_secs(60)) }
    }
}
