//! [`RateClock`]: when the next step of a steady rate is due.

use std::time::{Duration, Instant};

/// The steps of a steady rate, numbered from zero.
#[derive(Debug)]
pub(super) struct RateClock {
    start: Instant,
    per_second: f64,
    /// The number of steps taken.
    taken: u64,
}

impl RateClock {
    pub(super) fn new(per_second: f64) -> Self {
        RateClock { start: Instant::now(), per_second, taken: 0 }
    }

    /// When the next step is due.
    pub(super) fn next_due(&self) -> Instant {
        self.start + Duration::from_secs_f64(self.taken as f64 / self.per_second)
    }

    /// Takes the next step if it is due, and returns its number.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<u64> {
        (self.next_due() <= now).then(|| {
            self.taken += 1;
            self.taken - 1
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_is_taken_once_and_not_before_it_is_due() {
        let mut clock = RateClock::new(1000.0);
        let start = clock.start;
        assert_eq!(clock.take_due(start), Some(0));
        assert_eq!(clock.take_due(start), None);
        assert_eq!(clock.take_due(start + Duration::from_millis(1)), Some(1));
    }
}
