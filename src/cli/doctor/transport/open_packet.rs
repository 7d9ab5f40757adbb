//! [`OpenPacket`]: the first packet of an Engine.IO session.

use std::time::Duration;

use serde::Deserialize;

use crate::cli::doctor::fault::Fault;

/// The first packet of an Engine.IO session. Times are in milliseconds.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli::doctor) struct OpenPacket {
    /// The session's id.
    pub(in crate::cli::doctor) sid: String,
    /// The transports that the session can be upgraded to.
    #[serde(default)]
    pub(in crate::cli::doctor) upgrades: Vec<String>,
    ping_interval: u64,
    ping_timeout: u64,
}

impl OpenPacket {
    /// Parses the packet, including its type `0`; `what` names the request for errors.
    ///
    /// # Errors
    /// [`Fault::NotEngineIo`].
    pub(super) fn parse(what: &'static str, text: &str) -> Result<OpenPacket, Fault> {
        let json = text.strip_prefix('0').and_then(|json| serde_json::from_str(json).ok());
        json.ok_or_else(|| Fault::not_engine_io(what, text.as_bytes()))
    }

    /// The time after which a client without a heartbeat gives up.
    pub(in crate::cli::doctor) fn heartbeat_timeout(&self) -> Duration {
        Duration::from_millis(self.ping_interval.saturating_add(self.ping_timeout))
    }

    /// The time between two heartbeats.
    pub(in crate::cli::doctor) fn heartbeat_interval(&self) -> Duration {
        Duration::from_millis(self.ping_interval)
    }
}
