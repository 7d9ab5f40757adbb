//! The [`Drain`]: sessions are closed evenly, so that their reconnects do not come at once.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Gateway;
use crate::broker::turn::Turn;
use crate::connection::outbox::Ending;
use crate::telemetry::metrics::Disconnected;
use rookery_config as config;

/// How often sessions are closed during the window.
const STEP: Duration = Duration::from_millis(50);

/// Time between two lines of the log about the sessions that are left.
const PROGRESS: Duration = Duration::from_secs(5);

/// Time between two looks whose turn it is.
const LOOK: Duration = Duration::from_millis(250);

/// How long it may take until the others were heard, before nobody is waited for: a little longer
/// than a silent instance is taken for alive.
const KNOWN_WITHIN: Duration = Duration::from_secs(6);

/// How long turns may stay as they are, beside what the drains of two servers take: then a new
/// server does not come up, perhaps for want of the place that this one takes.
const STALLED: Duration = Duration::from_secs(60);

/// Where the process is on its way to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It serves.
    Serving,
    /// It was told to stop: all goes on as before, but the ingress is told.
    Lead,
    /// Sessions are being closed; no new ones.
    Window,
}

/// Whether the process is about to stop.
#[derive(Default)]
pub struct Drain {
    phase: AtomicU8,
    told: OnceLock<Instant>,
    planned: OnceLock<Duration>,
}

impl Drain {
    /// Where it is.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Serving,
            1 => Phase::Lead,
            _ => Phase::Window,
        }
    }

    /// Time since the process was told to stop; `None` before.
    pub fn elapsed(&self) -> Option<Duration> {
        self.told.get().map(Instant::elapsed)
    }

    /// The longest that the drain should take, from the moment the process is told to stop. Until the
    /// window begins nobody knows how long others' turns take; then it is the time that passed, and
    /// the window. A turn that did not come in time was waited for in vain: that is not planned.
    pub fn planned(&self, config: &config::Drain) -> Duration {
        self.planned.get().copied().unwrap_or_else(|| at_most(config))
    }

    /// Goes through lead and window; returns when no session is left, or at `abort`. `turn` says
    /// between the two whether other servers come first.
    pub async fn run(
        &self,
        gateway: &Gateway,
        turn: impl Fn() -> Option<Turn>,
        abort: &CancellationToken,
    ) {
        let (lead, window) = (gateway.config.drain.lead.0, gateway.config.drain.window.0);
        let _ = self.told.set(Instant::now());
        self.phase.store(1, Ordering::Relaxed);
        let sessions = gateway.sessions.len();
        tracing::info!(sessions, lead = %humantime::format_duration(lead), "told to stop");
        if abort.run_until_cancelled(tokio::time::sleep(lead)).await.is_none() {
            return;
        }
        let Some(in_turn) = abort.run_until_cancelled(wait_for(turn, gateway)).await else {
            return;
        };
        let before = if in_turn { self.elapsed().unwrap_or(lead) } else { lead };
        let _ = self.planned.set(before + window);
        self.phase.store(2, Ordering::Relaxed);
        let sessions = gateway.sessions.len();
        tracing::info!(sessions, window = %humantime::format_duration(window), "closing sessions");
        let shed = async {
            tokio::join!(shed(gateway, window), progress(gateway));
        };
        // What does not come for its last packets is not waited for longer than a write may stall.
        let last = window + gateway.limits.config().write_stall.0 + Duration::from_secs(1);
        let ended = abort.run_until_cancelled(tokio::time::timeout(last, shed)).await;
        let seconds = self.elapsed().unwrap_or_default().as_secs_f64();
        match ended {
            Some(Ok(())) => tracing::info!(sessions, seconds, "all sessions are closed"),
            Some(Err(_)) => {
                let left = gateway.sessions.len();
                tracing::warn!(left, sessions, seconds, "some sessions did not close in time");
            }
            None => {}
        }
    }
}

