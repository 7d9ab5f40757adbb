//! The [`Families`]: creates metrics and registers them.

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::striped_counters::StripedCounters;

/// Creates metric families in a registry. Each method fails where the name is taken.
pub(super) struct Families<'a> {
    registry: &'a Registry,
}

impl<'a> Families<'a> {
    /// Registers what it creates in `registry`.
    pub fn new(registry: &'a Registry) -> Self {
        Families { registry }
    }

    /// A counter.
    pub fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        let counter = IntCounter::new(name, help)?;
        self.registry.register(Box::new(counter.clone()))?;
        Ok(counter)
    }

    /// Counters with one label.
    pub fn counter_vec(
        &self,
        name: &str,
        help: &str,
        label: &str,
    ) -> prometheus::Result<IntCounterVec> {
        let vec = IntCounterVec::new(Opts::new(name, help), &[label])?;
        self.registry.register(Box::new(vec.clone()))?;
        Ok(vec)
    }

    /// Counters with two labels.
    pub fn counter_matrix(
        &self,
        name: &str,
        help: &str,
        labels: [&str; 2],
    ) -> prometheus::Result<IntCounterVec> {
        let vec = IntCounterVec::new(Opts::new(name, help), &labels)?;
        self.registry.register(Box::new(vec.clone()))?;
        Ok(vec)
    }

    /// A counter for each of a label's values, in their order.
    pub fn counters<'v>(
        &self,
        name: &str,
        help: &str,
        label: &str,
        values: impl Iterator<Item = &'v str>,
    ) -> prometheus::Result<Vec<IntCounter>> {
        let vec = self.counter_vec(name, help, label)?;
        Ok(values.map(|value| vec.with_label_values(&[value])).collect())
    }

    /// The same for what all shards count for each publication.
    pub fn striped_counters<'v>(
        &self,
        name: &str,
        help: &str,
        label: &str,
        values: impl Iterator<Item = &'v str>,
    ) -> prometheus::Result<StripedCounters> {
        let counters = StripedCounters::new(name, help, label, values)?;
        self.registry.register(Box::new(counters.clone()))?;
        Ok(counters)
    }

    /// A gauge.
    pub fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        let gauge = IntGauge::new(name, help)?;
        self.registry.register(Box::new(gauge.clone()))?;
        Ok(gauge)
    }

    /// Gauges with one label.
    pub fn gauge_vec(
        &self,
        name: &str,
        help: &str,
        label: &str,
    ) -> prometheus::Result<IntGaugeVec> {
        let vec = IntGaugeVec::new(Opts::new(name, help), &[label])?;
        self.registry.register(Box::new(vec.clone()))?;
        Ok(vec)
    }

    /// A histogram with Prometheus' default buckets.
    pub fn histogram(&self, name: &str, help: &str) -> prometheus::Result<Histogram> {
        let histogram = Histogram::with_opts(HistogramOpts::new(name, help))?;
        self.registry.register(Box::new(histogram.clone()))?;
        Ok(histogram)
    }

    /// `rookery_build_info`, and the metrics of the process.
    pub fn build_info(&self) -> prometheus::Result<()> {
        self.gauge_vec("rookery_build_info", "Always 1; labelled with the version", "version")?
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        #[cfg(target_os = "linux")]
        self.registry
            .register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(())
    }
}
