//! The [`Reading`]: a gauge whose value is looked up when somebody scrapes, so that it costs
//! nothing meanwhile.

use prometheus::Gauge;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

/// A gauge that asks `read` for its value at each scrape.
pub struct Reading<F> {
    gauge: Gauge,
    read: F,
}

impl<F: Fn() -> f64 + Send + Sync> Reading<F> {
    /// A gauge of this name and help.
    ///
    /// # Errors
    /// When the name is none.
    pub fn new(name: &str, help: &str, read: F) -> prometheus::Result<Self> {
        Ok(Reading { gauge: Gauge::new(name, help)?, read })
    }
}

impl<F: Fn() -> f64 + Send + Sync> Collector for Reading<F> {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.gauge.set((self.read)());
        self.gauge.collect()
    }
}
