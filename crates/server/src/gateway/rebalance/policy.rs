//! The [`RebalancePolicy`]: how many sessions this instance gives away now. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::broker::Fleet;
use crate::gateway::drain_pace::ReconnectBudget;
use rookery_config::Rebalance;

/// How long a closed session may take to come back: until then it is missing in the mean.
const IN_FLIGHT: Duration = Duration::from_secs(10);

/// An instance with fewer sessions than this above the mean keeps them.
const LEAST_EXCESS: f64 = 10.0;

/// How long closing sessions may be without an effect on the other instances.
const WITHOUT_EFFECT: Duration = Duration::from_secs(20);

/// After this many closed sessions an effect is expected.
const EFFECT_AFTER: u64 = 20;

/// An instance that gave up rests this many times `rebalance.after`, and each time twice as long.
const REST: u32 = 10;

/// The longest rest.
const LONGEST_REST: Duration = Duration::from_secs(24 * 3600);

/// The longest time between two decisions that counts for the rate.
const LONGEST_TICK: Duration = Duration::from_secs(2);

/// Decides how many sessions an instance gives away, by its sessions and those of the others.
#[derive(Debug)]
pub struct RebalancePolicy {
    config: Rebalance,
    budget: ReconnectBudget,
    /// The mean of all instances, of the last [`IN_FLIGHT`].
    means: VecDeque<(Instant, f64)>,
    /// Since when this instance is above the threshold.
    above_since: Option<Instant>,
    round: Option<Round>,
    rest_until: Option<Instant>,
    /// How often in succession it gave up.
    gave_up: u32,
}

/// What happens from the first session that is closed until this instance is at the mean.
#[derive(Debug)]
struct Round {
    began: Instant,
    /// Sessions opened later are not closed: they may have been closed elsewhere before.
    opened_before: Instant,
    /// The sessions of the instances below the mean when it began.
    takers_had: u64,
    closed: u64,
    last: Instant,
    /// What the rate allows and was not closed yet.
    allowed: f64,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decision {
    /// Nothing.
    Keep,
    /// Close this many of the oldest sessions, if they were opened before then.
    Close {
        /// How many.
        count: usize,
        /// Only sessions that were opened before this.
        opened_before: Instant,
        /// Whether it is the first decision of this kind for a while.
        begins: bool,
    },
    /// Stop: this instance is at the mean. So many sessions were closed.
    Done(u64),
    /// Stop: so many sessions were closed, and the other instances did not get them.
    GaveUp(u64),
}

impl RebalancePolicy {
    /// A policy for an instance that has closed nothing yet.
    pub fn new(config: Rebalance, budget: ReconnectBudget) -> Self {
        RebalancePolicy {
            config,
            budget,
            means: VecDeque::new(),
            above_since: None,
            round: None,
            rest_until: None,
            gave_up: 0,
        }
    }

    /// Decides for an instance with `own` sessions. `fleet` is `None` while the others are not
    /// known. Nothing is closed while any instance drains or a rollout is under way.
    pub fn decide(&mut self, own: u64, fleet: Option<&Fleet>, now: Instant) -> Decision {
        let Some(others) = fleet.and_then(settled) else {
            self.means.clear();
            self.above_since = None;
            return self.round.take().map_or(Decision::Keep, |round| Decision::Done(round.closed));
        };
        let mean = self.mean(own, &others, now);
        let excess = own as f64 - mean;
        if self.round.is_none() && !self.is_due(excess, mean, now) {
            return Decision::Keep;
        }
        let takers: Vec<u64> = others.iter().copied().filter(|n| (*n as f64) < mean).collect();
        let begins = self.round.is_none();
        let above_since = self.above_since.unwrap_or(now);
        let round = self.round.get_or_insert_with(|| Round {
            began: now,
            opened_before: above_since,
            takers_had: takers.iter().sum(),
            closed: 0,
            last: now,
            allowed: 0.0,
        });
        let ended = if excess < 1.0 {
            self.gave_up = 0;
            Decision::Done(round.closed)
        } else if round.is_without_effect(&takers, now) {
            let rest = self.config.after.0.saturating_mul(REST << self.gave_up.min(16));
            self.rest_until = Some(now + rest.min(LONGEST_REST));
            self.gave_up += 1;
            Decision::GaveUp(round.closed)
        } else {
            let above = others.iter().map(|n| (*n as f64 - mean).max(0.0)).sum::<f64>() + excess;
            let budget = self.budget.per_second(takers.len());
            let rate = f64::from(self.config.rate.0).min(budget) * excess / above;
            let count = round.allow(rate, now).min(excess as u64);
            round.closed += count;
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            return Decision::Close { count, opened_before: round.opened_before, begins };
        };
        self.round = None;
        self.above_since = None;
        ended
    }

    /// The highest mean of the last seconds: sessions that were closed and have not come back yet
    /// are missing in that of now.
    fn mean(&mut self, own: u64, others: &[u64], now: Instant) -> f64 {
        let total = own + others.iter().sum::<u64>();
        self.means.push_back((now, total as f64 / (others.len() + 1) as f64));
        self.means.retain(|(at, _)| now.duration_since(*at) <= IN_FLIGHT);
        self.means.iter().map(|(_, mean)| *mean).fold(0.0, f64::max)
    }

    /// Whether this instance has been above the threshold for long enough.
    fn is_due(&mut self, excess: f64, mean: f64, now: Instant) -> bool {
        let threshold = f64::from(self.config.threshold.0) / 100.0;
        let is_above = excess > mean * threshold && excess >= LEAST_EXCESS;
        if !is_above || self.rest_until.is_some_and(|until| now < until) {
            self.above_since = None;
            return false;
        }
        let since = *self.above_since.get_or_insert(now);
        now.duration_since(since) >= self.config.after.0
    }
}

impl Round {
    /// How many sessions may be closed now at a rate per second.
    fn allow(&mut self, rate: f64, now: Instant) -> u64 {
        let passed = now.duration_since(self.last).min(LONGEST_TICK);
        self.last = now;
        self.allowed += rate * passed.as_secs_f64();
        let whole = self.allowed.floor();
        self.allowed -= whole;
        whole as u64
    }

    /// Whether the others have not got a tenth of what was closed here: perhaps the load balancer
    /// does not know them.
    fn is_without_effect(&self, takers: &[u64], now: Instant) -> bool {
        let gained = takers.iter().sum::<u64>().saturating_sub(self.takers_had);
        self.closed >= EFFECT_AFTER
            && now.duration_since(self.began) >= WITHOUT_EFFECT
            && gained < self.closed / 10
    }
}

/// The sessions of the others, if all serve the same revision and tell how many they have.
fn settled(fleet: &Fleet) -> Option<Vec<u64>> {
    if fleet.is_rolled_out || !fleet.draining.is_empty() || fleet.serving.is_empty() {
        return None;
    }
    fleet.serving.iter().copied().collect()
}

#[cfg(test)]
mod tests;
