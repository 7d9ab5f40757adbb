//! Which members of one shard are in which rooms. Pure.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;

use smallvec::SmallVec;

use super::member::Member;
use super::waits::Place;
use super::{MemberInfo, Selector};
use crate::connection::outbox::Outbox;
use rookery_protocol::Room;

/// From this many members on, a room keeps an index of their positions.
const INDEXED: usize = 32;

/// The members of a shard and their rooms, by namespace.
#[derive(Default)]
pub struct Membership {
    namespaces: HashMap<Arc<str>, Namespace>,
}

#[derive(Default)]
struct Namespace {
    residents: HashMap<u64, Resident>,
    by_id: HashMap<Arc<str>, u64>,
    by_user: HashMap<Arc<str>, HashSet<u64>>,
    rooms: HashMap<Room, Occupants>,
}

struct Resident {
    member: Arc<Member>,
    rooms: SmallVec<[Room; 2]>,
}

/// The members of one room. Snapshots are shared: a change while one is out copies the list.
#[derive(Default)]
struct Occupants {
    members: Arc<Vec<Seat>>,
    positions: Option<HashMap<u64, usize>>,
}

/// What a join came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joined {
    /// It is a member now; the rooms that this made occupied.
    In(Vec<Room>),
    /// It would be in more rooms than allowed; nothing changed.
    TooMany,
    /// It has left the namespace meanwhile.
    Gone,
}

/// A member in a list of recipients, with its outbox at hand: a delivery needs no more of it.
#[derive(Clone)]
pub struct Seat {
    /// What is for the member.
    pub outbox: Arc<Outbox>,
    /// The member.
    pub member: Arc<Member>,
}

impl From<&Arc<Member>> for Seat {
    fn from(member: &Arc<Member>) -> Self {
        Seat { outbox: member.outbox.clone(), member: member.clone() }
    }
}

/// The recipients of a publication, as they were when it was its turn.
#[derive(Clone)]
pub struct Recipients {
    /// Each once.
    pub members: Arc<Vec<Seat>>,
    /// For each, the position of the first target room it is in; empty: the first for all.
    pub rooms: Vec<u16>,
}

impl Membership {
    /// Adds a member, in no room yet.
    pub fn arrive(&mut self, member: Arc<Member>) {
        let namespace = self.namespaces.entry(member.namespace.clone()).or_default();
        namespace.by_id.insert(member.id.clone(), member.key);
        if let Some(user) = &member.user {
            namespace.by_user.entry(user.clone()).or_default().insert(member.key);
        }
        namespace.residents.insert(member.key, Resident { member, rooms: SmallVec::new() });
    }

    /// Removes a member from everything; gives the rooms that this vacated.
    pub fn depart(&mut self, member: &Member) -> Vec<Room> {
        let Some(namespace) = self.namespaces.get_mut(&member.namespace) else { return Vec::new() };
        let Some(resident) = namespace.residents.remove(&member.key) else { return Vec::new() };
        namespace.by_id.remove(&member.id);
        if let Some(user) = &member.user
            && let Some(keys) = namespace.by_user.get_mut(user)
        {
            keys.remove(&member.key);
            if keys.is_empty() {
                namespace.by_user.remove(user);
            }
        }
        let mut vacated = Vec::new();
        for room in resident.rooms {
            if namespace.remove_from(&room, member.key) {
                vacated.push(room);
            }
        }
        vacated
    }

    /// Adds a member to rooms; to all of them or, over `limit` rooms, to none.
    pub fn join(&mut self, member: &Member, rooms: &[Room], limit: usize) -> Joined {
        let Some(namespace) = self.namespaces.get_mut(&member.namespace) else {
            return Joined::Gone;
        };
        let Some(resident) = namespace.residents.get_mut(&member.key) else { return Joined::Gone };
        let mut new: Vec<&Room> = Vec::new();
        for room in rooms {
            if !resident.rooms.contains(room) && !new.contains(&room) {
                new.push(room);
            }
        }
        if !new.is_empty() && resident.rooms.len() + new.len() > limit {
            return Joined::TooMany;
        }
        let mut occupied = Vec::new();
        for room in new {
            resident.rooms.push(room.clone());
            let occupants = namespace.rooms.entry(room.clone()).or_default();
            if occupants.members.is_empty() {
                occupied.push(room.clone());
            }
            occupants.add(resident.member.clone());
        }
        Joined::In(occupied)
    }

    /// Removes a member from rooms; gives those that this vacated. Being in none of them is fine.
    pub fn leave(&mut self, member: &Member, rooms: &[Room]) -> Vec<Room> {
        let Some(namespace) = self.namespaces.get_mut(&member.namespace) else { return Vec::new() };
        let mut vacated = Vec::new();
        for room in rooms {
            let Some(resident) = namespace.residents.get_mut(&member.key) else { break };
            let Some(at) = resident.rooms.iter().position(|r| r == room) else { continue };
            resident.rooms.swap_remove(at);
            if namespace.remove_from(room, member.key) {
                vacated.push(room.clone());
            }
        }
        vacated
    }

