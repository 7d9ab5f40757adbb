use super::*;

fn record(windows: &mut RoomWindows, room: &str, now: Instant) {
    let tally = Tally::of(now, [now + Duration::from_millis(1)].into_iter());
    let slot = windows.slot(now);
    windows.window(&RoomKey::new("/", room)).0.add(slot, 1, &tally);
}

fn count(windows: &RoomWindows, room: &str, now: Instant) -> u64 {
    let mut latency = RoomLatency::empty(RoomKey::new("/", room));
    windows.add_to(now, &mut latency);
    latency.deliveries
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn a_delivery_counts_for_a_minute() {
    let start = Instant::now();
    for offset in [0, 5, 9] {
        let mut windows = RoomWindows::new(10, start);
        let at = start + seconds(offset);
        record(&mut windows, "a", at);
        assert_eq!(count(&windows, "a", at + seconds(60)), 1, "at {offset}");
        assert_eq!(count(&windows, "a", at + seconds(71)), 0, "at {offset}");
        assert_eq!(count(&windows, "b", at), 0);
        record(&mut windows, "a", at + seconds(71));
        assert_eq!(count(&windows, "a", at + seconds(71)), 1, "its slot starts again from zero");
    }
}

#[test]
fn a_steady_rate_gives_a_steady_count() {
    let start = Instant::now();
    let mut windows = RoomWindows::new(10, start);
    for second in 0..200_u64 {
        for _ in 0..10 {
            record(&mut windows, "a", start + seconds(second));
        }
        if second >= 70 {
            let now = start + seconds(second + 1);
            let counted = count(&windows, "a", now);
            assert!((600..=610).contains(&counted), "{counted} at {second}");
        }
    }
}

#[test]
fn a_late_record_does_not_erase_newer_slots() {
    let start = Instant::now();
    let mut windows = RoomWindows::new(10, start);
    record(&mut windows, "a", start + seconds(75));
    record(&mut windows, "a", start + seconds(5));
    assert_eq!(count(&windows, "a", start + seconds(75)), 2);
}

#[test]
fn a_new_room_evicts_one_without_recent_deliveries() {
    let start = Instant::now();
    let mut windows = RoomWindows::new(100, start);
    for n in 0..100 {
        record(&mut windows, &n.to_string(), start);
    }
    let later = start + seconds(20);
    for n in 0..50 {
        record(&mut windows, &n.to_string(), later);
    }
    for n in 100..120 {
        record(&mut windows, &n.to_string(), later);
    }
    assert_eq!((windows.len(), windows.evicted()), (100, 20));
    let stayed = (0..50).filter(|n| count(&windows, &n.to_string(), later) == 2).count();
    assert!(stayed > 30, "most of the active rooms stay: {stayed}");
}

#[test]
fn a_sweep_removes_expired_rooms_only() {
    let start = Instant::now();
    let mut windows = RoomWindows::new(1000, start);
    for n in 0..1000 {
        let at = if n % 3 == 0 { start + seconds(50) } else { start };
        record(&mut windows, &n.to_string(), at);
    }
    let mut below = windows.len();
    while below > 0 {
        below = windows.sweep(below, 7, start + seconds(80));
    }
    assert_eq!(windows.len(), 334);
    assert!(
        (0..1000).step_by(3).all(|n| count(&windows, &n.to_string(), start + seconds(80)) == 1)
    );
}

#[test]
fn a_walk_visits_every_room_once() {
    let start = Instant::now();
    let mut windows = RoomWindows::new(1000, start);
    for n in 0..100 {
        record(&mut windows, &n.to_string(), start);
    }
    let (mut below, mut seen) = (windows.len(), 0);
    while below > 0 {
        below = windows.walk(below, 7, start, |_, minute| seen += minute.deliveries());
    }
    assert_eq!(seen, 100);
}
