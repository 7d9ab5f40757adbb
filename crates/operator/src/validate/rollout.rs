//! The [`Rollout`]: how servers are replaced, from `spec.rollout`, the number of servers and the
//! drain. Pure.
//!
//! What is written into the servers' configuration, or into the grace period, is a part of their
//! pods: a change of it replaces them. So it depends on `replicas.max` and on
//! `autoscaling.connectionsPerPod` only where `spec.rollout` gives a number that they must be
//! compared with, and then in steps of a factor of two.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::problem::Problems;
use crate::crd::{CountOrPercent, Quota, RookerySpec};
use rookery_config::units::Period;
use rookery_config::{ClosingOrder, Config, Connections, Drain};

/// What a new server may need to come up.
pub(super) const STARTUP: Duration = Duration::from_secs(20);

/// Servers up to this number are replaced one at a time.
const FEW: i32 = 2;

/// The shortest and the longest of the windows that the operator writes for a budget.
const SHORTEST_STEP: Duration = Duration::from_secs(60);
const LONGEST_STEP: Duration = Duration::from_secs(24 * 3600);

/// How long cluster-autoscaler waits for the pods of a node by default
/// (`--max-graceful-termination-sec`).
const NODE_PATIENCE: Duration = Duration::from_secs(600);

/// How the servers are replaced.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollout {
    /// How many new servers may start before old ones stop.
    pub max_surge: IntOrString,
    /// How many servers may be missing meanwhile.
    pub max_unavailable: IntOrString,
    /// How long a new server must be ready before an old one stops.
    pub min_ready: Duration,
}

impl Rollout {
    /// The rollout of up to `most` servers. Where the drain order paces it, a new server only has
    /// to be known to the ingress before an old one is told to stop; else, the servers that stop
    /// one after the other must have the time to close their sessions.
    pub(super) fn of(spec: &RookerySpec, config: &Config, most: i32) -> Rollout {
        let written = spec.rollout.as_ref();
        let surge = written.and_then(|rollout| rollout.max_surge.as_ref());
        let unavailable = written.and_then(|rollout| rollout.max_unavailable.as_ref());
        let drain = &config.drain;
        let is_together = config.redis.is_some()
            && drain.order == ClosingOrder::Together
            && !drain.patience.0.is_zero();
        let at_once = is_together && (surge.is_some() || most > FEW);
        let default =
            if at_once { IntOrString::String("100%".into()) } else { IntOrString::Int(1) };
        Rollout {
            max_surge: surge.map_or(default, |surge| surge.0.clone()),
            max_unavailable: unavailable.map_or(IntOrString::Int(0), |n| n.0.clone()),
            min_ready: if at_once { drain.lead.0 } else { drain.lead.0 + drain.window.0 },
        }
    }
}

/// Checks `spec.rollout`.
pub(super) fn check(spec: &RookerySpec, problems: &mut Problems) {
    let Some(rollout) = &spec.rollout else { return };
    let mut read = |field: &str, written: &Option<CountOrPercent>| {
        let quota = written.as_ref().map(|written| (written, written.quota()));
        if let Some((CountOrPercent(written), None)) = quota {
            let written = match written {
                IntOrString::Int(n) => n.to_string(),
                IntOrString::String(text) => text.clone(),
            };
            problems.add(
                format!("spec.rollout.{field}"),
                format_args!("is `{written}`; expected a number of servers such as 2, or 25%"),
            );
        }
        quota.map(|(_, quota)| quota)
    };
    let surge = read("maxSurge", &rollout.max_surge);
    let unavailable = read("maxUnavailable", &rollout.max_unavailable);
    let is_zero = |quota| matches!(quota, Some(Some(Quota::Count(0) | Quota::Percent(0))));
    problems.add_if(
        is_zero(surge) && (unavailable.is_none() || is_zero(unavailable)),
        "spec.rollout",
        "maxSurge and maxUnavailable are both 0: no server could ever be replaced",
    );
    problems.add_if(
        matches!(unavailable, Some(Some(Quota::Percent(101..)))),
        "spec.rollout.maxUnavailable",
        "is more than 100%",
    );
}

/// How long a server may wait in a rollout until all old ones were told to stop: one drain and a
/// start, or as long as the rounds of a smaller surge take. No more, as it is a part of the grace
/// period, half of which the deletion of a namespace waits for its pods (kube-controller-manager's
/// namespace controller).
pub(super) fn patience(
    spec: &RookerySpec,
    most: i32,
    lead: Duration,
    window: Duration,
) -> Duration {
    let one_drain = lead + window + STARTUP;
    let waits = rounds(spec, most).saturating_sub(1);
    one_drain.max((lead + STARTUP) * waits + STARTUP)
}

/// In how many rounds all servers are replaced.
fn rounds(spec: &RookerySpec, most: i32) -> u32 {
    let Some(rollout) = &spec.rollout else { return 1 };
    let Some(Some(surge)) = rollout.max_surge.as_ref().map(CountOrPercent::quota) else { return 1 };
    let unavailable = rollout.max_unavailable.as_ref().and_then(CountOrPercent::quota);
    let most = u32::try_from(most).unwrap_or(1);
    let count = |quota| match quota {
        Quota::Count(n) => n,
        Quota::Percent(percent) => (most * percent.min(100)).div_ceil(100),
    };
    match (surge, unavailable) {
        (Quota::Percent(percent), None | Some(Quota::Percent(0) | Quota::Count(0))) => {
            100_u32.div_ceil(percent.clamp(1, 100))
        }
        (surge, unavailable) => {
            let at_once = count(surge) + unavailable.map_or(0, count);
            most.div_ceil(at_once.max(1)).next_power_of_two()
        }
    }
}

/// The longest that a server may take to close its sessions: twice the window, or what the budget
/// asks for where as many servers as there may be are full, in steps of a factor of two.
pub(super) fn longest_window(spec: &RookerySpec, most: i32, window: Duration) -> Duration {
    let pace = spec.rollout.as_ref().and_then(|rollout| rollout.pace_of_reconnects);
    let Some(pace) = pace else { return window * 2 };
    let per_server = match spec.autoscaling.enabled {
        true => u64::try_from(spec.autoscaling.connections_per_pod).unwrap_or(0),
        false => connections(spec),
    };
    let all = per_server.saturating_mul(u64::try_from(most).unwrap_or(1));
    let needed = Duration::from_secs(all.div_ceil(u64::from(pace.0.max(1))));
    let mut step = SHORTEST_STEP;
    while step < needed && step < LONGEST_STEP {
        step *= 2;
    }
    step.min(LONGEST_STEP).max(window * 2)
}

/// `config.limits.connections`.
fn connections(spec: &RookerySpec) -> u64 {
    let written = spec.config.0.get("limits").and_then(|limits| limits["connections"].as_u64());
    written.unwrap_or_else(|| u64::from(Connections::default().get()))
}

/// Warns where nodes are removed sooner than a server may take to stop.
pub(super) fn warning(drain: &Drain) -> Option<String> {
    let grace = drain.lead.0 + drain.patience.0 + drain.longest_window();
    (grace > NODE_PATIENCE).then(|| {
        format!(
            "a server may take {} to stop, and cluster-autoscaler removes a node after 10 minutes \
             unless its --max-graceful-termination-sec says more; raise that, or \
             `rollout.paceOfReconnects`",
            Period(Duration::from_secs(grace.as_secs()))
        )
    })
}

#[cfg(test)]
mod tests;
