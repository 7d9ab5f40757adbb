//! [`ConnectionPace`]: keeps connection counts from being written as often as they change.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::crd::RookeryStatus;

/// How long a count is shown before it is replaced, if nothing else of the status changes.
const INTERVAL: Duration = Duration::from_secs(60);

/// The most resources that are tracked. Beyond it, all times are forgotten.
const MAX_TRACKED: usize = 10_000;

/// When the status of each resource was last written, by uid.
#[derive(Debug, Default)]
pub struct ConnectionPace(Mutex<HashMap<String, Instant>>);

impl ConnectionPace {
    /// How long to wait before `status` is written over `before`: a minute after the last write if
    /// only the number of connections differs, else no time.
    pub fn wait(
        &self,
        uid: &str,
        before: Option<&RookeryStatus>,
        status: &RookeryStatus,
        now: Instant,
    ) -> Duration {
        let only_connections = before.is_some_and(|before| {
            RookeryStatus { connections: status.connections, ..before.clone() } == *status
        });
        let written = self.0.lock().get(uid).copied();
        match written.filter(|_| only_connections) {
            Some(written) => INTERVAL.saturating_sub(now.duration_since(written)),
            None => Duration::ZERO,
        }
    }

    /// Records a write.
    pub fn written(&self, uid: &str, now: Instant) {
        let mut times = self.0.lock();
        if times.len() >= MAX_TRACKED {
            times.clear();
        }
        times.insert(uid.to_owned(), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_alone_are_written_once_a_minute_and_with_anything_else_at_once() {
        let pace = ConnectionPace::default();
        let start = Instant::now();
        let before = RookeryStatus { connections: 1, ..RookeryStatus::default() };
        let more = RookeryStatus { connections: 2, ..RookeryStatus::default() };
        assert_eq!(pace.wait("a", Some(&before), &more, start), Duration::ZERO, "the first");
        pace.written("a", start);
        let soon = start + Duration::from_secs(10);
        assert_eq!(pace.wait("a", Some(&before), &more, soon), Duration::from_secs(50));
        assert_eq!(pace.wait("b", Some(&before), &more, soon), Duration::ZERO);
        let scaled = RookeryStatus { replicas: 3, ..more.clone() };
        assert_eq!(pace.wait("a", Some(&before), &scaled, soon), Duration::ZERO);
        assert_eq!(pace.wait("a", None, &more, soon), Duration::ZERO);
        assert_eq!(pace.wait("a", Some(&before), &more, start + 2 * INTERVAL), Duration::ZERO);
    }
}
