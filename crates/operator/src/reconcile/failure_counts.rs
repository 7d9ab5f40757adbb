//! [`FailureCounts`]: how long to wait before a failed reconciliation is retried.

use std::collections::HashMap;
use std::time::Duration;

use kube::api::ObjectMeta;
use parking_lot::Mutex;

/// Delay before the first retry; it doubles with each consecutive failure.
const MIN_BACKOFF: Duration = Duration::from_millis(500);

/// Maximum delay before a retry.
const MAX_BACKOFF: Duration = Duration::from_secs(120);

/// Consecutive failures by resource uid, for exponential backoff.
#[derive(Debug, Default)]
pub struct FailureCounts(Mutex<HashMap<String, u32>>);

impl FailureCounts {
    /// Maximum number of resources that are tracked. Beyond it, all counts are reset.
    const MAX: usize = 10_000;

    /// Counts a failure. Returns the delay before the next attempt.
    pub(super) fn next_backoff(&self, resource: &ObjectMeta) -> Duration {
        let mut failures = self.0.lock();
        if failures.len() >= Self::MAX {
            failures.clear();
        }
        let count = failures.entry(key(resource)).or_default();
        *count = count.saturating_add(1);
        MIN_BACKOFF.saturating_mul(2_u32.saturating_pow(*count - 1)).min(MAX_BACKOFF)
    }

    /// Forgets the failures of a resource that was reconciled.
    pub(super) fn forget(&self, resource: &ObjectMeta) {
        self.0.lock().remove(&key(resource));
    }
}

fn key(resource: &ObjectMeta) -> String {
    resource.uid.clone().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_two_minutes_and_resets_after_a_success() {
        let resource = ObjectMeta { uid: Some("1".to_owned()), ..ObjectMeta::default() };
        let failures = FailureCounts::default();
        let waits: Vec<_> = (0..40).map(|_| failures.next_backoff(&resource)).collect();
        assert_eq!(waits[..3], [500, 1000, 2000].map(Duration::from_millis));
        assert_eq!(waits[39], MAX_BACKOFF);
        assert!(waits.is_sorted());
        failures.forget(&resource);
        assert_eq!(failures.next_backoff(&resource), MIN_BACKOFF);
    }
}
