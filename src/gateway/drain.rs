//! The [`Drain`]: sessions are closed evenly, so that their reconnects do not come at once.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Gateway;
use crate::delivery::outbox::Ending;
use crate::ops::metrics::Disconnected;

/// How often sessions are closed during the window.
const STEP: Duration = Duration::from_millis(50);

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

    /// Goes through lead and window; returns when no session is left, or at `abort`.
    pub async fn run(&self, gateway: &Gateway, abort: &CancellationToken) {
        let (lead, window) = (gateway.config.drain.lead.0, gateway.config.drain.window.0);
        self.phase.store(1, Ordering::Relaxed);
        tracing::info!(lead = %humantime::format_duration(lead), "told to stop");
        if abort.run_until_cancelled(tokio::time::sleep(lead)).await.is_none() {
            return;
        }
        self.phase.store(2, Ordering::Relaxed);
        let sessions = gateway.sessions.len();
        tracing::info!(sessions, window = %humantime::format_duration(window), "closing sessions");
        let shed = async {
            shed(gateway, window).await;
            while !gateway.sessions.is_empty() {
                tokio::time::sleep(STEP).await;
            }
        };
        // What does not come for its last packets is not waited for longer than a write may stall.
        let last = window + gateway.limits.config().write_stall.0 + Duration::from_secs(1);
        let _ = abort.run_until_cancelled(tokio::time::timeout(last, shed)).await;
    }
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
