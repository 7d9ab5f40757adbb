//! The section `drain`: how sessions are closed at shutdown.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Period;

/// How sessions are closed at shutdown.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Drain {
    /// How long the instance goes on as before after SIGTERM, so that load balancers notice.
    pub lead: Period,
    /// The time over which the sessions are closed, evenly spread.
    pub window: Period,
    /// Whether /readyz stays 200 while the instance drains.
    pub keep_ready: bool,
    /// In a rollout, how long this instance may wait for its turn to close its sessions; with 0s
    /// it does not wait. The operator sets it.
    pub patience: Period,
    /// The name of the ingress's sticky cookie, which refused and drained clients are told to drop.
    pub sticky_cookie: Option<String>,
}

impl Default for Drain {
    fn default() -> Self {
        Drain {
            lead: Period(Duration::from_secs(5)),
            window: Period(Duration::from_secs(30)),
            keep_ready: false,
            patience: Period(Duration::ZERO),
            sticky_cookie: None,
        }
    }
}
