//! Redis' clock, seen from here: pods tell each other times in it, so that latency across pods is
//! true although their own clocks differ.

use std::time::{Duration, Instant};

use parking_lot::RwLock;

/// How fast two clocks may drift apart: 100 millionths, twice what common quartz promises.
const DRIFT: f64 = 100e-6;

/// A time further back than this is a mistake, not a delay.
const OLDEST: Duration = Duration::from_secs(300);

/// The offset between this process's monotonic clock and Redis' `TIME`.
#[derive(Debug)]
pub struct Clock {
    anchor: Instant,
    best: RwLock<Option<Sample>>,
}

/// One `TIME` command.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Redis' time minus ours, in microseconds.
    offset: i64,
    round_trip: Duration,
    taken: Instant,
}

impl Sample {
    /// How wrong the offset may be by now.
    fn error(&self, now: Instant) -> Duration {
        self.round_trip / 2 + now.saturating_duration_since(self.taken).mul_f64(DRIFT)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Clock { anchor: Instant::now(), best: RwLock::new(None) }
    }
}

impl Clock {
    /// Takes the answer of one `TIME` command, in microseconds since 1970, that was asked for at
    /// `sent` and arrived at `received`. It counts if it is surer than what is known.
    pub fn sample(&self, redis: u64, sent: Instant, received: Instant) {
        let round_trip = received.saturating_duration_since(sent);
        let ours = self.micros(sent + round_trip / 2);
        let Some(offset) = i64::try_from(redis).ok().and_then(|redis| redis.checked_sub(ours))
        else {
            return;
        };
        let sample = Sample { offset, round_trip, taken: received };
        let mut best = self.best.write();
        if best.is_none_or(|best| sample.error(received) <= best.error(received)) {
            *best = Some(sample);
        }
    }

    /// Forgets what is known: another server may answer from now on.
    pub fn reset(&self) {
        *self.best.write() = None;
    }

    /// A time of ours in microseconds of Redis' clock; none before the first sample.
    pub fn to_redis(&self, time: Instant) -> Option<u64> {
        let offset = self.best.read().as_ref()?.offset;
        u64::try_from(self.micros(time).checked_add(offset)?).ok()
    }

    /// A time of Redis' clock as ours. Never in the future; `now` where it is not known, or
    /// is too old to be true.
    pub fn to_ours(&self, redis: u64, now: Instant) -> Instant {
        let age = || {
            let age = self.to_redis(now)?.checked_sub(redis)?;
            Some(Duration::from_micros(age)).filter(|age| *age <= OLDEST)
        };
        age().and_then(|age| now.checked_sub(age)).unwrap_or(now)
    }

    fn micros(&self, time: Instant) -> i64 {
        let (after, before) = (
            time.saturating_duration_since(self.anchor),
            self.anchor.saturating_duration_since(time),
        );
        let micros = |d: Duration| i64::try_from(d.as_micros()).unwrap_or(i64::MAX);
        micros(after) - micros(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REDIS: u64 = 1_700_000_000_000_000;

    #[test]
    fn two_pods_agree_on_an_age_although_their_clocks_differ() {
        let now = Instant::now();
        let (a, b) = (Clock::default(), Clock::default());
        a.sample(REDIS, now, now);
        b.sample(REDIS + 5_000_000, now + Duration::from_secs(5), now + Duration::from_secs(5));
        let accepted = now + Duration::from_secs(6);
        let wire = a.to_redis(accepted).unwrap();
        let here = b.to_ours(wire, accepted + Duration::from_millis(20));
        let difference = here.max(accepted) - here.min(accepted);
        assert!(difference <= Duration::from_micros(2), "{difference:?}");
    }

    #[test]
    fn never_in_the_future_nor_absurdly_old_nor_before_a_sample() {
        let now = Instant::now();
        let clock = Clock::default();
        assert_eq!(clock.to_redis(now), None);
        assert_eq!(clock.to_ours(REDIS, now), now);
        clock.sample(REDIS, now, now);
        assert_eq!(clock.to_ours(REDIS + 1_000_000, now), now);
        assert_eq!(clock.to_ours(0, now), now);
        assert_eq!(clock.to_ours(u64::MAX, now), now);
        assert_eq!(clock.to_ours(REDIS - 1_000, now), now - Duration::from_millis(1));
    }

    #[test]
    fn the_surest_sample_counts_until_drift_outweighs_it() {
        let now = Instant::now();
        let clock = Clock::default();
        let ms = Duration::from_millis;
        clock.sample(REDIS, now, now + ms(1));
        let sure = clock.to_redis(now);
        clock.sample(REDIS + 500_000, now, now + ms(100));
        assert_eq!(clock.to_redis(now), sure);
        let later = now + Duration::from_secs(3600);
        clock.sample(REDIS + 3_600_000_000 + 70_000, later, later + ms(100));
        assert_ne!(clock.to_redis(now), sure);
    }
}
