//! The [`Expiry`]: the timer that ends a client when its token expires.

use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

/// The wall clock may be set, so a token's expiry is checked at least this often.
const CHECK: Duration = Duration::from_secs(60);

/// When a client's token expires; replaced when the client refreshes its token.
#[derive(Default)]
pub struct Expiry {
    /// Cancels the timer.
    timer: Option<CancellationToken>,
    /// The client is gone: no timer starts any more.
    disconnected: bool,
}

/// A timer that was not cancelled yet.
pub struct ExpiryTimer {
    at: SystemTime,
    cancelled: CancellationToken,
}

impl Expiry {
    /// Cancels the timer, and gives another one where the token expires `at` a time.
    pub fn set(&mut self, at: Option<SystemTime>) -> Option<ExpiryTimer> {
        if let Some(timer) = self.timer.take() {
            timer.cancel();
        }
        let at = at.filter(|_| !self.disconnected)?;
        let cancelled = CancellationToken::new();
        self.timer = Some(cancelled.clone());
        Some(ExpiryTimer { at, cancelled })
    }

    /// The client is gone.
    pub fn end(&mut self) {
        self.disconnected = true;
        self.set(None);
    }
}

impl ExpiryTimer {
    /// Waits until the token expires; false where the timer is cancelled before.
    pub async fn expires(self) -> bool {
        self.cancelled.run_until_cancelled(sleep_until(self.at)).await.is_some()
    }
}

async fn sleep_until(at: SystemTime) {
    while let Ok(left) = at.duration_since(SystemTime::now()) {
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(CHECK)).await;
    }
}
