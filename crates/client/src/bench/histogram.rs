//! [`Histogram`]: latencies with a relative error below 2 %, at a fixed size.

use std::time::Duration;

/// Buckets for each doubling.
const PARTS: u64 = 64;
const PARTS_BITS: u32 = PARTS.trailing_zeros();
/// Enough for every `u64`.
const BUCKETS: usize = (PARTS as usize) * (64 - PARTS_BITS as usize + 1);

/// Durations, counted in buckets that widen with their value.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    longest: Duration,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Histogram { buckets: vec![0; BUCKETS], count: 0, longest: Duration::ZERO }
    }

    pub(super) fn record(&mut self, value: Duration) {
        self.buckets[bucket(nanoseconds(value))] += 1;
        self.count += 1;
        self.longest = self.longest.max(value);
    }

    pub(super) fn max(&self) -> Duration {
        self.longest
    }

    /// The value that `quantile` (0 to 1) of all values are not above; zero when there are none.
    pub(super) fn quantile(&self, quantile: f64) -> Duration {
        let rank = ((quantile * self.count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(upper_bound(index)).min(self.longest);
            }
        }
        self.longest
    }
}

fn nanoseconds(value: Duration) -> u64 {
    u64::try_from(value.as_nanos()).unwrap_or(u64::MAX)
}

/// Values below 64 have their own bucket; above, each doubling has 64 of equal width.
fn bucket(value: u64) -> usize {
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(PARTS_BITS + 1);
    (u64::from(shift) * PARTS + (value >> shift)) as usize
}

/// The largest value of a bucket.
fn upper_bound(index: usize) -> u64 {
    let index = index as u64;
    if index < PARTS * 2 {
        return index;
    }
    let shift = index / PARTS - 1;
    let next = u128::from(index - shift * PARTS + 1) << shift;
    u64::try_from(next - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_value_is_at_most_its_bound_and_close_to_it(value in prop_oneof![0..10_000u64, any::<u64>()]) {
            let bound = upper_bound(bucket(value));
            prop_assert!(bound >= value);
            prop_assert!((bound - value) as f64 <= value as f64 / 64.0);
            prop_assert_eq!(bucket(bound), bucket(value));
        }

        #[test]
        fn quantiles_are_those_of_the_sorted_values(values in prop::collection::vec(0..1_000_000u64, 1..200)) {
            let mut histogram = Histogram::new();
            let mut sorted = values.clone();
            sorted.sort_unstable();
            for value in values {
                histogram.record(Duration::from_nanos(value));
            }
            for quantile in [0.0, 0.5, 0.9, 0.99, 1.0] {
                let rank = ((quantile * sorted.len() as f64).ceil() as usize).max(1);
                let exact = sorted[rank - 1] as f64;
                let found = histogram.quantile(quantile).as_nanos() as f64;
                prop_assert!(found >= exact && found <= exact * (1.0 + 1.0 / 64.0));
            }
            prop_assert_eq!(histogram.max().as_nanos() as u64, *sorted.last().unwrap());
        }
    }

    #[test]
    fn without_values_everything_is_zero() {
        assert_eq!(Histogram::new().quantile(0.99), Duration::ZERO);
    }
}
