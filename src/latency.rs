//! Delivery latency: from the moment a publication was accepted to the moment its bytes were
//! handed to the kernel for one recipient.
//!
//! Each shard has a [`Recorder`]; [`Latency`] merges them when somebody scrapes or asks.

pub mod histogram;
mod rooms;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{self, MetricFamily};

use self::histogram::{BOUNDS, Histogram, Waited};
use crate::delivery::ledger::{Ledger, Stamp};
use crate::ops::metrics::{Metrics, Outcome};
use crate::publication::Hop;
use rooms::Windows;
pub use rooms::{RoomWaits, Summary, summary};

/// The account of one shard.
pub struct Recorder {
    metrics: Arc<Metrics>,
    sample_every: u32,
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    classes: HashMap<(Arc<str>, Hop), Histogram>,
    windows: Windows,
    skipped: u32,
}

impl Recorder {
    /// Measures every `sample_every`-th delivery.
    pub fn new(sample_every: u32, metrics: Arc<Metrics>) -> Self {
        Recorder { metrics, sample_every: sample_every.max(1), books: Mutex::default() }
    }
}

impl Ledger for Recorder {
    fn written(&self, stamp: &Stamp, at: &[Instant]) {
        if at.is_empty() {
            return;
        }
        self.metrics.delivered(Outcome::Written, at.len() as u64);
        if let Some(trace) = &stamp.trace {
            trace.written(stamp.accepted, at);
        }
        let mut books = self.books.lock();
        let Books { classes, windows, skipped } = &mut *books;
        let class = classes.entry((stamp.class.clone(), stamp.hop)).or_default();
        let mut window = windows.of(&stamp.namespace, stamp.room.as_ref(), at[0]);
        for at in at {
            *skipped += 1;
            if *skipped >= self.sample_every {
                *skipped = 0;
                let waited = Waited::from(at.saturating_duration_since(stamp.accepted));
                class.record(waited);
                if let Some(window) = &mut window {
                    window.record(waited);
                }
            }
        }
    }

    fn dropped(&self, outcome: Outcome, n: u64) {
        self.metrics.delivered(outcome, n);
    }
}

/// All shards' recorders, merged when asked. Registered as a collector of
/// `rookery_delivery_latency_seconds{class,hop}`.
#[derive(Clone)]
pub struct Latency {
    recorders: Arc<[Arc<Recorder>]>,
    desc: Desc,
}

impl Latency {
    /// The name of the histogram.
    pub const NAME: &'static str = "rookery_delivery_latency_seconds";

    /// Merges these.
    ///
    /// # Errors
    /// Never with the names written here.
    pub fn new(recorders: Vec<Arc<Recorder>>) -> prometheus::Result<Self> {
        let labels = vec!["class".to_owned(), "hop".to_owned()];
        let help = "From acceptance of a publication to the write for one recipient";
        let desc = Desc::new(Self::NAME.to_owned(), help.to_owned(), labels, HashMap::new())?;
        Ok(Latency { recorders: recorders.into(), desc })
    }

    /// The last minute of a room; `None` where nothing was delivered in it.
    pub fn of_room(&self, namespace: &str, room: &str) -> Option<Summary> {
        let now = Instant::now();
        let mut merged = None;
        for recorder in self.recorders.iter() {
            recorder.books.lock().windows.merge(namespace, room, now, &mut merged);
        }
        merged.map(|histogram| rooms::summary(&histogram))
    }
}

impl Latency {
    /// The last minute of every room that had deliveries here, in no order.
    pub fn rooms(&self) -> Vec<RoomWaits> {
        let now = Instant::now();
        let mut all = HashMap::new();
        for recorder in self.recorders.iter() {
            recorder.books.lock().windows.merge_all(now, &mut all);
        }
        all.into_values().filter(|room| room.deliveries > 0).collect()
    }
}

impl Collector for Latency {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // There from the start, at zero.
        let none = |hop| (("default".into(), hop), Histogram::default());
        let mut merged: HashMap<(Arc<str>, Hop), Histogram> =
            [none(Hop::Local), none(Hop::Remote)].into();
        for recorder in self.recorders.iter() {
            for (key, histogram) in &recorder.books.lock().classes {
                merged.entry(key.clone()).or_default().merge(histogram);
            }
        }
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(proto::MetricType::HISTOGRAM);
        for ((class, hop), histogram) in merged {
            let label = |name: &str, value: &str| {
                let mut pair = proto::LabelPair::default();
                pair.set_name(name.to_owned());
                pair.set_value(value.to_owned());
                pair
            };
            let mut metric = proto::Metric::default();
            metric.set_label(vec![label("class", &class), label("hop", hop.label())]);
            metric.set_histogram(exposition(&histogram));
            family.mut_metric().push(metric);
        }
        vec![family]
    }
}

fn exposition(histogram: &Histogram) -> proto::Histogram {
    let mut out = proto::Histogram::default();
    out.set_sample_count(histogram.count());
    out.set_sample_sum(histogram.sum().as_secs_f64());
    let mut cumulative = 0;
    let buckets = histogram.exposed().map(|(bound, count)| {
        cumulative += count;
        let mut bucket = proto::Bucket::default();
        bucket.set_cumulative_count(cumulative);
        bucket.set_upper_bound(bound.as_secs_f64());
        bucket
    });
    let buckets: Vec<_> = buckets.collect();
    debug_assert_eq!(buckets.len(), BOUNDS.len());
    out.set_bucket(buckets);
    out
}
