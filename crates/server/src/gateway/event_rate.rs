//! The [`EventRate`]: how many events, and bytes of them, one client may send.

use std::fmt;
use std::time::Instant;

use super::token_bucket::TokenBucket;
use crate::telemetry::metrics::Rejected;
use rookery_config::Limits;

/// The events and bytes that a client may still send.
pub struct EventRate {
    events: TokenBucket,
    bytes: TokenBucket,
}

/// A client sends more than a limit allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateExceeded {
    /// More than `limits.eventsPerSecond`, which it holds.
    Events(u32),
    /// More than `limits.bytesPerSecond`, which it holds.
    Bytes(u32),
}

impl EventRate {
    /// All that is allowed in a second.
    pub fn new(limits: &Limits, now: Instant) -> Self {
        EventRate {
            events: TokenBucket::full(limits.events_per_second, now),
            bytes: TokenBucket::full(bytes_per_second(limits), now),
        }
    }

    /// Takes a permit for an event of this many bytes. The first event beyond the bytes of a second
    /// is permitted, however large; those after it only when its bytes are made up for.
    ///
    /// # Errors
    /// The limit that is exceeded.
    pub fn take(
        &mut self,
        bytes: usize,
        limits: &Limits,
        now: Instant,
    ) -> Result<(), RateExceeded> {
        if !self.events.take(limits.events_per_second, now) {
            return Err(RateExceeded::Events(limits.events_per_second));
        }
        let rate = bytes_per_second(limits);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        if !self.bytes.overdraw(bytes, rate, now) {
            return Err(RateExceeded::Bytes(rate));
        }
        Ok(())
    }
}

impl RateExceeded {
    /// The limit, as a label of `rookery_rejected_total`.
    pub fn reason(self) -> Rejected {
        match self {
            RateExceeded::Events(_) => Rejected::Events,
            RateExceeded::Bytes(_) => Rejected::Bytes,
        }
    }
}

impl fmt::Display for RateExceeded {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            RateExceeded::Events(limit) => write!(f, "more than {limit} events per second"),
            RateExceeded::Bytes(limit) => write!(f, "more than {limit} bytes per second"),
        }
    }
}

fn bytes_per_second(limits: &Limits) -> u32 {
    u32::try_from(limits.bytes_per_second.0).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn events_and_bytes_are_limited_apart() {
        let mut limits = Limits { events_per_second: 3, ..Limits::default() };
        limits.bytes_per_second.0 = 1_000;
        let start = Instant::now();
        let mut rate = EventRate::new(&limits, start);
        assert_eq!(rate.take(10, &limits, start), Ok(()));
        assert_eq!(rate.take(5_000, &limits, start), Ok(()));
        assert_eq!(rate.take(1, &limits, start), Err(RateExceeded::Bytes(1_000)));
        assert_eq!(rate.take(1, &limits, start), Err(RateExceeded::Events(3)));
        let later = start + Duration::from_secs(3);
        assert_eq!(rate.take(1, &limits, later), Err(RateExceeded::Bytes(1_000)));
        assert_eq!(rate.take(1, &limits, later + Duration::from_secs(2)), Ok(()));
    }
}
