use std::collections::HashMap;
use std::sync::Arc;

use prometheus::Registry;
use prometheus::core::Collector as _;

use super::*;
use crate::message::Hop;

const SERIES: &str = "rookery_room_delivery_latency_seconds";

fn latency(shards: usize, config: config::Latency) -> Latency {
    Latency::new(shards, &config, "podnamed", &Arc::new(Metrics::new().unwrap()))
}

fn tag(room: &str, accepted: Instant) -> DeliveryTag {
    DeliveryTag {
        accepted,
        class: "default".into(),
        hop: Hop::Local,
        room: Some(RoomKey::new("/", room)),
        trace: None,
    }
}

/// `n` deliveries in a room, 1 ms after acceptance.
fn deliver(latency: &Latency, shard: usize, room: &str, n: usize, now: Instant) {
    let tag = tag(room, now);
    let times = vec![now + Duration::from_millis(1); n];
    latency.recorder(shard).written(&tag, n, &times);
}

fn series(latency: &Latency) -> HashMap<String, u64> {
    let families = latency.collect();
    let family = families.iter().find(|family| family.name() == SERIES).unwrap();
    let metrics = family.get_metric().iter();
    metrics
        .map(|m| (m.get_label()[0].value().to_owned(), m.get_histogram().get_sample_count()))
        .collect()
}

