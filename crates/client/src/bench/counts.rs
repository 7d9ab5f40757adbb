//! [`Counts`]: what was counted during a measurement.

use std::time::Duration;

use hdrhistogram::Histogram;

/// The longest latency that is recorded as it is; longer ones are recorded as this one.
const MAX_LATENCY: Duration = Duration::from_secs(60 * 60);

/// What was counted since the start of the measurement.
#[derive(Clone, Debug)]
pub(super) struct Counts {
    /// Publications sent.
    pub(super) publications: u64,
    /// Deliveries received.
    pub(super) deliveries: u64,
    /// Deliveries that were not expected: duplicates, or those of another load generator.
    pub(super) unexpected: u64,
    /// Deliveries that had not arrived when their publication was forgotten.
    pub(super) missing: u64,
    /// Nanoseconds from the publication to each delivery.
    latency: Histogram<u64>,
}

impl Counts {
    pub(super) fn new() -> Self {
        Counts {
            publications: 0,
            deliveries: 0,
            unexpected: 0,
            missing: 0,
            latency: Histogram::new_with_bounds(1, MAX_LATENCY.as_nanos() as u64, 3)
                .expect("the constants are within the bounds of a histogram"),
        }
    }

    /// Counts a delivery.
    pub(super) fn record_delivery(&mut self, latency: Duration) {
        self.deliveries += 1;
        self.latency.saturating_record(latency.as_nanos() as u64);
    }

    /// The latency that a share of `quantile` (0 to 1) of the deliveries do not exceed, with an
    /// error of at most 0.1 %; zero without deliveries.
    pub(super) fn latency(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.latency.value_at_quantile(quantile))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_quantiles_are_exact_to_a_thousandth() {
        let mut counts = Counts::new();
        assert_eq!(counts.latency(0.99), Duration::ZERO);
        for millis in 1..=1000 {
            counts.record_delivery(Duration::from_millis(millis));
        }
        for (quantile, exact) in [(0.5, 500.0), (0.9, 900.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = counts.latency(quantile).as_secs_f64() * 1e3;
            assert!(found >= exact && found <= exact * 1.001, "{quantile}: {found}");
        }
        counts.record_delivery(MAX_LATENCY * 2);
        assert!(counts.latency(1.0) >= MAX_LATENCY);
    }
}
