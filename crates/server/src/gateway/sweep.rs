//! The sweep: closes sessions that joined no namespace or do not poll for what waits for them, and
//! reports when `limits.connections` is reached.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::limits::{ConnectionLimitEvent, Limits};
use super::session::Sessions;
use crate::connection::outbox::Ending;
use crate::telemetry::metrics::Disconnected;

/// Runs until `stop`. Closes sessions that have sent nothing for `limits.firstPacket`, or have been
/// in no namespace for `socketio.connectTimeout`: socketioxide waits for a session's first namespace only, and in
/// revision 3 not even for that. Closes those too whose clients do not poll for `limits.writeStall`
/// while something waits for them.
pub async fn sweep(sessions: Arc<Sessions>, stop: CancellationToken) {
    let gateway = sessions.gateway();
    let timeout = gateway.config.socketio.connect_timeout.0;
    loop {
        let (first_packet, write_stall) = {
            let limits = gateway.limits.config();
            (limits.first_packet.0, limits.write_stall.0)
        };
        let interval = timeout.min(first_packet).min(write_stall) / 4;
        let interval = interval.clamp(Duration::from_millis(50), Duration::from_secs(5));
        if stop.run_until_cancelled(tokio::time::sleep(interval)).await.is_none() {
            return;
        }
        log_connection_limit(&gateway.limits);
        let now = Instant::now();
        for session in sessions.all() {
            session.outbox.end_if_stalled(now);
            if session.is_unused(first_packet, timeout) {
                session.outbox.close(Disconnected::Client, Ending::Finish);
            }
        }
    }
}

/// One line when clients begin to be refused because of `limits.connections`, one when that ends.
fn log_connection_limit(limits: &Limits) {
    let limit = limits.config().connections.get();
    match limits.connection_limit_event() {
        Some(ConnectionLimitEvent::Reached) => {
            tracing::warn!(limit, "limits.connections is reached: refusing new clients");
        }
        Some(ConnectionLimitEvent::Cleared { refused }) => {
            tracing::info!(limit, refused, "accepting new clients again");
        }
        None => {}
    }
}
