//! `spec.rollout` and `spec.rebalance`.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use rookery_config::units::{Pace, Percent, Period};

/// How servers are replaced.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (NOTHING_MOVES, "maxSurge and maxUnavailable are both 0: no server could ever be replaced"))]
pub struct RolloutSpec {
    /// How many new servers may start before old ones stop: a number, or a percentage of the
    /// replicas. Default: 100%, or 1 for at most two servers and without Redis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_surge: Option<CountOrPercent>,
    /// How many servers may be missing meanwhile: a number, or a percentage of the replicas.
    /// Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<CountOrPercent>,
    /// The reconnect budget: sessions per second that all servers together close when they drain
    /// or rebalance. Default: half of `config.limits.connectRate` for each server that takes the
    /// clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pace_of_reconnects: Option<Pace>,
}

const NOTHING_MOVES: &str = "!(has(self.maxSurge) && string(self.maxSurge) in ['0', '0%']) || \
    (has(self.maxUnavailable) && !(string(self.maxUnavailable) in ['0', '0%']))";

/// How servers with more clients than others give some away.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RebalanceSpec {
    /// Whether servers do so on their own. It needs Redis.
    pub mode: RebalanceMode,
    /// How far a server must be above the mean of all, in percent of the mean. Default: 20%.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Percent>,
    /// Sessions per second that all servers together close; never more than the reconnect budget.
    /// Default: 50/s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Pace>,
    /// How long a server must be above the threshold before it begins. Default: 1m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Period>,
}

/// Whether servers give clients away on their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RebalanceMode {
    /// When they have more than others.
    #[default]
    Automatic,
    /// Never: clients stay where they are until their server stops.
    Manual,
}

/// A number of servers, or a percentage such as `25%`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CountOrPercent(pub IntOrString);

/// A [`CountOrPercent`] as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// So many servers.
    Count(u32),
    /// So many hundredths of the servers.
    Percent(u32),
}

impl CountOrPercent {
    /// Reads it; `None` if it is neither a number nor a percentage.
    pub fn quota(&self) -> Option<Quota> {
        match &self.0 {
            IntOrString::Int(n) => u32::try_from(*n).ok().map(Quota::Count),
            IntOrString::String(text) => {
                let digits = text.strip_suffix('%')?;
                let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
                plain.then(|| digits.parse().ok()).flatten().map(Quota::Percent)
            }
        }
    }
}

impl JsonSchema for CountOrPercent {
    fn schema_name() -> Cow<'static, str> {
        "CountOrPercent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number of servers, or a percentage such as 25%.",
            "anyOf": [
                { "type": "integer", "minimum": 0 },
                { "type": "string", "pattern": "^[0-9]+%$" },
            ],
        })
    }
}
