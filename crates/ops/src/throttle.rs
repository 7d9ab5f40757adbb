//! The [`Throttle`]: log lines that others can cause endlessly, a few at a time.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus::IntCounter;

/// Lines of one kind in one [`PERIOD`].
pub const LINES: u32 = 5;

/// The time in which so many lines of one kind are written.
pub const PERIOD: Duration = Duration::from_secs(10);

/// Lets [`LINES`] lines of one kind through in each [`PERIOD`], and counts the others: in the next
/// line that is let through, and in `rookery_log_lines_suppressed_total`, except where there is no
/// such metric: by default. Used by [`limited!`].
#[derive(Debug, Default)]
pub struct Throttle {
    quota: Mutex<Quota>,
    total: Option<IntCounter>,
}

/// The account of one kind of line.
#[derive(Debug, Default)]
struct Quota {
    since: Option<Instant>,
    used: u32,
    suppressed: u64,
}

impl Throttle {
    /// Nothing was written yet; `total` counts what is not.
    pub fn new(total: &IntCounter) -> Self {
        Throttle { quota: Mutex::default(), total: Some(total.clone()) }
    }

    /// How many lines were suppressed since the last one, where another may be written now.
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

/// A log line of a level, such as `info`, that a [`Throttle`] may suppress. `suppressed` says how
/// many it suppressed before; a line that is suppressed is written at `debug` all the same.
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
    fn a_few_lines_pass_in_each_period_and_the_next_one_tells_of_the_others() {
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
    fn what_is_suppressed_is_counted() {
        let total = IntCounter::new("n", "n").unwrap();
        let throttle = Throttle::new(&total);
        let written = (0..20).filter(|_| throttle.admit().is_some()).count();
        assert_eq!(written as u64 + total.get(), 20);
        assert!(written >= LINES as usize && total.get() > 0, "{written}");
    }
}
