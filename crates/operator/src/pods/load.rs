//! The metrics of pods that autoscalers may follow.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// A metric of server pods, as custom.metrics.k8s.io and KEDA's external scaler serve it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodMetric {
    /// Sessions that have connected to a namespace.
    Connections,
    /// Deliveries per second over the last 30 s, rounded up.
    DeliveriesPerSecond,
    /// Bytes that wait in outboxes.
    OutboxBytes,
}

impl PodMetric {
    /// Every metric.
    pub const ALL: [PodMetric; 3] =
        [PodMetric::Connections, PodMetric::DeliveriesPerSecond, PodMetric::OutboxBytes];

    /// The name under which it is served.
    pub fn name(self) -> &'static str {
        match self {
            PodMetric::Connections => "rookery_connections",
            PodMetric::DeliveriesPerSecond => "rookery_deliveries_per_second",
            PodMetric::OutboxBytes => "rookery_outbox_bytes",
        }
    }

    /// The key of its target per pod, in `spec.autoscaling` and in a KEDA trigger's metadata.
    pub fn target_key(self) -> &'static str {
        match self {
            PodMetric::Connections => "connectionsPerPod",
            PodMetric::DeliveriesPerSecond => "deliveriesPerSecond",
            PodMetric::OutboxBytes => "outboxBytes",
        }
    }

    /// The metric of this name.
    pub fn by_name(name: &str) -> Option<PodMetric> {
        PodMetric::ALL.into_iter().find(|metric| metric.name() == name)
    }

    /// Whether the pods that remain take over the values of terminating pods: connections do, with
    /// what is delivered to them; the bytes that wait for a connection are dropped with it.
    pub(super) fn moves_with_clients(self) -> bool {
        !matches!(self, PodMetric::OutboxBytes)
    }
}

/// Period over which a rate is averaged. Autoscalers ask every 15 s by default.
const WINDOW: Duration = Duration::from_secs(30);

/// Minimum period between the first and the last value of a rate.
const SHORTEST: Duration = Duration::from_secs(1);

/// Maximum number of values that are kept: scrapes are 2 s apart or more.
const MAX_VALUES: usize = 32;

/// The rate of a counter over the last 30 s, from the values of several scrapes.
#[derive(Debug, Default)]
pub struct RateWindow(VecDeque<(Instant, u64)>);

impl RateWindow {
    /// Records the value of a scrape. A counter that went down was reset: the rate starts anew.
    pub fn record(&mut self, value: u64, now: Instant) {
        if self.0.back().is_some_and(|(_, last)| value < *last) {
            self.0.clear();
        }
        let is_old = |(at, _): &(Instant, u64)| now.duration_since(*at) > WINDOW;
        while self.0.len() >= MAX_VALUES || self.0.front().is_some_and(is_old) {
            self.0.pop_front();
        }
        self.0.push_back((now, value));
    }

    /// The rate per second, rounded up; `None` before there are two values at least 1 s apart.
    pub fn per_second(&self) -> Option<u64> {
        let ((from, first), (to, last)) = self.0.front().zip(self.0.back())?;
        let seconds = to.duration_since(*from);
        let rate = || ((last - first) as f64 / seconds.as_secs_f64()).ceil() as u64;
        (seconds >= SHORTEST).then(rate)
    }

    /// Forgets all values.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_found_by_its_name() {
        for metric in PodMetric::ALL {
            assert_eq!(PodMetric::by_name(metric.name()), Some(metric));
        }
        assert_eq!(PodMetric::by_name("rookery_deliveries_total"), None);
    }

    #[test]
    fn a_rate_is_the_average_of_the_last_30_seconds() {
        let mut window = RateWindow::default();
        let start = Instant::now();
        let mut record = |second: u64, value: u64| {
            window.record(value, start + Duration::from_secs(second));
            window.per_second()
        };
        assert_eq!(record(0, 1000), None);
        assert_eq!(record(2, 1021), Some(11));
        assert_eq!(record(4, 1040), Some(10));
        assert_eq!(record(30, 1040), Some(2), "1.33, rounded up");
        assert_eq!(record(59, 1040), Some(0));
    }

    #[test]
    fn a_counter_that_was_reset_starts_a_new_rate() {
        let mut window = RateWindow::default();
        let start = Instant::now();
        window.record(1000, start);
        window.record(5, start + Duration::from_secs(2));
        assert_eq!(window.per_second(), None);
        window.record(25, start + Duration::from_secs(4));
        assert_eq!(window.per_second(), Some(10));
    }

    #[test]
    fn a_window_holds_a_bounded_number_of_values() {
        let mut window = RateWindow::default();
        let start = Instant::now();
        for n in 0..1000 {
            window.record(n, start + Duration::from_millis(n));
        }
        assert!(window.0.len() <= MAX_VALUES);
    }
}
