//! The [`StripedCounters`]: a family of counters that all shards add to for each publication.

use std::array::from_fn;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, LabelPair, Metric, MetricFamily, MetricType};

/// How many cells a counter has. Threads beyond it share one.
const STRIPES: usize = 16;

/// Counters with one label, each the sum of cells that different threads add to: one cell for all
/// would move between the cores' caches with each publication. Cloning is shallow.
#[derive(Clone)]
pub struct StripedCounters {
    family: Arc<Family>,
}

struct Family {
    desc: Desc,
    label: String,
    values: Vec<(String, [Stripe; STRIPES])>,
}

/// A counter's cell, in cache lines of its own.
#[derive(Default)]
#[repr(align(128))]
struct Stripe(AtomicU64);

impl StripedCounters {
    /// A counter for each of a label's values, in their order, to be registered.
    ///
    /// # Errors
    /// When a name is not valid.
    pub fn new<'v>(
        name: &str,
        help: &str,
        label: &str,
        values: impl Iterator<Item = &'v str>,
    ) -> prometheus::Result<Self> {
        let labels = vec![label.to_owned()];
        let desc = Desc::new(name.to_owned(), help.to_owned(), labels, HashMap::new())?;
        let values = values.map(|value| (value.to_owned(), from_fn(|_| Stripe::default())));
        let family = Family { desc, label: label.to_owned(), values: values.collect() };
        Ok(StripedCounters { family: Arc::new(family) })
    }

    /// Adds `n` to the counter at this position.
    pub fn add(&self, position: usize, n: u64) {
        self.family.values[position].1[stripe()].0.fetch_add(n, Ordering::Relaxed);
    }

    /// The counter at this position.
    pub fn get(&self, position: usize) -> u64 {
        sum(&self.family.values[position].1)
    }
}

fn sum(stripes: &[Stripe]) -> u64 {
    stripes.iter().map(|stripe| stripe.0.load(Ordering::Relaxed)).sum()
}

/// The position of this thread's cells: threads take them in turn.
fn stripe() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static STRIPE: usize = THREADS.fetch_add(1, Ordering::Relaxed) % STRIPES;
    }
    STRIPE.with(|stripe| *stripe)
}

impl Collector for StripedCounters {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.family.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let metrics = self.family.values.iter().map(|(value, stripes)| {
            let mut label = LabelPair::default();
            label.set_name(self.family.label.clone());
            label.set_value(value.clone());
            let mut counter = Counter::default();
            counter.set_value(sum(stripes) as f64);
            let mut metric = Metric::default();
            metric.set_label(vec![label]);
            metric.set_counter(counter);
            metric
        });
        let mut family = MetricFamily::default();
        family.set_name(self.family.desc.fq_name.clone());
        family.set_help(self.family.desc.help.clone());
        family.set_field_type(MetricType::COUNTER);
        family.set_metric(metrics.collect());
        vec![family]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_the_sum_over_all_threads() {
        let counters =
            StripedCounters::new("c_total", "Help", "kind", ["a", "b"].into_iter()).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..2 * STRIPES {
                scope.spawn(|| (0..1000).for_each(|_| counters.add(1, 2)));
            }
        });
        let n = 2 * STRIPES as u64 * 2000;
        assert_eq!((counters.get(0), counters.get(1)), (0, n));
        let families = counters.collect();
        let text = prometheus::TextEncoder::new().encode_to_string(&families).unwrap();
        assert!(text.contains(&format!("c_total{{kind=\"b\"}} {n}\n")), "{text}");
        assert!(text.contains("c_total{kind=\"a\"} 0\n"), "{text}");
    }
}