    /// The rooms that a member is in.
    pub fn rooms_of(&self, member: &Member) -> Vec<Room> {
        self.namespaces
            .get(&member.namespace)
            .and_then(|n| n.residents.get(&member.key))
            .map_or_else(Vec::new, |r| r.rooms.to_vec())
    }

    /// Who gets a publication to `rooms` (empty: everybody), but not those in `except`.
    pub fn recipients(&self, namespace: &str, rooms: &[Room], except: &[Room]) -> Recipients {
        let Some(namespace) = self.namespaces.get(namespace) else { return Recipients::none() };
        if except.is_empty() {
            match rooms {
                [room] if let Some(occupants) = namespace.rooms.get(room) => {
                    return occupants.snapshot();
                }
                _ => {}
            }
        }
        let excepted: HashSet<u64> =
            except.iter().flat_map(|room| namespace.of(room)).map(|m| m.key).collect();
        let mut seen = HashSet::new();
        let mut members = Vec::new();
        let mut positions = Vec::new();
        let mut take = |member: &Arc<Member>, position: usize| {
            if !excepted.contains(&member.key) && seen.insert(member.key) {
                members.push(Seat::from(member));
                positions.push(position.min(usize::from(u16::MAX)) as u16);
            }
        };
        if rooms.is_empty() {
            namespace.residents.values().for_each(|r| take(&r.member, 0));
        }
        for (position, room) in rooms.iter().enumerate() {
            namespace.of(room).for_each(|m| take(m, position));
        }
        Recipients { members: Arc::new(members), rooms: positions }
    }

    /// Whether members may have left the room since `recipients` was taken of it. While it is
    /// held, a change of the room makes a new list; a room that was vacated and is occupied again
    /// has a new one too.
    pub fn changed(&self, namespace: &str, rooms: &[Room], recipients: &Recipients) -> bool {
        let Some(namespace) = self.namespaces.get(namespace) else { return true };
        match rooms {
            [room] if recipients.rooms.is_empty() => {
                let now = namespace.rooms.get(room);
                now.is_none_or(|now| !Arc::ptr_eq(&now.members, &recipients.members))
            }
            _ => true,
        }
    }

    /// Whether a member is in any of `rooms` (empty: in the namespace).
    pub fn is_in(&self, member: &Member, rooms: &[Room]) -> bool {
        self.namespaces
            .get(&member.namespace)
            .and_then(|n| n.residents.get(&member.key))
            .is_some_and(|resident| {
                rooms.is_empty()
                    || rooms.iter().any(|r| **r == *member.id || resident.rooms.contains(r))
            })
    }

    /// The selected members.
    pub fn select(&self, namespace: &str, of: &Selector) -> Vec<Arc<Member>> {
        let Some(space) = self.namespaces.get(namespace) else { return Vec::new() };
        match of {
            Selector::Member(id) => space.by_id(id).cloned().into_iter().collect(),
            Selector::User(user) => space
                .by_user
                .get(user.as_str())
                .into_iter()
                .flatten()
                .filter_map(|key| space.residents.get(key))
                .map(|resident| resident.member.clone())
                .collect(),
            Selector::Rooms { rooms, except } => {
                let recipients = self.recipients(namespace, rooms, except);
                recipients.members.iter().map(|seat| seat.member.clone()).collect()
            }
        }
    }

    /// What others may know of a member.
    pub fn info(&self, member: &Member) -> MemberInfo {
        MemberInfo {
            id: member.id.to_string(),
            user: member.user.as_deref().map(str::to_owned),
            connected_at: Some(member.connected_at),
            rooms: self.rooms_of(member),
        }
    }

    /// The rooms of these namespaces with the most members here, at most `most`, in no order.
    pub fn crowded(&self, namespaces: &[Arc<str>], most: usize) -> Vec<(Place, usize)> {
        let mut first = BinaryHeap::with_capacity(most.saturating_add(1));
        for (namespace, space) in &self.namespaces {
            if !namespaces.contains(namespace) {
                continue;
            }
            for (room, occupants) in &space.rooms {
                let room = Reverse((occupants.members.len(), Reverse((namespace, room))));
                if first.len() < most {
                    first.push(room);
                } else if first.peek().is_some_and(|least| room < *least) {
                    first.pop();
                    first.push(room);
                }
            }
        }
        let rooms = first.into_iter().map(|Reverse((members, Reverse((namespace, room))))| {
            (Place { namespace: namespace.clone(), room: room.clone() }, members)
        });
        rooms.collect()
    }

    /// How many members a room has here.
    pub fn occupancy(&self, place: &Place) -> usize {
        let namespace = self.namespaces.get(&place.namespace);
        let occupants = namespace.and_then(|namespace| namespace.rooms.get(&place.room));
        occupants.map_or(0, |occupants| occupants.members.len())
    }

    /// Occupied rooms whose names start with `prefix`, with the number of their members here.
    pub fn rooms(&self, namespace: &str, prefix: &str) -> Vec<(Room, usize)> {
        let Some(namespace) = self.namespaces.get(namespace) else { return Vec::new() };
        namespace
            .rooms
            .iter()
            .filter(|(room, _)| room.starts_with(prefix))
            .map(|(room, occupants)| (room.clone(), occupants.members.len()))
            .collect()
    }
}

