//! [`FileWatcher`]: notices when a file has changed.

use std::sync::Arc;
use std::time::Duration;

/// The time between two readings of a file.
const INTERVAL: Duration = Duration::from_millis(500);

/// Reads a file periodically and reports each change once, when two readings in a row agree. A file
/// that is just being written is therefore never taken for a complete one: an empty configuration,
/// for example, is valid and opens every room.
pub struct FileWatcher<T> {
    /// Reads the file. Blocking I/O.
    read: Arc<dyn Fn() -> T + Send + Sync>,
    /// The reading that was reported last.
    reported: Option<T>,
    /// A reading that differs from `reported` and has been seen once.
    candidate: Option<T>,
}

impl<T: Clone + PartialEq + Send + 'static> FileWatcher<T> {
    /// Watches what `read`, which may block, returns: the content of the file or why it cannot be
    /// read.
    pub fn new(read: impl Fn() -> T + Send + Sync + 'static) -> Self {
        FileWatcher { read: Arc::new(read), reported: None, candidate: None }
    }

    /// Waits for the next change and returns the new reading. The first reading counts as a change,
    /// since the file may have changed before it was watched. Cancel safe.
    pub async fn changed(&mut self) -> T {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let read = self.read.clone();
            let Ok(reading) = tokio::task::spawn_blocking(move || read()).await else {
                // The runtime is shutting down, which cancels this wait.
                return std::future::pending().await;
            };
            if let Some(settled) = self.observe(reading) {
                return settled;
            }
        }
    }

    /// Takes a reading, and returns it if it equals the one before and has not been reported.
    pub fn observe(&mut self, reading: T) -> Option<T> {
        let reading = Some(reading);
        if reading == self.reported {
            self.candidate = None;
            return None;
        }
        if reading != self.candidate {
            self.candidate = reading;
            return None;
        }
        self.candidate = None;
        self.reported = reading;
        self.reported.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn observed(readings: &[&'static str]) -> Vec<Option<&'static str>> {
        let mut watcher = FileWatcher::new(|| "");
        readings.iter().map(|reading| watcher.observe(*reading)).collect()
    }

    #[test]
    fn a_reading_is_reported_once_when_it_has_settled() {
        assert_eq!(observed(&["a", "a", "a", "a"]), [None, Some("a"), None, None]);
        assert_eq!(observed(&["a", "b", "c", "c"]), [None, None, None, Some("c")]);
    }

    #[test]
    fn a_change_that_is_reverted_is_not_reported() {
        assert_eq!(observed(&["a", "a", "b", "a", "b", "a", "a"])[2..], [None; 5]);
    }

    #[tokio::test]
    async fn the_first_reading_and_each_change_are_reported() {
        let content = Arc::new(AtomicU32::new(1));
        let shared = content.clone();
        let mut watcher = FileWatcher::new(move || shared.load(Ordering::SeqCst));
        assert_eq!(watcher.changed().await, 1);
        content.store(2, Ordering::SeqCst);
        assert_eq!(watcher.changed().await, 2);
    }
}
