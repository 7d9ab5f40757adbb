//! Transitions against a model of who is where.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Users, of which few are enough to meet.
const USERS: usize = 3;

/// Other instances.
const PODS: usize = 2;

fn key(user: usize) -> OccupantKey {
    OccupantKey::User(user.to_string().into())
}

fn occupant(user: usize) -> Occupant {
    Occupant::user(user.to_string().into(), None)
}

fn pod(pod: usize) -> String {
    format!("pod-{pod}")
}

/// What another instance holds, as it is stored.
#[derive(Clone, Default)]
struct Stored {
    version: u64,
    users: BTreeSet<usize>,
}

impl Stored {
    /// A user comes or goes; gives what is told of it.
    fn change(&mut self, user: usize, there: bool, version: u64) -> PodChange {
        let previous = self.version;
        let changed = if there { self.users.insert(user) } else { self.users.remove(&user) };
        self.version = if self.users.is_empty() { 0 } else { version };
        let one = |wanted: bool| if changed && there == wanted { vec![user] } else { vec![] };
        PodChange {
            previous,
            version,
            joined: one(true).into_iter().map(occupant).collect(),
            left: one(false).into_iter().map(key).collect(),
        }
    }

    fn loaded(&self) -> PodOccupants {
        let occupants = self.users.iter().map(|user| (key(*user), Arc::new(occupant(*user))));
        PodOccupants { version: self.version, occupants: occupants.collect() }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Own { user: usize, there: bool },
    Other { pod: usize, user: usize, there: bool, is_lost: bool },
    Gone { pod: usize },
    Tell,
}

fn step() -> impl Strategy<Value = Step> {
    let other = (0..PODS, 0..USERS, any::<bool>(), prop::bool::weighted(0.2));
    prop_oneof![
        (0..USERS, any::<bool>()).prop_map(|(user, there)| Step::Own { user, there }),
        other.prop_map(|(pod, user, there, is_lost)| Step::Other { pod, user, there, is_lost }),
        (0..PODS).prop_map(|pod| Step::Gone { pod }),
        Just(Step::Tell),
    ]
}

fn load(view: &mut RoomView, stored: &[Stored; PODS]) {
    let loaded = stored.iter().enumerate().filter(|(_, stored)| !stored.users.is_empty());
    view.load(loaded.map(|(n, stored)| (pod(n), stored.loaded())).collect(), |_| false);
}

/// Applies transitions to what a client knows. A client never hears twice of the same.
fn tell(view: &mut RoomView, client: &mut BTreeSet<OccupantKey>) {
    let Transitions { joined, left, .. } = view.transitions();
    for gone in left {
        assert!(client.remove(&gone.key), "{gone:?} left twice");
    }
    for new in joined {
        assert!(client.insert(new.key.clone()), "{new:?} joined twice");
    }
}

proptest! {
    #[test]
    fn clients_know_who_is_there_however_it_became_known(
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let (mut view, mut client) = (RoomView::default(), BTreeSet::new());
        let (mut own, mut stored) = (BTreeSet::new(), [Stored::default(), Stored::default()]);
        for (n, step) in steps.into_iter().enumerate() {
            match step {
                Step::Own { user, there } => {
                    if there { own.insert(user) } else { own.remove(&user) };
                    view.set_own(key(user), there.then(|| Arc::new(occupant(user))));
                }
                Step::Other { pod: of, user, there, is_lost } => {
                    let change = stored[of].change(user, there, n as u64 + 1);
                    if !is_lost && view.apply(&pod(of), change) == Applied::Gap {
                        load(&mut view, &stored);
                    }
                }
                Step::Gone { pod: of } => {
                    stored[of] = Stored::default();
                    view.remove_pod(&pod(of));
                }
                Step::Tell => tell(&mut view, &mut client),
            }
        }
        // What was lost at the end is found when the room is loaded the next time.
        load(&mut view, &stored);
        tell(&mut view, &mut client);
        let there = own.iter().chain(stored.iter().flat_map(|stored| &stored.users));
        let expected: BTreeSet<OccupantKey> = there.map(|user| key(*user)).collect();
        prop_assert_eq!(&client, &expected);
        prop_assert_eq!(view.count(), expected.len());
        prop_assert!(view.transitions() == Transitions::default());
    }
}

#[test]
fn a_user_that_moves_between_two_tellings_neither_leaves_nor_joins() {
    let mut view = RoomView::default();
    view.set_own(key(0), Some(Arc::new(occupant(0))));
    assert_eq!(view.transitions().joined.len(), 1);
    let moved = PodChange { previous: 0, version: 7, joined: vec![occupant(0)], left: vec![] };
    assert_eq!(view.apply("other", moved.clone()), Applied::Done);
    assert_eq!(view.apply("other", moved), Applied::Known);
    view.set_own(key(0), None);
    assert_eq!(view.transitions(), Transitions::default());
    assert_eq!(view.remove_pod("other"), [key(0)]);
    assert_eq!(view.transitions().left.len(), 1);
}

#[test]
fn a_load_keeps_what_was_told_after_the_room_was_read() {
    let mut view = RoomView::default();
    let change = |previous, version, user| PodChange {
        previous,
        version,
        joined: vec![occupant(user)],
        left: vec![],
    };
    view.apply("a", change(0, 1, 0));
    view.apply("a", change(1, 2, 1));
    view.apply("b", change(0, 5, 2));
    let read = Stored { version: 1, users: [0].into() }.loaded();
    view.load([("a".to_owned(), read)].into_iter().collect(), |pod| pod == "b");
    view.transitions();
    assert_eq!(view.count(), 3);
    assert_eq!(view.apply("a", change(4, 5, 0)), Applied::Gap);
}

#[test]
fn a_room_with_too_many_is_counted_only() {
    let mut view = RoomView::default();
    (0..3).for_each(|user| view.set_own(key(user), Some(Arc::new(occupant(user)))));
    view.transitions();
    assert_eq!(view.roster(2), Roster::new(3, None));
    assert_eq!(view.roster(3).occupants.unwrap().len(), 3);
}
