//! [`StatusWrites`]: keeps a status from being written twice, and connection counts from being
//! written as often as they change.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::crd::RookeryStatus;

/// How long a count is shown before it is replaced, if nothing else of the status changes.
const INTERVAL: Duration = Duration::from_secs(60);

/// The most resources that are tracked. Beyond it, all writes are forgotten.
const MAX_TRACKED: usize = 10_000;

/// The last write of each resource's status, by uid.
#[derive(Debug, Default)]
pub struct StatusWrites(Mutex<HashMap<String, StatusWrite>>);

#[derive(Debug)]
struct StatusWrite {
    at: Instant,
    /// What was written, and the version of the resource that it was written over. `None` once a
    /// later version was seen.
    unseen: Option<(String, RookeryStatus)>,
}

impl StatusWrites {
    /// The status that the cluster has, if the cache shows `cached` at this version of the resource:
    /// what was written last, until the cache shows a later version. An event of an object that the
    /// resource owns may come before that of its own status.
    pub fn current(
        &self,
        uid: &str,
        version: Option<&str>,
        cached: Option<&RookeryStatus>,
    ) -> Option<RookeryStatus> {
        if let Some(write) = self.0.lock().get_mut(uid) {
            match &write.unseen {
                Some((over, status)) if Some(over.as_str()) == version => {
                    return Some(status.clone());
                }
                _ => write.unseen = None,
            }
        }
        cached.cloned()
    }

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
        let written = self.0.lock().get(uid).map(|write| write.at);
        match written.filter(|_| only_connections) {
            Some(written) => INTERVAL.saturating_sub(now.duration_since(written)),
            None => Duration::ZERO,
        }
    }

    /// Records that `status` was written, over this version of the resource.
    pub fn written(&self, uid: &str, version: Option<&str>, status: RookeryStatus, now: Instant) {
        let mut writes = self.0.lock();
        if writes.len() >= MAX_TRACKED && !writes.contains_key(uid) {
            writes.clear();
        }
        let unseen = version.map(|version| (version.to_owned(), status));
        writes.insert(uid.to_owned(), StatusWrite { at: now, unseen });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_connections(connections: i64) -> RookeryStatus {
        RookeryStatus { connections, ..RookeryStatus::default() }
    }

    #[test]
    fn connections_alone_are_written_once_a_minute_and_with_anything_else_at_once() {
        let writes = StatusWrites::default();
        let start = Instant::now();
        let (before, more) = (with_connections(1), with_connections(2));
        assert_eq!(writes.wait("a", Some(&before), &more, start), Duration::ZERO, "the first");
        writes.written("a", Some("1"), before.clone(), start);
        let soon = start + Duration::from_secs(10);
        assert_eq!(writes.wait("a", Some(&before), &more, soon), Duration::from_secs(50));
        assert_eq!(writes.wait("b", Some(&before), &more, soon), Duration::ZERO);
        let scaled = RookeryStatus { replicas: 3, ..more.clone() };
        assert_eq!(writes.wait("a", Some(&before), &scaled, soon), Duration::ZERO);
        assert_eq!(writes.wait("a", None, &more, soon), Duration::ZERO);
        assert_eq!(writes.wait("a", Some(&before), &more, start + 2 * INTERVAL), Duration::ZERO);
    }

    #[test]
    fn a_status_that_the_cache_does_not_show_yet_counts_as_written() {
        let writes = StatusWrites::default();
        let (old, new, later) = (with_connections(1), with_connections(2), with_connections(3));
        let current = |version: &str, cached: &RookeryStatus| {
            writes.current("a", Some(version), Some(cached))
        };
        assert_eq!(current("7", &old), Some(old.clone()));
        writes.written("a", Some("7"), new.clone(), Instant::now());
        assert_eq!(current("7", &old), Some(new.clone()), "the cache is behind");
        assert_eq!(writes.current("b", Some("7"), None), None, "another resource");
        // The cache is ahead of the write.
        assert_eq!(current("9", &later), Some(later.clone()));
        assert_eq!(current("7", &later), Some(later));
    }
}
