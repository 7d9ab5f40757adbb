//! [`Throttle`]: limits the rate of log lines that clients can cause.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus::IntCounter;

/// The most lines of one kind in one [`PERIOD`].
pub const LINES: u32 = 5;

/// The period in which at most [`LINES`] lines of one kind are written.
pub const PERIOD: Duration = Duration::from_secs(10);

/// Admits [`LINES`] lines of one kind in each [`PERIOD`] and counts the others: the next admitted line
/// has their number, and [`Throttle::new`] takes a metric that counts them. Used by [`limited!`].
#[derive(Debug, Default)]
pub struct Throttle {
    quota: Mutex<Quota>,
    total: Option<IntCounter>,
}

/// The lines of one kind in the current period.
#[derive(Debug, Default)]
struct Quota {
    /// When the period began; `None` before the first line.
    since: Option<Instant>,
    /// The lines that were admitted in the period.
    used: u32,
    /// The lines that were suppressed since the last one that was admitted.
    suppressed: u64,
}

impl Throttle {
    /// Creates a throttle whose suppressed lines `total` counts.
    pub fn new(total: &IntCounter) -> Self {
        Throttle { quota: Mutex::default(), total: Some(total.clone()) }
    }

    /// Admits a line, and returns the number of lines that were suppressed since the last admitted
    /// one; `None` if this line is to be suppressed.
    pub fn admit(&self) -> Option<u64> {
        let admitted = self.quota.lock().admit(Instant::now());
        if let (None, Some(total)) = (admitted, &self.total) {
            total.inc();
        }
        admitted
    }
}

impl Quota {
    fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= PERIOD) {
            (self.since, self.used) = (Some(now), 0);
        }
        if self.used == LINES {
            self.suppressed += 1;
            return None;
        }
        self.used += 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

/// Logs a line at a level, such as `info`, unless a [`Throttle`] suppresses it; then it is logged at
/// `debug`. The field `suppressed` has the number of lines that were suppressed before.
#[macro_export]
macro_rules! limited {
    ($throttle:expr, $level:ident, $($line:tt)+) => {
        match $throttle.admit() {
            Some(0) => tracing::$level!($($line)+),
            Some(suppressed) => tracing::$level!(suppressed, $($line)+),
            None => tracing::debug!($($line)+),
        }
    };
}
pub use crate::limited;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_lines_are_admitted_per_period_and_the_next_counts_the_others() {
        let mut quota = Quota::default();
        let start = Instant::now();
        let lines = (0..100).filter_map(|n| quota.admit(start + Duration::from_millis(n)));
        assert_eq!(lines.collect::<Vec<_>>(), vec![0; LINES as usize]);
        let just_before = start + PERIOD - Duration::from_millis(1);
        assert_eq!(quota.admit(just_before), None);
        assert_eq!(quota.admit(start + PERIOD), Some(100 - u64::from(LINES) + 1));
        assert_eq!(quota.admit(start + PERIOD), Some(0));
    }

    #[test]
    fn suppressed_lines_are_counted() {
        let total = IntCounter::new("n", "n").unwrap();
        let throttle = Throttle::new(&total);
        let written = (0..20).filter(|_| throttle.admit().is_some()).count();
        assert_eq!(written as u64 + total.get(), 20);
        assert!(written >= LINES as usize && total.get() > 0, "{written}");
    }
}
