//! The section `drain`: how sessions are closed at shutdown.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{Pace, Period};

/// How sessions are closed at shutdown.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Drain {
    /// How long the instance goes on as before after SIGTERM, so that load balancers notice.
    pub lead: Period,
    /// The time over which the sessions are closed, evenly spread. It takes longer where the
    /// reconnect budget (`pace`) asks for it.
    pub window: Period,
    /// The reconnect budget: sessions per second that all instances of the deployment together
    /// close when they drain or rebalance. By default there is no bound with `order: turns`; with
    /// `order: together` it is half of `limits.connectRate` for each instance that takes the clients.
    pub pace: Option<Pace>,
    /// The longest that the window may become for the sake of the budget; then the budget is
    /// exceeded. By default `window`, or 10m where `pace` is written.
    pub longest_window: Option<Period>,
    /// How the old instances of a rollout close their sessions once all were told to stop.
    pub order: ClosingOrder,
    /// Whether /readyz stays 200 while the instance drains.
    pub keep_ready: bool,
    /// In a rollout, how long this instance may wait for its turn to close its sessions; with 0s
    /// it does not wait. The operator sets it.
    pub patience: Period,
    /// The name of the ingress's sticky cookie, which refused and drained clients are told to drop.
    pub sticky_cookie: Option<String>,
}

/// How the old instances of a rollout close their sessions once all were told to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClosingOrder {
    /// One after the other.
    #[default]
    Turns,
    /// All at the same time, each at its share of the reconnect budget.
    Together,
}

/// `drain.longestWindow` where only `drain.pace` is written.
const LONGEST_WINDOW: Duration = Duration::from_secs(600);

impl Drain {
    /// The longest that closing the sessions may take: never less than `window`.
    pub fn longest_window(&self) -> Duration {
        let window = self.window.0;
        match (self.longest_window, self.pace) {
            (Some(longest), _) => longest.0.max(window),
            (None, Some(_)) => LONGEST_WINDOW.max(window),
            (None, None) => window,
        }
    }
}

impl Default for Drain {
    fn default() -> Self {
        Drain {
            lead: Period(Duration::from_secs(5)),
            window: Period(Duration::from_secs(30)),
            pace: None,
            longest_window: None,
            order: ClosingOrder::Turns,
            keep_ready: false,
            patience: Period(Duration::ZERO),
            sticky_cookie: None,
        }
    }
}
