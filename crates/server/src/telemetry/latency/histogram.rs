//! A [`Histogram`] of latencies with fixed buckets, cheap to record into and to merge. Pure.

use std::time::{Duration, Instant};

const US: u64 = 1_000;
const MS: u64 = 1_000_000;

/// Upper bounds of the buckets in nanoseconds, inclusive: from 50 us to 30 s.
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

/// The latencies of some deliveries of one publication, sorted into buckets once for all the
/// histograms they are added to.
#[derive(Clone, Debug)]
pub struct Tally {
    counts: [u32; BOUNDS.len() + 1],
    /// The range of buckets that are not empty; the end is exclusive.
    span: (usize, usize),
    /// Sum of the latencies, in nanoseconds.
    nanos: u64,
    /// The longest latency, in nanoseconds.
    max: u64,
}

impl Tally {
    /// The latencies of deliveries that were written at these times; cheapest in ascending order.
    pub fn of(accepted: Instant, at: impl Iterator<Item = Instant>) -> Self {
        let mut tally =
            Tally { counts: [0; BOUNDS.len() + 1], span: (BOUNDS.len(), 0), nanos: 0, max: 0 };
        let mut bucket = 0;
        for at in at {
            let nanos = nanos(at.saturating_duration_since(accepted));
            if bucket > 0 && nanos <= BOUNDS[bucket - 1] {
                bucket = 0;
            }
            while bucket < BOUNDS.len() && BOUNDS[bucket] < nanos {
                bucket += 1;
            }
            tally.counts[bucket] += 1;
            tally.span = (tally.span.0.min(bucket), tally.span.1.max(bucket + 1));
            tally.nanos = tally.nanos.saturating_add(nanos);
            tally.max = tally.max.max(nanos);
        }
        tally
    }

    /// Calls `visit` with the index and count of every bucket in the range that is not empty.
    pub fn each(&self, mut visit: impl FnMut(usize, u64)) {
        for bucket in self.span.0..self.span.1 {
            visit(bucket, u64::from(self.counts[bucket]));
        }
    }

    /// Sum of the latencies, in nanoseconds.
    pub fn nanos(&self) -> u64 {
        self.nanos
    }

    /// The longest latency, in nanoseconds.
    pub fn max(&self) -> u64 {
        self.max
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Latencies: their counts by bucket, number, sum and maximum.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    /// One per bucket, and one for latencies above every bound.
    counts: [u64; BOUNDS.len() + 1],
    count: u64,
    /// Sum of the latencies, in nanoseconds.
    nanos: u64,
    /// The longest latency, in nanoseconds.
    max: u64,
}

impl Histogram {
    /// A histogram with these counts: one per bucket, and the last for latencies above every bound.
    /// Surplus counts are ignored, missing ones are 0.
    pub fn from_parts(counts: &[u64], sum: Duration, max: Duration) -> Self {
        let mut histogram = Histogram { nanos: nanos(sum), max: nanos(max), ..Self::default() };
        for (mine, given) in histogram.counts.iter_mut().zip(counts) {
            *mine = *given;
        }
        histogram.count = histogram.counts.iter().fold(0, |sum, n| sum.saturating_add(*n));
        histogram
    }

    /// The count of each bucket, and last that of latencies above every bound.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Adds the latencies of a tally.
    pub fn add(&mut self, tally: &Tally) {
        tally.each(|bucket, n| {
            self.counts[bucket] += n;
            self.count += n;
        });
        self.nanos = self.nanos.saturating_add(tally.nanos);
        self.max = self.max.max(tally.max);
    }

    /// Adds all latencies of another histogram.
    pub fn merge(&mut self, other: &Histogram) {
        for (mine, other) in self.counts.iter_mut().zip(other.counts) {
            *mine += other;
        }
        self.count += other.count;
        self.nanos = self.nanos.saturating_add(other.nanos);
        self.max = self.max.max(other.max);
    }

    /// The number of latencies.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The sum of the latencies.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.nanos)
    }

    /// The longest latency.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }

    /// The upper bound and the count of each bucket that has a bound; not cumulative.
    pub fn exposed(&self) -> impl Iterator<Item = (Duration, u64)> {
        BOUNDS.iter().zip(self.counts).map(|(bound, count)| (Duration::from_nanos(*bound), count))
    }

    /// The latency that a part `q` (0 to 1) of all did not exceed, interpolated within its bucket
    /// and never above the maximum.
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

    fn of(micros: &[u64]) -> Histogram {
        let accepted = Instant::now();
        let at = micros.iter().map(|micros| accepted + Duration::from_micros(*micros));
        let mut histogram = Histogram::default();
        histogram.add(&Tally::of(accepted, at));
        histogram
    }

    #[test]
    fn a_latency_counts_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        let histogram = of(&[1, 50, 51, 100, 30_000_000, 30_000_001]);
        let counts: Vec<u64> = histogram.exposed().map(|(_, n)| n).collect();
        assert_eq!((counts[0], counts[1], counts[19]), (2, 2, 1));
        assert_eq!((histogram.count(), histogram.counts()[20]), (6, 1));
    }

    #[test]
    fn the_order_of_latencies_does_not_matter() {
        let (one, other) = (of(&[30, 70, 700, 7000]), of(&[7000, 70, 700, 30]));
        assert_eq!(one.counts(), other.counts());
        assert_eq!(one.sum(), Duration::from_micros(7800));
    }

    #[test]
    fn a_publication_accepted_in_the_future_has_no_latency() {
        let at = Instant::now();
        let tally = Tally::of(at + Duration::from_secs(5), [at].into_iter());
        assert_eq!((tally.counts[0], tally.nanos), (1, 0));
    }

    #[test]
    fn a_histogram_is_restored_from_its_parts() {
        let histogram = of(&[30, 700, 40_000_000]);
        let again = Histogram::from_parts(histogram.counts(), histogram.sum(), histogram.max());
        assert_eq!(again.counts(), histogram.counts());
        assert_eq!((again.count(), again.sum()), (3, histogram.sum()));
    }

    #[test]
    fn quantiles_lie_within_their_bucket_and_below_the_maximum() {
        let mut histogram = of(&[80; 99]);
        histogram.merge(&of(&[700_000]));
        assert!(histogram.quantile(0.5) <= Duration::from_micros(100));
        assert!(histogram.quantile(0.5) > Duration::from_micros(50));
        assert_eq!(histogram.quantile(1.0), Duration::from_millis(700));
    }
}
