//! Rankings merged over instances.

use super::*;

fn key(room: &str) -> RoomKey {
    RoomKey::new("/", room)
}

/// A share whose deliveries all waited for as long as this bucket stands for.
fn share(at: usize, members: usize, bucket: usize, deliveries: u64) -> RoomShare {
    let mut counts = vec![0; bucket];
    counts.push(deliveries);
    let wait = Histogram::default().exposed().nth(bucket).unwrap().0;
    RoomShare { at, members, deliveries, counts, nanos: 0, max: nanos(wait) }
}

fn names(rooms: &[RoomFigures]) -> Vec<&str> {
    rooms.iter().map(|room| &*room.key.room).collect()
}

#[test]
fn shares_of_several_instances_add_up() {
    let keys = [key("a"), key("b")];
    let shares = [share(0, 2, 3, 10), share(0, 1, 8, 5), share(1, 1, 0, 1), share(9, 1, 1, 1)];
    let rooms = merge(&keys, shares.into_iter());
    assert_eq!((rooms[0].members, rooms[0].deliveries, rooms[0].latency.count()), (3, 15, 15));
    assert_eq!((rooms[0].latency.counts()[3], rooms[0].latency.counts()[8]), (10, 5));
    assert_eq!(rooms[0].latency.max(), Duration::from_millis(25));
    assert_eq!((rooms[1].members, rooms[1].deliveries), (1, 1));
}

#[test]
fn each_key_ranks_in_its_own_order() {
    let keys = ["slow", "busy", "full", "idle", "gone"].map(key);
    let shares = [
        share(0, 1, 15, 10),
        share(1, 2, 4, 1000),
        share(2, 300, 2, 5),
        RoomShare { at: 3, members: 40, ..RoomShare::default() },
    ];
    let ranked = |by| rank(merge(&keys, shares.clone().into_iter()), by, 10);
    assert_eq!(names(&ranked(SortBy::P99)), ["slow", "busy", "full"]);
    assert_eq!(names(&ranked(SortBy::Rate)), ["busy", "slow", "full"]);
    assert_eq!(names(&ranked(SortBy::Members)), ["full", "idle", "busy", "slow"]);
    assert!(ranked(SortBy::Members)[1].p99().is_none());
    assert_eq!(rank(ranked(SortBy::Rate), SortBy::Rate, 1).len(), 1);
}

#[test]
fn a_room_that_two_instances_name_is_asked_about_once_with_the_weight_of_both() {
    let named = [("a", 5), ("b", 7), ("a", 4)].map(|(room, n)| (key(room), n));
    assert_eq!(*union(named.clone().into_iter(), SortBy::Rate), [key("a"), key("b")]);
    assert_eq!(*union(named.into_iter(), SortBy::P99), [key("b"), key("a")]);
}

#[test]
fn a_question_is_bounded_in_rooms_and_bytes() {
    let many = (0..10_000).map(|n| (key(&format!("{n}")), n));
    let keys = union(many, SortBy::Rate);
    assert_eq!((keys.len(), &*keys[0].room), (MAX_ASKED, "9999"));
    let long = (0..2_000).map(|n| (key(&format!("{n:01000}")), n));
    let keys = union(long, SortBy::Rate);
    assert_eq!(keys.len(), MAX_NAME_BYTES / 1001);
}

#[test]
fn figures_of_other_instances_cannot_overflow() {
    let absurd = RoomShare {
        at: 0,
        members: usize::MAX,
        deliveries: u64::MAX,
        counts: vec![u64::MAX; 40],
        nanos: u64::MAX,
        max: u64::MAX,
    };
    let rooms = merge(&[key("a")], std::iter::repeat_n(absurd, 3));
    assert_eq!(rooms[0].members, usize::MAX);
    assert!(rooms[0].p99().is_some());
}

#[test]
fn a_share_keeps_the_counts_of_its_histogram() {
    let before =
        Histogram::from_parts(&[1, 0, 3], Duration::from_micros(500), Duration::from_micros(240));
    let share = RoomShare::new(0, 9, &before);
    assert_eq!((share.counts.as_slice(), share.deliveries), (&[1, 0, 3][..], 9));
    let after = share.latency();
    assert_eq!(
        (after.counts(), after.sum(), after.max()),
        (before.counts(), before.sum(), before.max())
    );
}
