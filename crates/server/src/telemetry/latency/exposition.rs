//! The latency metrics of a scrape: [`Latency`] as a Prometheus collector.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{self, MetricFamily, MetricType};

use super::Latency;
use super::histogram::Histogram;
use crate::message::Hop;
use rookery_protocol::Room;

/// A histogram by class and hop.
const DELIVERY: &str = "rookery_delivery_latency_seconds";

/// A histogram by room, for the top rooms.
const ROOM: &str = "rookery_room_delivery_latency_seconds";

/// A gauge: rooms with a window.
const KNOWN: &str = "rookery_latency_rooms";

/// A counter: rooms that lost their window to a new room.
const EVICTED: &str = "rookery_latency_rooms_evicted_total";

/// The description of each metric, in the order of [`Collector::collect`].
static DESCRIPTIONS: LazyLock<Vec<Desc>> = LazyLock::new(|| {
    let desc = |name: &str, help: &str, labels: &[&str]| {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        Desc::new(name.to_owned(), help.to_owned(), labels, HashMap::new())
            .expect("the names are valid")
    };
    vec![
        desc(
            DELIVERY,
            "Time from the acceptance of a publication to its write to one recipient",
            &["class", "hop"],
        ),
        desc(ROOM, "Delivery latency of the pinned and the busiest rooms", &["room"]),
        desc(
            KNOWN,
            "Rooms with recorded deliveries in the last minute, summed over the shards",
            &[],
        ),
        desc(
            EVICTED,
            "Rooms whose recorded deliveries were discarded to make room for a new room",
            &[],
        ),
    ]
});

impl Collector for Latency {
    fn desc(&self) -> Vec<&Desc> {
        DESCRIPTIONS.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let [delivery, room, known, evicted] = &DESCRIPTIONS[..] else { return Vec::new() };
        let classes = self.classes().into_iter().map(|((class, hop), histogram)| {
            (vec![label("class", &class), label("hop", hop.label())], histogram)
        });
        let rooms = self.series().into_iter();
        let rooms = rooms.map(|(name, histogram)| (vec![label("room", &name)], histogram));
        let windows = self.recorders.iter().map(|recorder| {
            let statistics = recorder.statistics().lock();
            (statistics.windows.len() as u64, statistics.windows.evicted())
        });
        let (len, dropped) = windows.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        vec![
            histograms(delivery, classes),
            histograms(room, rooms),
            single(known, MetricType::GAUGE, len),
            single(evicted, MetricType::COUNTER, dropped),
        ]
    }
}

impl Latency {
    fn classes(&self) -> HashMap<(Arc<str>, Hop), Histogram> {
        // Both hops of the default class are exposed from the start, at zero.
        let none = |hop| (("default".into(), hop), Histogram::default());
        let mut merged: HashMap<_, Histogram> = [none(Hop::Local), none(Hop::Remote)].into();
        for recorder in self.recorders.iter() {
            for (class, hop, histogram) in &recorder.statistics().lock().classes {
                merged.entry((class.clone(), *hop)).or_default().merge(histogram);
            }
        }
        merged
    }

    fn series(&self) -> HashMap<Room, Histogram> {
        let selection = self.top_rooms.selection();
        let rooms = selection.rooms.keys().cloned();
        let mut merged: HashMap<Room, Histogram> =
            rooms.map(|room| (room, Histogram::default())).collect();
        for recorder in self.recorders.iter() {
            for (room, (since, histogram)) in &recorder.statistics().lock().series {
                if selection.rooms.get(room) == Some(since)
                    && let Some(merged) = merged.get_mut(room)
                {
                    merged.merge(histogram);
                }
            }
        }
        merged
    }
}

fn label(name: &str, value: &str) -> proto::LabelPair {
    let mut pair = proto::LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

fn family(desc: &Desc, kind: MetricType) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(desc.fq_name.clone());
    family.set_help(desc.help.clone());
    family.set_field_type(kind);
    family
}

fn histograms(
    desc: &Desc,
    series: impl Iterator<Item = (Vec<proto::LabelPair>, Histogram)>,
) -> MetricFamily {
    let mut family = family(desc, MetricType::HISTOGRAM);
    for (labels, histogram) in series {
        let mut metric = proto::Metric::default();
        metric.set_label(labels);
        metric.set_histogram(buckets(&histogram));
        family.mut_metric().push(metric);
    }
    family
}

fn single(desc: &Desc, kind: MetricType, value: u64) -> MetricFamily {
    let mut family = family(desc, kind);
    let mut metric = proto::Metric::default();
    match kind {
        MetricType::COUNTER => {
            let mut counter = proto::Counter::default();
            counter.set_value(value as f64);
            metric.set_counter(counter);
        }
        _ => {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(value as f64);
            metric.set_gauge(gauge);
        }
    }
    family.mut_metric().push(metric);
    family
}

fn buckets(histogram: &Histogram) -> proto::Histogram {
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
    out.set_bucket(buckets.collect());
    out
}
