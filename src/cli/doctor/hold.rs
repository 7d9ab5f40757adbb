//! Holds a session open and answers its heartbeats.

use std::time::Duration;

use tokio::time::Instant;

use super::fault::Fault;
use super::transport::polling::PollingSession;
use super::transport::websocket::WebSocketSession;

/// Holds a polling session for `limit`, or through one heartbeat, closes it, and returns how long
/// it was held.
pub(super) async fn polling(
    mut session: PollingSession,
    limit: Option<Duration>,
) -> Result<Duration, Fault> {
    let mut clock = Clock::new(limit, session.open.heartbeat_timeout());
    while let Some(left) = clock.left() {
        let packet = match session.packet(left).await {
            // The timeout was the end of the time to hold the session.
            Err(Fault::TimedOut { .. }) if clock.is_over() => break,
            packet => packet.map_err(|fault| clock.since_heartbeat(fault))?,
        };
        if packet.starts_with('2') {
            session.post("3").await.map_err(|fault| clock.since_heartbeat(fault))?;
            clock.heartbeat();
        }
    }
    session.close().await;
    Ok(clock.started.elapsed())
}

/// Holds a session over a WebSocket in the same way.
pub(super) async fn websocket(
    mut session: WebSocketSession,
    limit: Option<Duration>,
) -> Result<Duration, Fault> {
    let mut clock = Clock::new(limit, session.open.heartbeat_timeout());
    while let Some(left) = clock.left() {
        let packet = match session.packet(left).await {
            Err(Fault::TimedOut { .. }) if clock.is_over() => break,
            packet => packet?,
        };
        if packet.starts_with('2') {
            session.send("3").await?;
            clock.heartbeat();
        }
    }
    session.close().await;
    Ok(clock.started.elapsed())
}

/// How long a session is still held, and when its next heartbeat must arrive.
struct Clock {
    started: Instant,
    limit: Option<Duration>,
    heartbeat_timeout: Duration,
    last_heartbeat: Instant,
    heartbeats: usize,
}

impl Clock {
    fn new(limit: Option<Duration>, heartbeat_timeout: Duration) -> Clock {
        let started = Instant::now();
        Clock { started, limit, heartbeat_timeout, last_heartbeat: started, heartbeats: 0 }
    }

    fn heartbeat(&mut self) {
        self.last_heartbeat = Instant::now();
        self.heartbeats += 1;
    }

    /// How long to wait for the next packet; `None` when the session was held long enough.
    fn left(&self) -> Option<Duration> {
        let silent = (self.last_heartbeat + self.heartbeat_timeout)
            .saturating_duration_since(Instant::now());
        match self.limit {
            None => (self.heartbeats == 0).then_some(silent),
            Some(limit) => {
                let left = limit.saturating_sub(self.started.elapsed());
                (!left.is_zero()).then_some(left.min(silent))
            }
        }
    }

    /// Whether the time to hold the session is over and no heartbeat is overdue.
    fn is_over(&self) -> bool {
        self.limit.is_some_and(|limit| self.started.elapsed() >= limit)
            && self.last_heartbeat.elapsed() < self.heartbeat_timeout
    }

    /// Makes a timeout of one poll one of the session, which lasts since the last heartbeat.
    fn since_heartbeat(&self, fault: Fault) -> Fault {
        match fault {
            Fault::TimedOut { what, .. } => {
                Fault::TimedOut { what, limit: self.last_heartbeat.elapsed() }
            }
            fault => fault,
        }
    }
}
