//! The [`GaugeFunc`]: a gauge whose value is computed at each scrape, so that it costs nothing in
//! between.

use prometheus::Gauge;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

/// A gauge that calls a function for its value at each scrape.
pub struct GaugeFunc<F> {
    gauge: Gauge,
    value: F,
}

impl<F: Fn() -> f64 + Send + Sync> GaugeFunc<F> {
    /// A gauge with this name and help, to be registered.
    ///
    /// # Errors
    /// When the name is not a valid metric name.
    pub fn new(name: &str, help: &str, value: F) -> prometheus::Result<Self> {
        Ok(GaugeFunc { gauge: Gauge::new(name, help)?, value })
    }
}

impl<F: Fn() -> f64 + Send + Sync> Collector for GaugeFunc<F> {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.gauge.set((self.value)());
        self.gauge.collect()
    }
}
