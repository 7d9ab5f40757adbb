//! A [`Histogram`] of waiting times with fixed buckets, cheap to record and to merge. Pure.

use std::time::Duration;

/// Upper bounds of the buckets, in microseconds: they resolve 50 us and 30 s.
pub const BOUNDS: [u64; 20] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000, 15_000_000, 20_000_000, 30_000_000,
];

/// Counts of waiting times by bucket, their number, sum and maximum.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    counts: [u64; BOUNDS.len() + 1],
    count: u64,
    nanos: u128,
    max: Duration,
}

impl Histogram {
    /// Counts one.
    pub fn record(&mut self, waited: Duration) {
        let micros = waited.as_nanos().div_ceil(1_000);
        self.counts[BOUNDS.partition_point(|bound| u128::from(*bound) < micros)] += 1;
        self.count += 1;
        self.nanos += waited.as_nanos();
        self.max = self.max.max(waited);
    }

    /// Adds another's counts.
    pub fn merge(&mut self, other: &Histogram) {
        for (mine, other) in self.counts.iter_mut().zip(other.counts) {
            *mine += other;
        }
        self.count += other.count;
        self.nanos += other.nanos;
        self.max = self.max.max(other.max);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(u64::try_from(self.nanos).unwrap_or(u64::MAX))
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        self.max
    }

    /// Every bucket with an upper bound, and its own count.
    pub fn exposed(&self) -> impl Iterator<Item = (Duration, u64)> {
        BOUNDS.iter().zip(self.counts).map(|(bound, count)| (Duration::from_micros(*bound), count))
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
                return (lower + (upper - lower).mul_f64(part)).min(self.max);
            }
            below += count;
            lower = upper;
        }
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_falls_into_the_bucket_whose_bound_it_does_not_exceed() {
        let mut histogram = Histogram::default();
        for micros in [1, 50, 51, 100, 30_000_000, 30_000_001] {
            histogram.record(Duration::from_micros(micros));
        }
        let counts: Vec<u64> = histogram.exposed().map(|(_, n)| n).collect();
        assert_eq!((counts[0], counts[1], counts[19]), (2, 2, 1));
        assert_eq!(histogram.count(), 6);
    }

    #[test]
    fn quantiles_lie_within_their_bucket_and_below_the_maximum() {
        let mut histogram = Histogram::default();
        for _ in 0..99 {
            histogram.record(Duration::from_micros(80));
        }
        histogram.record(Duration::from_millis(700));
        assert!(histogram.quantile(0.5) <= Duration::from_micros(100));
        assert!(histogram.quantile(0.5) > Duration::from_micros(50));
        assert_eq!(histogram.quantile(1.0), Duration::from_millis(700));
    }
}
