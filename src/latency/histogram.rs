//! A [`Histogram`] of waiting times with fixed buckets, cheap to record and to merge. Pure.

use std::time::Duration;

const US: u64 = 1_000;
const MS: u64 = 1_000_000;

/// Upper bounds of the buckets, in nanoseconds: they resolve 50 us and 30 s.
pub const BOUNDS: [u64; 20] = [
    50 * US,
    100 * US,
    250 * US,
    500 * US,
    MS,
    2_500 * US,
    5 * MS,
    10 * MS,
    25 * MS,
    50 * MS,
    100 * MS,
    250 * MS,
    500 * MS,
    1_000 * MS,
    2_500 * MS,
    5_000 * MS,
    10_000 * MS,
    15_000 * MS,
    20_000 * MS,
    30_000 * MS,
];

/// A waiting time, with the bucket that it falls into.
#[derive(Clone, Copy, Debug)]
pub struct Waited {
    nanos: u64,
    bucket: u8,
}

impl From<Duration> for Waited {
    fn from(waited: Duration) -> Self {
        let nanos = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().take_while(|bound| **bound < nanos).count() as u8;
        Waited { nanos, bucket }
    }
}

/// Counts of waiting times by bucket, their number, sum and maximum.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    counts: [u64; BOUNDS.len() + 1],
    count: u64,
    nanos: u64,
    max: u64,
}

impl Histogram {
    /// One of these counts, a bucket each and the last for what is above every bound, whose sum
    /// and maximum are given. Counts beyond the buckets are ignored, missing ones are 0.
    pub fn from_parts(counts: &[u64], sum: Duration, max: Duration) -> Self {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let mut histogram = Histogram { nanos: nanos(sum), max: nanos(max), ..Self::default() };
        for (mine, given) in histogram.counts.iter_mut().zip(counts) {
            *mine = *given;
        }
        histogram.count = histogram.counts.iter().fold(0, |sum, n| sum.saturating_add(*n));
        histogram
    }

    /// The count of each bucket, the last for what is above every bound.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Counts one.
    pub fn record(&mut self, waited: Waited) {
        self.counts[usize::from(waited.bucket)] += 1;
        self.count += 1;
        self.nanos = self.nanos.saturating_add(waited.nanos);
        self.max = self.max.max(waited.nanos);
    }

    /// Adds another's counts.
    pub fn merge(&mut self, other: &Histogram) {
        for (mine, other) in self.counts.iter_mut().zip(other.counts) {
            *mine += other;
        }
        self.count += other.count;
        self.nanos = self.nanos.saturating_add(other.nanos);
        self.max = self.max.max(other.max);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.nanos)
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }

    /// Every bucket with an upper bound, and its own count.
    pub fn exposed(&self) -> impl Iterator<Item = (Duration, u64)> {
        BOUNDS.iter().zip(self.counts).map(|(bound, count)| (Duration::from_nanos(*bound), count))
    }

    /// The waiting time that the part `q` (0 to 1) of all did not exceed, interpolated within
    /// its bucket and never above the maximum.
    pub fn quantile(&self, q: f64) -> Duration {
        let rank = q * self.count as f64;
        let mut below = 0.0;
        let mut lower = Duration::ZERO;
        for (upper, count) in self.exposed() {
            let count = count as f64;
            if count > 0.0 && below + count >= rank {
                let part = ((rank - below) / count).clamp(0.0, 1.0);
                return (lower + (upper - lower).mul_f64(part)).min(self.max());
            }
            below += count;
            lower = upper;
        }
        self.max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_falls_into_the_bucket_whose_bound_it_does_not_exceed() {
        let mut histogram = Histogram::default();
        for micros in [1, 50, 51, 100, 30_000_000, 30_000_001] {
            histogram.record(Duration::from_micros(micros).into());
        }
        let counts: Vec<u64> = histogram.exposed().map(|(_, n)| n).collect();
        assert_eq!((counts[0], counts[1], counts[19]), (2, 2, 1));
        assert_eq!(histogram.count(), 6);
    }

    #[test]
    fn quantiles_lie_within_their_bucket_and_below_the_maximum() {
        let mut histogram = Histogram::default();
        for _ in 0..99 {
            histogram.record(Duration::from_micros(80).into());
        }
        histogram.record(Duration::from_millis(700).into());
        assert!(histogram.quantile(0.5) <= Duration::from_micros(100));
        assert!(histogram.quantile(0.5) > Duration::from_micros(50));
        assert_eq!(histogram.quantile(1.0), Duration::from_millis(700));
    }
}
