//! The value of a metric for all pods of a `Rookery` together. Pure.

use thiserror::Error;

use crate::pods::Reading;

/// Why there is no value. KEDA then keeps the number of pods.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Unknown {
    /// No pod has a recent value: there is none, or the operator cannot reach them.
    #[error("no pod has a recent value")]
    NoReadings,
    /// Some pods have no recent value, and the others do not exceed the target.
    #[error("{missing} of {ready} ready pods have no recent value")]
    Missing {
        /// Number of ready pods without a value.
        missing: u64,
        /// Number of ready pods.
        ready: u64,
    },
}

/// Returns the sum over the pods. While a ready pod has no recent value, the sum is too small: it
/// is returned only if it exceeds the `target` per pod all the same, so that a service may grow but
/// does not shrink for a pod that cannot be read.
///
/// # Errors
/// See [`Unknown`].
pub fn total(readings: &[Reading], target: u64) -> Result<u64, Unknown> {
    let count = |is: fn(&Reading) -> bool| readings.iter().filter(|r| is(r)).count() as u64;
    let ready = count(|reading| reading.ready);
    let missing = count(|reading| reading.ready && reading.value.is_none());
    let values = readings.iter().filter_map(|reading| reading.value);
    let sum = values.clone().fold(0u64, u64::saturating_add);
    if values.count() == 0 {
        return Err(Unknown::NoReadings);
    }
    if missing > 0 && sum <= target.saturating_mul(ready) {
        return Err(Unknown::Missing { missing, ready });
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(ready: bool, value: Option<u64>) -> Reading {
        Reading { namespace: "apps".into(), name: "x".into(), ready, value, read_at: None }
    }

    #[test]
    fn the_value_is_the_sum_of_the_pods() {
        let pods = [reading(true, Some(40)), reading(true, Some(2)), reading(false, None)];
        assert_eq!(total(&pods, 50), Ok(42), "a pod that is not ready has no clients yet");
        assert_eq!(total(&[reading(true, Some(0))], 50), Ok(0));
    }

    #[test]
    fn a_pod_that_cannot_be_read_lets_a_service_grow_but_not_shrink() {
        let pods = [reading(true, Some(90)), reading(true, None)];
        assert_eq!(total(&pods, 50), Err(Unknown::Missing { missing: 1, ready: 2 }));
        let pods = [reading(true, Some(101)), reading(true, None)];
        assert_eq!(total(&pods, 50), Ok(101));
    }

    #[test]
    fn without_any_reading_the_value_is_unknown() {
        assert_eq!(total(&[], 50), Err(Unknown::NoReadings));
        assert_eq!(total(&[reading(true, None)], 0), Err(Unknown::NoReadings));
    }
}
