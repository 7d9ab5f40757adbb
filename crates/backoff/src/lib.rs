//! [`Backoff`]: the delays between attempts to reach a server.

#![forbid(unsafe_code)]

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};

/// Delays that double from a first to a longest one, without end.
///
/// Each delay is a random time between half and all of its nominal length, so that clients that
/// lost the same server do not all reconnect at the same moment.
#[derive(Debug)]
pub struct Backoff {
    builder: ExponentialBuilder,
    delays: ExponentialBackoff,
}

impl Backoff {
    /// Delays whose nominal length grows from `first` to `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        // The jitter adds up to as much again.
        let builder = ExponentialBuilder::new()
            .with_min_delay(first / 2)
            .with_max_delay(longest / 2)
            .with_factor(2.0)
            .without_max_times()
            .with_jitter();
        Backoff { builder, delays: builder.build() }
    }

    /// The delay before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        self.delays.next().expect("the number of attempts is not limited")
    }

    /// Starts again with the first delay, after an attempt succeeded.
    pub fn reset(&mut self) {
        self.delays = self.builder.build();
    }
}

impl Default for Backoff {
    /// From half a second to 30 seconds.
    fn default() -> Self {
        Backoff::new(Duration::from_millis(500), Duration::from_secs(30))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(500);
    const LONGEST: Duration = Duration::from_secs(30);

    #[test]
    fn delays_double_up_to_the_longest_and_lose_at_most_half_to_jitter() {
        let mut backoff = Backoff::default();
        let mut nominal = FIRST;
        for _ in 0..20 {
            let delay = backoff.next_delay();
            assert!(delay >= nominal / 2 && delay <= nominal, "{delay:?} of {nominal:?}");
            nominal = (nominal * 2).min(LONGEST);
        }
        assert_eq!(nominal, LONGEST);
    }

    #[test]
    fn a_reset_starts_again_with_the_first_delay() {
        let mut backoff = Backoff::default();
        for _ in 0..20 {
            backoff.next_delay();
        }
        backoff.reset();
        assert!(backoff.next_delay() <= FIRST);
    }
}
