//! A [`TokenBucket`]: a rate limit with a burst of one second.

use std::time::{Duration, Instant};

/// A token bucket that refills evenly. It holds at most one second's worth of tokens; the rate is
/// passed to each call, because a configuration reload may change it.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    tokens: f64,
    refilled: Instant,
}

impl TokenBucket {
    /// A bucket with `rate` tokens.
    pub fn full(rate: u32, now: Instant) -> Self {
        TokenBucket { tokens: f64::from(rate), refilled: now }
    }

    /// Takes one token if there is one. `rate` is in tokens per second.
    pub fn take(&mut self, rate: u32, now: Instant) -> bool {
        self.take_many(1, rate, rate.max(1), now)
    }

    /// Takes `count` tokens if there are as many, of a bucket that holds `capacity`. `rate` is in
    /// tokens per second.
    pub fn take_many(&mut self, count: u32, rate: u32, capacity: u32, now: Instant) -> bool {
        self.refill(rate, capacity, now);
        let taken = self.tokens >= f64::from(count);
        if taken {
            self.tokens -= f64::from(count);
        }
        taken
    }

    /// Takes `count` tokens if there is any, also more than there are: then nothing can be taken
    /// until the bucket has refilled. `rate` is in tokens per second.
    pub fn overdraw(&mut self, count: u32, rate: u32, now: Instant) -> bool {
        self.refill(rate, rate.max(1), now);
        let is_any = self.tokens > 0.0;
        if is_any {
            self.tokens -= f64::from(count);
        }
        is_any
    }

    /// Takes `count` tokens, also more than there are: returns how long it takes to make up for those.
    /// `rate` is in tokens per second.
    pub fn owe(&mut self, count: usize, rate: u32, now: Instant) -> Duration {
        self.refill(rate, rate.max(1), now);
        self.tokens -= count as f64;
        Duration::from_secs_f64((-self.tokens).max(0.0) / f64::from(rate.max(1)))
    }

    /// Whether there is a token, of a bucket that holds `capacity`.
    pub fn has_any(&mut self, rate: u32, capacity: u32, now: Instant) -> bool {
        self.refill(rate, capacity, now);
        self.tokens >= 1.0
    }

    fn refill(&mut self, rate: u32, capacity: u32, now: Instant) {
        let passed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.tokens = (self.tokens + passed * f64::from(rate)).min(f64::from(capacity));
        self.refilled = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_refills_evenly() {
        let start = Instant::now();
        let mut bucket = TokenBucket::full(2, start);
        assert!(bucket.take(2, start) && bucket.take(2, start) && !bucket.take(2, start));
        assert!(bucket.take(2, start + Duration::from_millis(500)));
        assert!(!bucket.take(2, start + Duration::from_millis(900)));
    }

    #[test]
    fn what_is_owed_is_made_up_for_at_the_rate() {
        let start = Instant::now();
        let mut bucket = TokenBucket::full(10, start);
        assert_eq!(bucket.owe(10, 10, start), Duration::ZERO);
        assert_eq!(bucket.owe(25, 10, start), Duration::from_millis(2500));
        assert_eq!(bucket.owe(5, 10, start + Duration::from_secs(2)), Duration::from_secs(1));
        assert_eq!(bucket.owe(10, 10, start + Duration::from_secs(9)), Duration::ZERO);
    }

    #[test]
    fn an_overdrawn_bucket_is_empty_until_it_has_refilled() {
        let start = Instant::now();
        let mut bucket = TokenBucket::full(10, start);
        assert!(bucket.overdraw(30, 10, start), "more than it holds, once");
        assert!(!bucket.overdraw(1, 10, start + Duration::from_millis(1900)));
        assert!(bucket.overdraw(1, 10, start + Duration::from_millis(2100)));
    }
}