impl Namespace {
    /// True: the room is vacated.
    fn remove_from(&mut self, room: &Room, key: u64) -> bool {
        let Some(occupants) = self.rooms.get_mut(room) else { return false };
        occupants.remove(key);
        let vacated = occupants.members.is_empty();
        if vacated {
            self.rooms.remove(room);
        }
        vacated
    }

    fn by_id(&self, id: &str) -> Option<&Arc<Member>> {
        self.by_id.get(id).and_then(|key| self.residents.get(key)).map(|r| &r.member)
    }

    /// The members of a room; a public id is a room that holds just that member.
    fn of<'a>(&'a self, room: &str) -> impl Iterator<Item = &'a Arc<Member>> {
        let members = self.rooms.get(room).map(|o| o.members.iter().map(|seat| &seat.member));
        members.into_iter().flatten().chain(self.by_id(room))
    }
}

impl Occupants {
    fn snapshot(&self) -> Recipients {
        Recipients { members: self.members.clone(), rooms: Vec::new() }
    }

    fn add(&mut self, member: Arc<Member>) {
        let members = Arc::make_mut(&mut self.members);
        if let Some(positions) = &mut self.positions {
            positions.insert(member.key, members.len());
        }
        members.push(Seat::from(&member));
        if self.positions.is_none() && members.len() > INDEXED {
            self.positions =
                Some(members.iter().enumerate().map(|(i, seat)| (seat.member.key, i)).collect());
        }
    }

    fn remove(&mut self, key: u64) {
        let at = match &mut self.positions {
            Some(positions) => positions.remove(&key),
            None => self.members.iter().position(|seat| seat.member.key == key),
        };
        let Some(at) = at else { return };
        let members = Arc::make_mut(&mut self.members);
        members.swap_remove(at);
        if let (Some(positions), Some(moved)) = (&mut self.positions, members.get(at)) {
            positions.insert(moved.member.key, at);
        }
        if members.len() <= INDEXED / 2 {
            self.positions = None;
        }
    }
}

impl Recipients {
    fn none() -> Self {
        Recipients { members: Arc::default(), rooms: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::connection::outbox::{Outbox, OutboxContext, OutboxLimits};
    use crate::rooms::member::Dismiss;
    use crate::telemetry::latency::DeliveryRecorder;
    use rookery_protocol::Revision;

    struct Nobody;

    impl Dismiss for Nobody {
        fn dismiss(&self, _: bool) {}
    }

    fn member(membership: &mut Membership, id: &str) -> Arc<Member> {
        let around = Arc::new(OutboxContext {
            limits: Arc::new(OutboxLimits::new(1 << 20, Duration::from_secs(1), 1 << 20)),
            recorder: DeliveryRecorder::for_test(),
            backlog: Arc::default(),
            runtime: tokio::runtime::Handle::current(),
            tracker: TaskTracker::new(),
        });
        let member = Arc::new(Member {
            id: id.into(),
            namespace: "/".into(),
            user: None,
            connected_at: SystemTime::now(),
            outbox: Outbox::new(Revision::V4, around),
            client: std::sync::Weak::<Nobody>::new(),
            key: crate::message::member_id::next_number(),
        });
        membership.arrive(member.clone());
        member
    }

    #[tokio::test]
    async fn a_leave_is_noticed_also_where_the_room_is_occupied_again() {
        let mut membership = Membership::default();
        let (a, b) = (member(&mut membership, "a"), member(&mut membership, "b"));
        let room: [Room; 1] = ["room".into()];
        membership.join(&a, &room, 10);
        let recipients = membership.recipients("/", &room, &[]);
        assert!(!membership.changed("/", &room, &recipients));
        membership.leave(&a, &room);
        assert!(membership.changed("/", &room, &recipients), "vacated");
        membership.join(&b, &room, 10);
        assert!(membership.changed("/", &room, &recipients), "occupied again");
        assert!(!membership.is_in(&a, &room) && membership.is_in(&b, &room));
    }

    #[tokio::test]
    async fn the_fullest_rooms_are_found() {
        let mut membership = Membership::default();
        for n in 0..9 {
            let member = member(&mut membership, &n.to_string());
            let rooms: Vec<Room> = (n..9).map(|room| room.to_string().into()).collect();
            membership.join(&member, &rooms, 10);
        }
        let place = |room: &str| Place { namespace: "/".into(), room: room.into() };
        let mut crowded = membership.crowded(&["/".into()], 3);
        crowded.sort();
        assert_eq!(crowded, [(place("6"), 7), (place("7"), 8), (place("8"), 9)]);
        assert_eq!(membership.crowded(&["/".into()], 100).len(), 9);
        assert!(membership.crowded(&["/other".into()], 3).is_empty());
        assert_eq!(membership.crowded(&["/".into()], 0), []);
        assert_eq!(membership.occupancy(&place("8")), 9);
        assert_eq!(membership.occupancy(&place("none")), 0);
    }
}