fn minute(latency: &Latency, room: &str) -> Option<RoomLatency> {
    latency.of_room(&RoomKey::new("/", room))
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn a_room_s_series_counts_from_its_first_delivery_on_every_shard() {
    let (latency, now) = (latency(2, config::Latency::default()), Instant::now());
    deliver(&latency, 0, "a", 3, now);
    deliver(&latency, 1, "a", 4, now);
    deliver(&latency, 0, "b", 1, now);
    assert_eq!(series(&latency), [("a".into(), 7), ("b".into(), 1)].into());
    assert_eq!(minute(&latency, "a").unwrap().waits.count(), 7);
    assert!(latency.of_room(&RoomKey::new("/other", "a")).is_none());
}

#[test]
fn a_pinned_room_always_has_a_series() {
    let config = config::Latency { track_rooms: vec!["vip".into()], top_rooms: 0, sample_every: 1 };
    let (latency, now) = (latency(2, config), Instant::now());
    assert_eq!(series(&latency), [("vip".into(), 0)].into());
    deliver(&latency, 1, "vip", 2, now);
    deliver(&latency, 1, "a", 2, now);
    latency.maintain(now + seconds(3600));
    assert_eq!(series(&latency), [("vip".into(), 2)].into());
}

#[test]
fn the_busiest_rooms_have_a_series_and_idle_rooms_lose_theirs() {
    let config = config::Latency { top_rooms: 2, ..config::Latency::default() };
    let (latency, start) = (latency(2, config), Instant::now());
    for (room, n) in [("a", 1), ("b", 9), ("c", 40)] {
        deliver(&latency, 0, room, n, start);
        deliver(&latency, 1, room, n, start);
    }
    assert_eq!(series(&latency), [("a".into(), 2), ("b".into(), 18)].into());
    latency.maintain(start);
    deliver(&latency, 0, "a", 1, start);
    deliver(&latency, 1, "c", 5, start);
    assert_eq!(series(&latency), [("b".into(), 18), ("c".into(), 5)].into());
    latency.maintain(start + seconds(600));
    assert_eq!(series(&latency), HashMap::new());
    assert!(latency.rooms().is_empty());
}

#[test]
fn a_series_that_was_removed_starts_from_zero_on_every_shard() {
    let (latency, start) = (latency(2, config::Latency::default()), Instant::now());
    deliver(&latency, 0, "a", 100, start);
    deliver(&latency, 1, "a", 100, start);
    let later = start + seconds(600);
    latency.maintain(later);
    assert_eq!(series(&latency), HashMap::new());
    deliver(&latency, 0, "a", 1, later);
    assert_eq!(series(&latency), [("a".into(), 1)].into());
    deliver(&latency, 1, "a", 1, later);
    assert_eq!(series(&latency), [("a".into(), 2)].into());
}

#[test]
fn a_member_id_counts_for_its_class_but_is_no_room() {
    let (latency, now) = (latency(1, config::Latency::default()), Instant::now());
    deliver(&latency, 0, "podnamedabcdefghijkl", 3, now);
    assert_eq!(series(&latency), HashMap::new());
    assert!(latency.rooms().is_empty());
    assert_eq!(latency.recorders[0].statistics().lock().classes[0].2.count(), 3);
}

#[test]
fn rooms_with_deliveries_on_every_shard_are_merged() {
    let (latency, now) = (latency(4, config::Latency::default()), Instant::now());
    for n in 0..20_000 {
        for shard in 0..4 {
            deliver(&latency, shard, &format!("room-{n}"), 1, now);
        }
    }
    assert_eq!(latency.rooms().len(), 20_000);
    assert!(latency.rooms().iter().all(|room| room.deliveries == 4));
    assert_eq!(minute(&latency, "room-0").unwrap().waits.count(), 4);
}

#[test]
fn a_million_rooms_use_bounded_memory_and_series() {
    let (latency, start) = (latency(2, config::Latency::default()), Instant::now());
    for n in 0..1_000_000_u64 {
        let now = start + Duration::from_micros(100 * n);
        deliver(&latency, (n % 2) as usize, &format!("room-{n}"), 1, now);
        if n % 100_000 == 0 {
            latency.maintain(now);
        }
        if n % 50_000 == 0 {
            assert!(series(&latency).len() <= 50);
        }
    }
    let known: usize = latency.recorders.iter().map(|r| r.statistics().lock().windows.len()).sum();
    assert!(known <= 2 * windows::MAX_ROOMS, "{known}");
    for recorder in latency.recorders.iter() {
        let statistics = recorder.statistics().lock();
        assert!(statistics.series.len() <= 50 && statistics.classes.len() == 1);
        assert_eq!(statistics.classes[0].2.count(), 500_000);
    }
    assert!(minute(&latency, "room-999999").is_some(), "the latest rooms are known");
    let registry = Registry::new();
    registry.register(Box::new(latency)).unwrap();
    let lines = registry.gather().iter().map(|f| f.get_metric().len()).sum::<usize>();
    assert!(lines <= 50 + 4, "{lines}");
}

#[test]
fn every_nth_delivery_is_measured_whatever_the_batch_sizes() {
    for sample_every in [1, 3, 7, 100] {
        let config = config::Latency { sample_every, ..config::Latency::default() };
        let (latency, now) = (latency(1, config), Instant::now());
        let mut all = 0;
        for n in [1, 1, 5, 0, 2, 11, 3, 64, 1, 200] {
            deliver(&latency, 0, "a", n, now);
            all += n as u64;
        }
        let measured = all / u64::from(sample_every);
        let counted = minute(&latency, "a").map_or(0, |minute| minute.waits.count());
        assert_eq!(counted, measured, "1 in {sample_every}");
        assert_eq!(latency.rooms()[0].deliveries, all);
        assert_eq!(series(&latency)["a"], measured);
    }
}

#[test]
fn the_clock_is_read_only_where_a_delivery_is_due() {
    let config = config::Latency { sample_every: 10, ..config::Latency::default() };
    let (latency, now) = (latency(1, config), Instant::now());
    let recorder = latency.recorder(0);
    assert!(!recorder.is_due(9) && recorder.is_due(10));
    recorder.written(&tag("a", now), 9, &[]);
    assert!(recorder.is_due(1));
    recorder.written(&tag("a", now), 1, &[now]);
    assert_eq!(minute(&latency, "a").unwrap().waits.count(), 1);
    assert!(!recorder.is_due(9));
}
