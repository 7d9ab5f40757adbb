//! The drain: sessions are closed evenly over a window and within the reconnect budget, so that
//! their clients do not all reconnect at once.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::drain_pace::DrainPace;
use super::session::Sessions;
use crate::broker::{DrainOrder, Fleet};
use crate::connection::outbox::Ending;
use crate::telemetry::metrics::Disconnected;
use rookery_config::{self as config, ClosingOrder};

/// How often sessions are closed during the window.
const STEP: Duration = Duration::from_millis(50);

/// Time between two log lines about the sessions that are left.
const PROGRESS: Duration = Duration::from_secs(5);

/// How often this server looks whether it is its turn.
const POLL: Duration = Duration::from_millis(250);

/// How long to wait for the heartbeats of the other servers before the drain goes on without
/// them: a little longer than a silent instance counts as alive.
const HEARTBEATS_WITHIN: Duration = Duration::from_secs(6);

/// How long the order may stay the same, in addition to the drains of two servers, before it
/// counts as stalled: a new server does not start, perhaps because this one takes up its room.
const STALLED: Duration = Duration::from_secs(60);

/// Drains: waits for the lead and for this server's `turn` in a rollout, then closes all sessions
/// over the window. Returns when none is left, when the last ones did not close in time, or on
/// `abort`.
pub async fn drain(
    sessions: &Sessions,
    turn: impl Fn() -> Option<DrainOrder>,
    abort: &CancellationToken,
) {
    let gateway = sessions.gateway();
    let (config, state) = (&gateway.config.drain, &gateway.drain);
    let (lead, window) = (config.lead.0, config.window.0);
    state.begin();
    let open = sessions.len();
    tracing::info!(
        sessions = open,
        lead = %humantime::format_duration(lead),
        "received a stop signal; draining"
    );
    if abort.run_until_cancelled(tokio::time::sleep(lead)).await.is_none() {
        return;
    }
    let waited = wait_for_turn(turn, sessions, config);
    let Some(in_turn) = abort.run_until_cancelled(waited).await else { return };
    // A turn that did not come in time is not part of the plan.
    let before = if in_turn { state.elapsed().unwrap_or(lead) } else { lead };
    let longest = config.longest_window();
    state.begin_window(before + longest);
    let open = sessions.len();
    let pace = DrainPace::new(open, config, &gateway.limits.config());
    tracing::info!(
        sessions = open,
        window = %humantime::format_duration(window),
        "closing sessions"
    );
    let close = async {
        tokio::join!(close_all(sessions, pace), log_progress(sessions));
    };
    // Clients that do not fetch their last packets get no longer than a write may stall.
    let limit = longest + gateway.limits.config().write_stall.0 + Duration::from_secs(1);
    let closed = abort.run_until_cancelled(tokio::time::timeout(limit, close)).await;
    let seconds = state.elapsed().unwrap_or_default().as_secs_f64();
    match closed {
        Some(Ok(())) => tracing::info!(sessions = open, seconds, "all sessions are closed"),
        Some(Err(_)) => {
            let left = sessions.len();
            tracing::warn!(left, sessions = open, seconds, "some sessions did not close in time");
        }
        None => {}
    }
}

/// Closes all sessions at `pace`.
async fn close_all(sessions: &Sessions, pace: DrainPace) {
    let gateway = sessions.gateway();
    let all = sessions.all();
    let (start, step) = (Instant::now(), STEP.min(gateway.config.drain.window.0 / 20));
    let (mut last, mut closed, mut allowed) = (start, 0, 0.0);
    // The last known fleet holds while nothing is known.
    let mut fleet = Fleet::default();
    while closed < all.len() {
        tokio::time::sleep(step).await;
        fleet = gateway.broker.fleet().unwrap_or(fleet);
        let now = Instant::now();
        let rate = pace.per_second(all.len() - closed, now - start, &fleet);
        allowed += rate * (now - last).as_secs_f64();
        last = now;
        // An infinite rate for no time is no number: that is all of them.
        let due = if allowed.is_nan() { all.len() } else { allowed.ceil() as usize };
        let due = due.clamp(closed, all.len());
        for session in &all[closed..due] {
            session.outbox.close(Disconnected::Drain, Ending::Finish);
        }
        closed = due;
    }
    // Handshakes that were under way when the window began.
    for session in sessions.all() {
        session.outbox.close(Disconnected::Drain, Ending::Finish);
    }
}

/// Logs how many sessions are left, until there are none.
async fn log_progress(sessions: &Sessions) {
    let mut logged = Instant::now();
    while !sessions.is_empty() {
        tokio::time::sleep(STEP).await;
        if logged.elapsed() >= PROGRESS {
            logged = Instant::now();
            tracing::info!(left = sessions.len(), "still closing sessions");
        }
    }
}

/// Waits for this server's turn in a rollout, for `drain.patience` at most and only while there
/// are sessions. After the turns of other servers the lead is waited once more, so that the
/// reconnects of two servers never overlap. False when the turn did not come in time.
async fn wait_for_turn(
    turn: impl Fn() -> Option<DrainOrder>,
    sessions: &Sessions,
    config: &config::Drain,
) -> bool {
    let start = Instant::now();
    if config.patience.0.is_zero() {
        return true;
    }
    // Instances that close their sessions together wait for those that still serve only.
    let turn = || match turn() {
        Some(DrainOrder::OthersFirst(_)) if config.order == ClosingOrder::Together => {
            Some(DrainOrder::Now)
        }
        order => order,
    };
    let mut known = turn();
    while known.is_none() && start.elapsed() < HEARTBEATS_WITHIN && !sessions.is_empty() {
        tokio::time::sleep(POLL).await;
        known = turn();
    }
    // Where nothing is known of other servers, none is waited for.
    let mut current = (known.unwrap_or(DrainOrder::Now), start);
    while current.0 != DrainOrder::Now && !sessions.is_empty() {
        tracing::info!(turn = ?current.0, "waiting for this server's turn to close its sessions");
        if !turn_changes(&mut current, &turn, sessions, config, start).await {
            tracing::warn!(turn = ?current.0, "this server's turn did not come in time");
            return false;
        }
        if current.0 == DrainOrder::Now {
            tokio::time::sleep(config.lead.0).await;
            current = (turn().unwrap_or(DrainOrder::Now), Instant::now());
        }
    }
    true
}

/// Waits until the turn is another one, or no session is left; false when that took too long.
/// The last known turn holds while nothing is known, for as long as one server's drain. `start` is
/// when this server began to wait.
async fn turn_changes(
    current: &mut (DrainOrder, Instant),
    turn: &impl Fn() -> Option<DrainOrder>,
    sessions: &Sessions,
    config: &config::Drain,
    start: Instant,
) -> bool {
    let one_drain = config.lead.0 + config.window.0;
    let mut known = Instant::now();
    while !sessions.is_empty() {
        let gave_up = Instant::now() > start + config.patience.0
            || current.1.elapsed() > 2 * one_drain + STALLED
            || known.elapsed() > one_drain + HEARTBEATS_WITHIN;
        if gave_up {
            return false;
        }
        tokio::time::sleep(POLL).await;
        let Some(now) = turn() else { continue };
        known = Instant::now();
        if now != current.0 {
            *current = (now, known);
            return true;
        }
    }
    true
}
