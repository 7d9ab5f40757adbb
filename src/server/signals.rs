//! The signals that tell the process to stop.

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// Takes over the signals.
///
/// # Errors
/// When the system refuses.
pub fn listen() -> anyhow::Result<Signals> {
    let take = |kind| signal(kind).context("signals cannot be taken over");
    Ok(Signals {
        terminate: take(SignalKind::terminate())?,
        interrupt: take(SignalKind::interrupt())?,
    })
}

impl Signals {
    /// Waits for the next of them.
    pub async fn first(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
