//! Rebalancing: an instance with more sessions than the others closes some of its oldest, so that
//! their clients reconnect to instances with fewer.

mod policy;
pub(super) mod state;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::drain_pace::ReconnectBudget;
use super::drain_state::DrainPhase;
use super::session::{Session, Sessions};
use super::state::Gateway;
use crate::connection::outbox::Ending;
use crate::telemetry::metrics::Disconnected;
use policy::{Decision, RebalancePolicy};

/// The time between two decisions: that between two heartbeats.
const TICK: Duration = Duration::from_secs(1);

/// How many steps the sessions of one decision are closed in, so that their clients do not come
/// back at once.
const STEPS: usize = 10;

/// What to do about clients that always come back to the same instances.
const USE_ALL: &str =
    "see that every instance is ready, and that the load balancer uses all of them";

/// Runs until `stop`, or ends at once without `rebalance` in the configuration.
pub async fn rebalance(sessions: Arc<Sessions>, stop: CancellationToken) {
    let gateway = sessions.gateway().clone();
    let Some(config) = &gateway.config.rebalance else { return };
    let budget = ReconnectBudget::of(&gateway.config.drain, &gateway.limits.config());
    let mut policy = RebalancePolicy::new(config.clone(), budget);
    while stop.run_until_cancelled(tokio::time::sleep(TICK)).await.is_some() {
        let fleet = gateway.broker.fleet();
        let fleet = fleet.as_ref().filter(|_| gateway.drain.phase() == DrainPhase::Serving);
        let own = gateway.metrics.sessions();
        let decision = policy.decide(own, fleet, Instant::now());
        act(&sessions, own, decision, &stop).await;
    }
}

async fn act(sessions: &Sessions, own: u64, decision: Decision, stop: &CancellationToken) {
    let state = &sessions.gateway().rebalance;
    match decision {
        Decision::Keep => {}
        Decision::Close { count, opened_before, begins } => {
            if begins {
                tracing::info!(
                    sessions = own,
                    "this instance has more sessions than others; closing some of them"
                );
            }
            if count == 0 {
                return;
            }
            let oldest = oldest(sessions.all(), count, opened_before);
            state.closed(oldest.len(), Instant::now());
            for some in oldest.chunks(oldest.len().div_ceil(STEPS).max(1)) {
                for session in some {
                    session.outbox.close(Disconnected::Rebalance, Ending::Finish);
                }
                let pause = tokio::time::sleep(TICK / (2 * STEPS as u32));
                if stop.run_until_cancelled(pause).await.is_none() {
                    return;
                }
            }
        }
        Decision::Done(closed) => {
            state.end();
            tracing::info!(closed, sessions = own, "finished rebalancing");
        }
        Decision::GaveUp(closed) => {
            state.end();
            tracing::warn!(
                closed,
                sessions = own,
                hint = USE_ALL,
                "stopped rebalancing: the other instances did not get the clients"
            );
        }
    }
}

/// The oldest of the sessions that were opened before some time and have connected to a namespace,
/// at most `count`.
fn oldest(
    mut sessions: Vec<Arc<Session>>,
    count: usize,
    opened_before: Instant,
) -> Vec<Arc<Session>> {
    sessions.retain(|session| session.opened < opened_before && session.is_counted());
    if sessions.len() > count {
        sessions.select_nth_unstable_by_key(count, |session| session.opened);
        sessions.truncate(count);
    }
    sessions
}

impl Gateway {
    /// The sessions of this instance by the mean of all that serve in its deployment: 1 where they
    /// are equal, or nothing is known of others.
    pub fn imbalance(&self) -> f64 {
        let own = self.metrics.sessions();
        let others = self.broker.fleet().map(|fleet| fleet.serving).unwrap_or_default();
        let Some(others) = others.into_iter().collect::<Option<Vec<u64>>>() else { return 1.0 };
        let total = own + others.iter().sum::<u64>();
        match total {
            0 => 1.0,
            total => own as f64 * (others.len() + 1) as f64 / total as f64,
        }
    }
}