/// The longest that lead, others' turns with another lead, and window take.
fn at_most(config: &config::Drain) -> Duration {
    let (lead, window, patience) = (config.lead.0, config.window.0, config.patience.0);
    if patience.is_zero() { lead + window } else { lead + patience + lead + window }
}

/// Tells how many sessions are left, until there are none.
async fn progress(gateway: &Gateway) {
    let mut told = Instant::now();
    while !gateway.sessions.is_empty() {
        tokio::time::sleep(STEP).await;
        if told.elapsed() >= PROGRESS {
            told = Instant::now();
            tracing::info!(left = gateway.sessions.len(), "still closing sessions");
        }
    }
}

/// Waits for this server's turn in a rollout, at most for `drain.patience`, and no longer than
/// there are sessions. After others' turns the lead is waited once more, so that the reconnects of
/// two servers never come together. False when its turn did not come in time.
async fn wait_for(turn: impl Fn() -> Option<Turn>, gateway: &Gateway) -> bool {
    let drain = &gateway.config.drain;
    let stalled = 2 * (drain.lead.0 + drain.window.0) + STALLED;
    let start = Instant::now();
    if drain.patience.0.is_zero() {
        return true;
    }
    let mut known = turn();
    while known.is_none() && start.elapsed() < KNOWN_WITHIN && !gateway.sessions.is_empty() {
        tokio::time::sleep(LOOK).await;
        known = turn();
    }
    // Where nothing is known, nobody is waited for.
    let mut seen = (known.unwrap_or(Turn::Now), start);
    while seen.0 != Turn::Now && !gateway.sessions.is_empty() {
        tracing::info!(turn = ?seen.0, "waiting for this server's turn to close its sessions");
        if !changes(&mut seen, &turn, gateway, start + drain.patience.0, stalled).await {
            tracing::warn!(turn = ?seen.0, "this server's turn did not come in time");
            return false;
        }
        if seen.0 == Turn::Now {
            tokio::time::sleep(drain.lead.0).await;
            seen = (turn().unwrap_or(Turn::Now), Instant::now());
        }
    }
    true
}

/// Waits until the turns are others, or no session is left; false when they were not in time. What
/// was seen last holds while nothing is known, for as long as one server's drain.
async fn changes(
    seen: &mut (Turn, Instant),
    turn: &impl Fn() -> Option<Turn>,
    gateway: &Gateway,
    until: Instant,
    stalled: Duration,
) -> bool {
    let one_drain = gateway.config.drain.lead.0 + gateway.config.drain.window.0;
    let mut known = Instant::now();
    while !gateway.sessions.is_empty() {
        let gave_up = Instant::now() > until
            || seen.1.elapsed() > stalled
            || known.elapsed() > one_drain + KNOWN_WITHIN;
        if gave_up {
            return false;
        }
        tokio::time::sleep(LOOK).await;
        let Some(now) = turn() else { continue };
        known = Instant::now();
        if now != seen.0 {
            *seen = (now, known);
            return true;
        }
    }
    true
}

async fn shed(gateway: &Gateway, window: Duration) {
    let sessions = gateway.sessions.all();
    let start = Instant::now();
    let mut closed = 0;
    while closed < sessions.len() {
        tokio::time::sleep(STEP.min(window / 20)).await;
        let passed = start.elapsed().as_secs_f64() / window.as_secs_f64().max(f64::MIN_POSITIVE);
        let due = (sessions.len() as f64 * passed).ceil() as usize;
        for session in &sessions[closed..due.clamp(closed, sessions.len())] {
            session.outbox.close(Disconnected::Drain, Ending::Finish);
        }
        closed = due.clamp(closed, sessions.len());
    }
    // Handshakes that were under way when the window began.
    for session in gateway.sessions.all() {
        session.outbox.close(Disconnected::Drain, Ending::Finish);
    }
}
