//! Who is in which room.

use super::*;
use crate::rooms::testing::{context, member};
use crate::telemetry::latency::DeliveryRecorder;

fn added(membership: &mut Membership, id: &str) -> Arc<Member> {
    let member = member(id, &context(&DeliveryRecorder::for_test()));
    membership.add(member.clone());
    member
}

fn key(room: &str) -> RoomKey {
    RoomKey::new("/", room)
}

#[tokio::test]
async fn a_leave_is_noticed_although_the_room_has_members_again() {
    let mut membership = Membership::default();
    let (a, b) = (added(&mut membership, "a"), added(&mut membership, "b"));
    let room: [Room; 1] = ["room".into()];
    membership.join(&a, &room, 10).unwrap();
    let recipients = membership.recipients("/", &room, &[]);
    assert!(!membership.changed("/", &room, &recipients));
    membership.leave(&a, &room);
    assert!(membership.changed("/", &room, &recipients), "empty");
    membership.join(&b, &room, 10).unwrap();
    assert!(membership.changed("/", &room, &recipients), "a new list");
    assert!(!membership.is_in(&a, &room) && membership.is_in(&b, &room));
}

#[tokio::test]
async fn recipients_of_several_rooms_are_current_until_somebody_leaves() {
    let mut membership = Membership::default();
    let (a, b) = (added(&mut membership, "a"), added(&mut membership, "b"));
    let rooms: [Room; 2] = ["one".into(), "two".into()];
    membership.join(&a, &rooms, 10).unwrap();
    let recipients = membership.recipients("/", &rooms, &[]);
    let all = membership.recipients("/", &[], &[]);
    membership.join(&b, &rooms, 10).unwrap();
    assert!(!membership.changed("/", &rooms, &recipients));
    assert!(!membership.changed("/", &[], &all));
    membership.remove(&b);
    assert!(membership.changed("/", &rooms, &recipients));
    assert!(membership.changed("/", &[], &all));
}

#[tokio::test]
async fn the_fullest_rooms_are_found() {
    let mut membership = Membership::default();
    for n in 0..9 {
        let member = added(&mut membership, &n.to_string());
        let rooms: Vec<Room> = (n..9).map(|room| room.to_string().into()).collect();
        membership.join(&member, &rooms, 10).unwrap();
    }
    let mut fullest = membership.fullest(&in_namespace("/"), 3);
    fullest.sort();
    assert_eq!(fullest, [(key("6"), 7), (key("7"), 8), (key("8"), 9)]);
    assert_eq!(membership.fullest(&RankedNamespaces::All, 100).len(), 9);
    assert!(membership.fullest(&in_namespace("/other"), 3).is_empty());
    assert_eq!(membership.fullest(&in_namespace("/"), 0), []);
    assert_eq!(membership.occupancy(&key("8")), 9);
    assert_eq!(membership.occupancy(&key("none")), 0);
}

#[tokio::test]
async fn a_member_that_was_disconnected_before_it_was_added_is_not_added() {
    let mut membership = Membership::default();
    let member = member("late", &context(&DeliveryRecorder::for_test()));
    member.set_disconnected();
    membership.remove(&member);
    membership.add(member.clone());
    assert_eq!(membership.join(&member, &["room".into()], 10), Err(JoinRefused::NotConnected));
    assert!(membership.recipients("/", &[], &[]).is_empty());
}

#[tokio::test]
async fn an_exclusion_is_by_member_unless_a_room_with_members_is_named() {
    let mut membership = Membership::default();
    let a = added(&mut membership, "a");
    let room: [Room; 1] = ["room".into()];
    let of = |membership: &Membership, except: &[&str]| {
        let except: Vec<Room> = except.iter().map(|name| Room::from(*name)).collect();
        membership.exclusion("/", &except)
    };
    let members = |keys: &[u64]| Exclusion::Members(keys.iter().copied().collect());
    assert_eq!(of(&membership, &["a"]), members(&[a.key]));
    assert_eq!(of(&membership, &["nobody", "room"]), members(&[]));
    membership.join(&a, &room, 10).unwrap();
    assert_eq!(of(&membership, &["nobody", "room"]), Exclusion::Rooms);
    assert_eq!(membership.exclusion("/other", &room), members(&[]));
}

fn in_namespace(name: &str) -> RankedNamespaces {
    RankedNamespaces::Named(vec![name.into()])
}

#[tokio::test]
async fn nothing_is_left_of_a_namespace_whose_last_member_is_gone() {
    let mut membership = Membership::default();
    let members = ["1", "2"].map(|id| added(&mut membership, id));
    membership.join(&members[0], &["room".into()], 1).unwrap();
    assert_eq!(membership.remove(&members[0]), [Room::from("room")]);
    assert_eq!(membership.namespaces.len(), 1);
    membership.remove(&members[1]);
    assert!(membership.namespaces.is_empty());
}
