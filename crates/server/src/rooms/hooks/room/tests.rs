//! One room on several instances, in every order of what happens.

mod world;

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use world::{Action, PODS, World};

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let of = 0..PODS.len();
    let action = prop_oneof![
        3 => (of.clone(), 0..3_u8).prop_map(|(of, user)| Action::Join(of, user)),
        3 => (of.clone(), 0..3_u8).prop_map(|(of, user)| Action::Leave(of, user)),
        2 => of.clone().prop_map(Action::Hear),
        9 => of.clone().prop_map(Action::Begin),
        8 => of.clone().prop_map(Action::Answer),
        1 => of.clone().prop_map(Action::Lose),
        4 => of.clone().prop_map(Action::Accept),
        2 => Just(Action::Wait),
        1 => of.prop_map(Action::Kill),
        1 => Just(Action::TakeOver),
    ];
    proptest::collection::vec(action, 1..150)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_backend_knows_who_is_there_whatever_happens(actions in actions()) {
        let mut world = World::new();
        actions.into_iter().for_each(|action| world.act(action));
        world.settle();
        let living = world.instances.iter().filter(|instance| instance.is_alive);
        let users: BTreeSet<u8> = living.flat_map(|instance| instance.users.clone()).collect();
        let expected: BTreeSet<String> = users.iter().map(|user| format!("user-{user}")).collect();
        prop_assert_eq!(&world.backend.members, &expected);
        prop_assert_eq!(world.backend.is_occupied, !expected.is_empty());
        prop_assert!(world.redis.record.pending.is_empty() && world.redis.record.sender.is_none());
        for (of, instance) in world.instances.iter().enumerate().filter(|(_, i)| i.is_alive) {
            let is_held = world.redis.held.contains(&of);
            prop_assert_eq!(is_held, !instance.users.is_empty(), "{} holds the room", PODS[of]);
            prop_assert!(instance.room.is_some() == is_held);
        }
    }
}

/// An instance takes the events of one that is gone, and hears of another one that is before it while
/// Redis is being asked.
#[test]
fn events_that_are_taken_are_sent_though_the_room_became_another_instances() {
    let mut world = World::new();
    [Action::Join(0, 1), Action::Join(2, 1)].into_iter().for_each(|action| world.act(action));
    [Action::Begin(2), Action::Begin(0), Action::Answer(0), Action::Answer(2)]
        .into_iter()
        .for_each(|action| world.act(action));
    [Action::Join(2, 0), Action::Begin(0), Action::Answer(0), Action::Begin(0), Action::Lose(0)]
        .into_iter()
        .for_each(|action| world.act(action));
    [Action::Kill(0), Action::TakeOver, Action::Join(1, 0)]
        .into_iter()
        .for_each(|action| world.act(action));
    [Action::Begin(2), Action::Answer(2), Action::Begin(2)]
        .into_iter()
        .for_each(|action| world.act(action));
    world.settle();
    let expected = ["user-0", "user-1"].map(str::to_owned);
    assert_eq!(world.backend.members, expected.into());
}

/// A world in which the first instance has told of a user.
fn told() -> World {
    let mut world = World::new();
    world.act(Action::Join(0, 1));
    world.settle();
    assert!(world.backend.members.contains("user-1"));
    world
}

/// Redis loses everything; each instance writes who is there, and looks at the room again.
fn lose_data(world: &mut World) {
    world.redis.record = Record::default();
    world.redis.held.clear();
    world.instances.iter_mut().filter_map(|instance| instance.room.as_mut()).for_each(|room| {
        room.check();
    });
}

#[test]
fn what_was_told_is_written_again_when_redis_lost_it() {
    let mut world = told();
    let (record, seen) = (world.redis.record.clone(), world.backend.seen.clone());
    lose_data(&mut world);
    world.settle();
    assert_eq!(world.backend.seen, seen, "nothing was told");
    assert_eq!(world.redis.record.members, record.members);
    assert_eq!(world.redis.record.version.number, record.version.number + 1);
    world.act(Action::Leave(0, 1));
    world.settle();
    assert!(!world.backend.is_occupied);
}

#[test]
fn what_was_not_confirmed_for_long_is_not_written_over_what_redis_has() {
    let mut world = told();
    world.now += TRUST;
    world.redis.record = Record::default();
    world.redis.record.version = Version { number: 1, pod: "pod-zzzz".to_owned() };
    world.redis.held.clear();
    // Another instance may have told that all left; so who is there is told.
    (world.backend.is_occupied, world.backend.members) = (false, BTreeSet::new());
    world.instances[0].room.as_mut().unwrap().check();
    world.settle();
    assert!(world.backend.members.contains("user-1"));
}

#[test]
fn an_instance_that_is_not_the_first_tells_when_the_first_does_not() {
    let mut world = told();
    world.act(Action::Join(1, 2));
    world.act(Action::Join(0, 3));
    // The first one hangs; a minute passes twice.
    for _ in 0..DOUBTS {
        for _ in 0..9 {
            [Action::Begin(1), Action::Answer(1), Action::Accept(1)]
                .into_iter()
                .for_each(|action| world.act(action));
        }
        assert!(!world.backend.members.contains("user-2"), "it is not its turn");
        world.instances[1].room.as_mut().unwrap().check();
        world.now += Duration::from_secs(60);
    }
    for _ in 0..9 {
        [Action::Hear(1), Action::Begin(1), Action::Answer(1), Action::Accept(1)]
            .into_iter()
            .for_each(|action| world.act(action));
    }
    assert!(world.backend.members.contains("user-2") && world.backend.members.contains("user-3"));
    world.settle();
    assert_eq!(world.backend.members.len(), 3);
}
