//! [`Plan`]: what the doctor checks.

use std::time::Duration;

use super::transport::sessions::Sessions;

/// What the doctor checks.
pub(super) struct Plan {
    /// Opens the sessions.
    pub(super) sessions: Sessions,
    /// How long sessions are held; `None`: through one heartbeat.
    pub(super) hold: Option<Duration>,
    /// How long the service may take to become available.
    pub(super) wait: Duration,
    /// The origin of a page that must be allowed to connect.
    pub(super) origin: Option<String>,
    /// Whether polling is checked.
    pub(super) polling: bool,
}
