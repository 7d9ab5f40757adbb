//! [`Sessions`]: opens sessions of each kind, connected to the namespace.

use super::connector::Connector;
use super::polling::PollingSession;
use super::websocket::WebSocketSession;
use crate::cli::doctor::fault::Fault;
use rookery_client::Target;

/// Opens sessions with one target.
pub(in crate::cli::doctor) struct Sessions {
    /// The server, the namespace and the token.
    pub(in crate::cli::doctor) target: Target,
    /// How to connect to the server.
    pub(in crate::cli::doctor) connector: Connector,
}

impl Sessions {
    /// Opens a session by polling.
    pub(in crate::cli::doctor) async fn polling(&self) -> Result<PollingSession, Fault> {
        let mut session = PollingSession::open(&self.connector, &self.target).await?;
        session.connect(&self.target).await?;
        Ok(session)
    }

    /// Opens a session by polling and upgrades it to a WebSocket; `None` when the server offers no
    /// upgrade.
    pub(in crate::cli::doctor) async fn upgraded(&self) -> Result<Option<WebSocketSession>, Fault> {
        let polling = PollingSession::open(&self.connector, &self.target).await?;
        if !polling.open.upgrades.iter().any(|name| name == "websocket") {
            polling.close().await;
            return Ok(None);
        }
        let mut session = WebSocketSession::upgrade(polling).await?;
        session.connect(&self.target).await?;
        Ok(Some(session))
    }

    /// Opens a session with a WebSocket from the start.
    pub(in crate::cli::doctor) async fn websocket(&self) -> Result<WebSocketSession, Fault> {
        let mut session = WebSocketSession::open(&self.connector, &self.target).await?;
        session.connect(&self.target).await?;
        Ok(session)
    }
}
