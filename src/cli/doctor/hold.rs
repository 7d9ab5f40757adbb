//! Holding a connection, and answering its heartbeats.

use std::time::Duration;

use tokio::time::Instant;

use super::fault::Fault;
use super::polling::Polling;
use super::websocket::Socket;

/// Holds a polling session for `limit`, or through one heartbeat, and closes it; gives how long
/// that was.
pub(super) async fn polling(
    mut polling: Polling,
    limit: Option<Duration>,
) -> Result<Duration, Fault> {
    let mut clock = Clock::new(limit, polling.open.silence());
    while let Some(left) = clock.left() {
        let packet = match polling.packet(left).await {
            // What is cut short is our own wait, when the time is up.
            Err(Fault::Silent { .. }) if clock.is_up() => break,
            packet => packet.map_err(|fault| clock.since(fault))?,
        };
        if packet.starts_with('2') {
            polling.post("3").await.map_err(|fault| clock.since(fault))?;
            clock.heard();
        }
    }
    polling.close().await;
    Ok(clock.started.elapsed())
}

/// Holds a WebSocket likewise.
pub(super) async fn socket(mut socket: Socket, limit: Option<Duration>) -> Result<Duration, Fault> {
    let mut clock = Clock::new(limit, socket.open.silence());
    while let Some(left) = clock.left() {
        let packet = match socket.packet(left).await {
            Err(Fault::Silent { .. }) if clock.is_up() => break,
            packet => packet?,
        };
        if packet.starts_with('2') {
            socket.send("3").await?;
            clock.heard();
        }
    }
    socket.close().await;
    Ok(clock.started.elapsed())
}

/// How long a connection is still held, and how long the server may be silent.
struct Clock {
    started: Instant,
    limit: Option<Duration>,
    silence: Duration,
    /// The last heartbeat.
    heard: Instant,
    beats: usize,
}

impl Clock {
    fn new(limit: Option<Duration>, silence: Duration) -> Clock {
        let started = Instant::now();
        Clock { started, limit, silence, heard: started, beats: 0 }
    }

    fn heard(&mut self) {
        self.heard = Instant::now();
        self.beats += 1;
    }

    /// How long to wait for the next packet; nothing when it has been held long enough.
    fn left(&self) -> Option<Duration> {
        let silent = (self.heard + self.silence).saturating_duration_since(Instant::now());
        match self.limit {
            None => (self.beats == 0).then_some(silent),
            Some(limit) => {
                let left = limit.saturating_sub(self.started.elapsed());
                (!left.is_zero()).then_some(left.min(silent))
            }
        }
    }

    /// Whether the time that was asked for is over, and no heartbeat is missing.
    fn is_up(&self) -> bool {
        self.limit.is_some_and(|limit| self.started.elapsed() >= limit)
            && self.heard.elapsed() < self.silence
    }

    /// A cut by polling is about the session, not about its last request.
    fn since(&self, fault: Fault) -> Fault {
        match fault {
            Fault::Silent { what, .. } => Fault::Silent { what, limit: self.heard.elapsed() },
            fault => fault,
        }
    }
}
