//! The [`DrainState`]: how far this instance is in its drain.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use rookery_config as config;

/// The phases of an instance's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainPhase {
    /// The instance serves.
    Serving,
    /// The instance was told to stop. It serves as before while the ingress takes note.
    Lead,
    /// Sessions are being closed; no new ones are opened.
    Window,
}

/// How far this instance is in its drain.
#[derive(Default)]
pub struct DrainState {
    phase: AtomicU8,
    begun: OnceLock<Instant>,
    planned: OnceLock<Duration>,
}

impl DrainState {
    /// The phase that the instance is in.
    pub fn phase(&self) -> DrainPhase {
        match self.phase.load(Ordering::Relaxed) {
            0 => DrainPhase::Serving,
            1 => DrainPhase::Lead,
            _ => DrainPhase::Window,
        }
    }

    /// Time since the process was told to stop; `None` before.
    pub fn elapsed(&self) -> Option<Duration> {
        self.begun.get().map(Instant::elapsed)
    }

    /// The longest that the drain should take, from the moment the process is told to stop. How
    /// long the turns of other servers take is known when the window begins; until then the
    /// configured maximum stands for it.
    pub fn planned(&self, config: &config::Drain) -> Duration {
        self.planned.get().copied().unwrap_or_else(|| at_most(config))
    }

    /// Enters the lead.
    pub fn begin(&self) {
        let _ = self.begun.set(Instant::now());
        self.phase.store(1, Ordering::Relaxed);
    }

    /// Enters the window; the whole drain should take no longer than `planned`.
    pub fn begin_window(&self, planned: Duration) {
        let _ = self.planned.set(planned);
        self.phase.store(2, Ordering::Relaxed);
    }
}

/// The longest that the lead, the turns of other servers with another lead, and the window take.
fn at_most(config: &config::Drain) -> Duration {
    let (lead, window, patience) = (config.lead.0, config.longest_window(), config.patience.0);
    if patience.is_zero() { lead + window } else { lead + patience + lead + window }
}
