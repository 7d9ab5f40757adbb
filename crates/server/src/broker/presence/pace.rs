//! The [`Pace`] at which changes on this instance are taken from the registry.

use std::time::{Duration, Instant};

/// How long after the last changes were taken further ones wait, so that what comes in a burst is told and
/// written together.
const INTERVAL: Duration = Duration::from_millis(5);

/// When changes are to be taken: the first at once, those that follow closely together.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the last ones were taken.
    taken: Option<Instant>,
    due: Option<Instant>,
}

impl Pace {
    /// Something changed.
    pub fn changed(&mut self, now: Instant) {
        let due = self.taken.map_or(now, |taken| now.max(taken + INTERVAL));
        self.due.get_or_insert(due);
    }

    /// When the changes are to be taken; `None`: there are none.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// All changes were taken.
    pub fn taken(&mut self, now: Instant) {
        *self = Pace { taken: Some(now), due: None };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_taken_at_once_and_those_that_follow_closely_together() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert_eq!(pace.due(), None);
        pace.changed(now);
        assert_eq!(pace.due(), Some(now));
        pace.taken(now);
        assert_eq!(pace.due(), None);
        for later in [INTERVAL / 4, INTERVAL / 2] {
            pace.changed(now + later);
            assert_eq!(pace.due(), Some(now + INTERVAL), "after {later:?}");
        }
        pace.taken(now + INTERVAL);
        pace.changed(now + INTERVAL * 3);
        assert_eq!(pace.due(), Some(now + INTERVAL * 3));
    }
}
