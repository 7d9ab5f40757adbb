use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// What a backend knows of a room by the events that it was told.
#[derive(Default)]
struct Backend {
    is_occupied: bool,
    members: BTreeSet<String>,
}

impl Backend {
    /// Hears an event, which must be possible after those before.
    fn hear(&mut self, event: &PendingEvent) {
        let json: serde_json::Value = serde_json::from_slice(&event.body).unwrap();
        let user = json["user"].as_str().unwrap_or_default().to_owned();
        match event.hook {
            RoomHook::RoomOccupied => {
                assert!(!std::mem::replace(&mut self.is_occupied, true), "it was occupied");
            }
            RoomHook::RoomVacated => {
                assert!(std::mem::take(&mut self.is_occupied), "it was not occupied");
                assert!(self.members.is_empty(), "{:?} are in it", self.members);
            }
            RoomHook::MemberJoined => {
                assert!(self.is_occupied && self.members.insert(user), "it joined twice");
            }
            RoomHook::MemberLeft => assert!(self.members.remove(&user), "it was not there"),
        }
    }
}

fn occupants(users: &BTreeSet<u8>) -> HashMap<OccupantKey, Arc<Occupant>> {
    let of = |user: &u8| Occupant::user(format!("user-{user}").into(), None);
    users.iter().map(of).map(|occupant| (occupant.key.clone(), Arc::new(occupant))).collect()
}

/// The next change of a record.
fn decide(
    record: &Record,
    users: &BTreeSet<u8>,
    hooks: RoomHooks,
    (may_vacate, limit): (bool, usize),
) -> Option<Change> {
    let present = occupants(users);
    let differing: BTreeSet<OccupantKey> =
        record.members.keys().chain(present.keys()).cloned().collect();
    record.decide(Situation {
        key: &RoomKey::new("/", "r"),
        present: &present,
        differing: differing.into_iter().collect(),
        is_occupied: !present.is_empty(),
        hooks,
        may_vacate,
        limit,
        at: SystemTime::UNIX_EPOCH,
    })
}

/// The events of a change.
fn told(change: Option<Change>) -> Vec<&'static str> {
    change.iter().flat_map(|change| &change.events).map(|event| event.hook.label()).collect()
}

proptest! {
    #[test]
    fn a_backend_that_hears_every_event_knows_who_is_there(
        steps in proptest::collection::vec(
            (proptest::collection::btree_set(0..6_u8, 0..6), any::<bool>(), 1..5_usize),
            1..40,
        ),
    ) {
        let (mut record, mut backend) = (Record::default(), Backend::default());
        let mut change = |users: &BTreeSet<u8>, may_vacate, limit| {
            let change = decide(&record, users, RoomHooks::ALL, (may_vacate, limit))?;
            assert!(change.events.len() <= limit);
            change.events.iter().for_each(|event| backend.hear(event));
            record.apply(&change, "pod-aaaa");
            Some((record.is_occupied, backend.is_occupied))
        };
        let mut last = BTreeSet::new();
        for (users, may_vacate, limit) in steps {
            if let Some((told, known)) = change(&users, may_vacate, limit) {
                prop_assert_eq!(told, known);
            }
            last = users;
        }
        while change(&last, true, 3).is_some() {}
        prop_assert_eq!(backend.is_occupied, !last.is_empty());
        let expected: BTreeSet<String> = last.iter().map(|user| format!("user-{user}")).collect();
        prop_assert_eq!(&backend.members, &expected);
        prop_assert_eq!(record.members.len(), expected.len());
    }
}

#[test]
fn a_room_is_told_as_occupied_before_its_members_and_as_vacated_after_them() {
    let (ada, nobody) = (BTreeSet::from([1]), BTreeSet::new());
    let mut record = Record::default();
    let occupied = decide(&record, &ada, RoomHooks::ALL, (false, 9)).unwrap();
    record.apply(&occupied, "pod-aaaa");
    assert_eq!(told(Some(occupied)), ["room_occupied", "member_joined"]);
    assert_eq!((record.version.number, record.sender.as_deref()), (1, Some("pod-aaaa")));
    assert_eq!(decide(&record, &ada, RoomHooks::ALL, (true, 9)), None);
    // It is not vacated before its time.
    assert_eq!(told(decide(&record, &nobody, RoomHooks::ALL, (false, 9))), ["member_left"]);
    let vacated = decide(&record, &nobody, RoomHooks::ALL, (true, 9)).unwrap();
    record.apply(&vacated, "pod-bbbb");
    assert_eq!(told(Some(vacated)), ["member_left", "room_vacated"]);
    let numbers: Vec<u64> = record.pending.keys().copied().collect();
    assert!(numbers.is_sorted() && numbers.len() == 4);
    record.pending.clear();
    assert!(record.is_blank());
}

#[test]
fn only_the_events_that_a_rule_names_are_told() {
    let of = |hooks: &[RoomHook]| hooks.iter().copied().collect::<RoomHooks>();
    let (both, nobody) = (BTreeSet::from([1, 2]), BTreeSet::new());
    let rooms = of(&[RoomHook::RoomOccupied, RoomHook::RoomVacated]);
    let mut record = Record::default();
    let change = decide(&record, &both, rooms, (false, 9)).unwrap();
    record.apply(&change, "pod-aaaa");
    assert_eq!((told(Some(change)), record.members.len()), (vec!["room_occupied"], 0));
    // A rule that names members now tells of those who are there.
    let change = decide(&record, &both, RoomHooks::ALL, (false, 9)).unwrap();
    record.apply(&change, "pod-aaaa");
    assert_eq!(told(Some(change)), ["member_joined", "member_joined"]);
    let left = decide(&record, &nobody, of(&[RoomHook::MemberLeft]), (true, 9));
    assert_eq!(told(left), ["member_left", "member_left"]);
    // Without hooks, what was told is forgotten and nothing is told.
    let change = decide(&record, &both, RoomHooks::default(), (false, 9)).unwrap();
    record.apply(&change, "pod-aaaa");
    record.pending.clear();
    assert!(told(Some(change)).is_empty());
    assert_eq!(decide(&record, &both, RoomHooks::default(), (false, 9)), None);
}

#[test]
fn a_version_reads_as_it_is_written() {
    let version = Version::default().next("pod:a");
    assert_eq!(Version::parse(&version.to_string()), Some(version));
    assert_eq!(Version::default().to_string(), "");
    assert_eq!(Version::parse(""), None);
}
