//! The [`DrainPace`]: how many sessions a draining instance closes a second. Pure.

use std::time::Duration;

use crate::broker::Fleet;
use rookery_config::{ClosingOrder, Drain, Limits};

/// How fast an instance closes its sessions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DrainPace {
    /// The sessions that were open when the window began.
    sessions: usize,
    window: Duration,
    longest_window: Duration,
    /// Whether other instances drain at the same time, and share the budget.
    is_shared: bool,
    budget: ReconnectBudget,
}

/// How many sessions a second the instances of a deployment may close together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ReconnectBudget {
    /// Any number.
    Unbounded,
    /// This many.
    Fleet(f64),
    /// This many for each instance that takes the clients.
    PerTaker(f64),
}

impl ReconnectBudget {
    /// The budget of a configuration.
    pub fn of(drain: &Drain, limits: &Limits) -> Self {
        match (drain.pace, drain.order) {
            (Some(pace), _) => ReconnectBudget::Fleet(f64::from(pace.0)),
            (None, ClosingOrder::Together) => {
                ReconnectBudget::PerTaker(f64::from(limits.connect_rate.0) / 2.0)
            }
            (None, ClosingOrder::Turns) => ReconnectBudget::Unbounded,
        }
    }

    /// Sessions per second, where `takers` instances take the clients.
    pub fn per_second(self, takers: usize) -> f64 {
        match self {
            ReconnectBudget::Unbounded => f64::INFINITY,
            ReconnectBudget::Fleet(pace) => pace,
            ReconnectBudget::PerTaker(pace) => pace * takers.max(1) as f64,
        }
    }
}

impl DrainPace {
    /// The pace of an instance with so many sessions.
    pub fn new(sessions: usize, drain: &Drain, limits: &Limits) -> Self {
        DrainPace {
            sessions,
            window: drain.window.0,
            longest_window: drain.longest_window(),
            is_shared: drain.order == ClosingOrder::Together,
            budget: ReconnectBudget::of(drain, limits),
        }
    }

    /// Sessions to close a second, when `left` of them are open `elapsed` after the window began:
    /// evenly over the window, but no more than this instance's share of the budget, which is by
    /// the sessions that every draining instance has left, so that all end together. What could
    /// then not be closed within the longest window exceeds the budget.
    pub fn per_second(&self, left: usize, elapsed: Duration, fleet: &Fleet) -> f64 {
        let evenly = over(self.sessions, self.window);
        let budget = self.budget.per_second(fleet.serving.len());
        let least = over(left, self.longest_window.saturating_sub(elapsed));
        evenly.min(budget * self.share(left, fleet)).max(least)
    }

    /// The part of the budget that is this instance's. One that does not tell its sessions is taken
    /// to have as many.
    fn share(&self, left: usize, fleet: &Fleet) -> f64 {
        if !self.is_shared {
            return 1.0;
        }
        let left = left.max(1) as f64;
        let others = fleet.draining.iter().map(|sessions| sessions.map_or(left, |n| n as f64));
        left / (left + others.sum::<f64>())
    }
}

fn over(sessions: usize, time: Duration) -> f64 {
    match time.is_zero() {
        true => f64::INFINITY,
        false => sessions as f64 / time.as_secs_f64(),
    }
}

#[cfg(test)]
mod tests;
