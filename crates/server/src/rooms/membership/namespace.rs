//! The members and rooms of one namespace in one shard.

use std::sync::Arc;

use rookery_protocol::Room;
use smallvec::SmallVec;

use super::JoinRefused;
use crate::hashing::{HashMap, HashSet};
use crate::message::{MemberId, Selector};
use crate::rooms::member::Member;
use crate::rooms::recipients::{Recipient, Recipients};

/// From this many members on, a room keeps an index of their positions.
const INDEXED: usize = 32;

#[derive(Default)]
pub(super) struct Namespace {
    members: HashMap<u64, MemberEntry>,
    by_id: HashMap<MemberId, u64>,
    by_user: HashMap<Arc<str>, HashSet<u64>>,
    rooms: HashMap<Room, RoomMembers>,
}

struct MemberEntry {
    member: Arc<Member>,
    rooms: SmallVec<[Room; 2]>,
    /// Those of `rooms` that a backend put the member into.
    assigned: Vec<Room>,
}

/// The members of one room. Snapshots are shared: a change while one is out copies the list.
#[derive(Default)]
struct RoomMembers {
    list: Arc<Vec<Recipient>>,
    positions: Option<HashMap<u64, usize>>,
}

impl Namespace {
    pub(super) fn add(&mut self, member: Arc<Member>) {
        for id in std::iter::once(&member.id).chain(&member.session_id) {
            self.by_id.insert(id.clone(), member.key);
        }
        if let Some(user) = &member.user {
            self.by_user.entry(user.clone()).or_default().insert(member.key);
        }
        let entry = MemberEntry { member, rooms: SmallVec::new(), assigned: Vec::new() };
        self.members.insert(entry.member.key, entry);
    }

    /// Whether it has no member.
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(super) fn remove(&mut self, member: &Member) -> Vec<Room> {
        let Some(entry) = self.members.remove(&member.key) else { return Vec::new() };
        for id in std::iter::once(&member.id).chain(&member.session_id) {
            // A client of Socket.IO 2 that comes back to its namespace has the same id.
            if self.by_id.get(id) == Some(&member.key) {
                self.by_id.remove(id);
            }
        }
        if let Some(user) = &member.user
            && let Some(keys) = self.by_user.get_mut(user)
        {
            keys.remove(&member.key);
            if keys.is_empty() {
                self.by_user.remove(user);
            }
        }
        entry.rooms.into_iter().filter(|room| self.remove_from(room, member.key)).collect()
    }

    pub(super) fn join(
        &mut self,
        member: &Member,
        rooms: &[Room],
        limit: usize,
    ) -> Result<Vec<Room>, JoinRefused> {
        let entry = self.members.get_mut(&member.key).ok_or(JoinRefused::NotConnected)?;
        let new = entry.new_rooms(rooms, limit)?;
        let mut occupied = Vec::new();
        for room in new {
            entry.rooms.push(room.clone());
            let members = self.rooms.entry(room.clone()).or_default();
            if members.list.is_empty() {
                occupied.push(room.clone());
            }
            members.add(entry.member.clone());
        }
        Ok(occupied)
    }

    /// How many members there are.
    pub(super) fn population(&self) -> usize {
        self.members.len()
    }

    pub(super) fn check_join(
        &self,
        member: &Member,
        rooms: &[Room],
        limit: usize,
    ) -> Result<(), JoinRefused> {
        let entry = self.members.get(&member.key).ok_or(JoinRefused::NotConnected)?;
        entry.new_rooms(rooms, limit).map(|_| ())
    }

    /// Marks rooms of a member as those that a backend put it into.
    pub(super) fn assign(&mut self, member: &Member, rooms: &[Room]) {
        let Some(entry) = self.members.get_mut(&member.key) else { return };
        for room in rooms {
            if entry.rooms.contains(room) && !entry.assigned.contains(room) {
                entry.assigned.push(room.clone());
            }
        }
    }

    pub(super) fn leave(&mut self, member: &Member, rooms: &[Room]) -> Vec<Room> {
        let mut vacated = Vec::new();
        for room in rooms {
            let Some(entry) = self.members.get_mut(&member.key) else { break };
            let Some(at) = entry.rooms.iter().position(|r| r == room) else { continue };
            entry.rooms.swap_remove(at);
            entry.assigned.retain(|r| r != room);
            if self.remove_from(room, member.key) {
                vacated.push(room.clone());
            }
        }
        vacated
    }

    /// True: the room has no member left.
    fn remove_from(&mut self, room: &Room, key: u64) -> bool {
        let Some(members) = self.rooms.get_mut(room) else { return false };
        members.remove(key);
        let vacated = members.list.is_empty();
        if vacated {
            self.rooms.remove(room);
        }
        vacated
    }

    pub(super) fn recipients(&self, rooms: &[Room], except: &[Room]) -> Recipients {
        if let ([room], []) = (rooms, except)
            && let Some(members) = self.rooms.get(room)
        {
            return Recipients::of_room(members.list.clone());
        }
        let excepted: HashSet<u64> =
            except.iter().flat_map(|room| self.members_of(room)).map(|m| m.key).collect();
        let mut recipients = Recipients::collector();
        if rooms.is_empty() {
            let members = self.members.values().map(|entry| &entry.member);
            let due = members.filter(|member| !excepted.contains(&member.key));
            due.for_each(|member| recipients.add(member, 0));
        }
        let mut seen = HashSet::default();
        for (position, room) in rooms.iter().enumerate() {
            for member in self.members_of(room) {
                if !excepted.contains(&member.key) && seen.insert(member.key) {
                    recipients.add(member, position);
                }
            }
        }
        recipients.finish()
    }

    /// Whether the room still has the very list of members that `recipients` holds.
    pub(super) fn is_current(&self, room: &Room, recipients: &Recipients) -> bool {
        self.rooms.get(room).is_some_and(|members| recipients.is_list(&members.list))
    }

    pub(super) fn is_in(&self, key: u64, rooms: &[Room]) -> bool {
        self.members.get(&key).is_some_and(|entry| {
            let is_in = |r: &Room| entry.member.has_id(r) || entry.rooms.contains(r);
            rooms.is_empty() || rooms.iter().any(is_in)
        })
    }

    pub(super) fn select(&self, of: &Selector) -> Vec<Arc<Member>> {
        match of {
            Selector::Nobody => Vec::new(),
            Selector::Member(id) => self.by_id(id).cloned().into_iter().collect(),
            Selector::User(user) => {
                let keys = self.by_user.get(user.as_str()).into_iter().flatten();
                let entries = keys.filter_map(|key| self.members.get(key));
                entries.map(|entry| entry.member.clone()).collect()
            }
            Selector::Rooms { rooms, except } => self.recipients(rooms, except).members(),
        }
    }

    pub(super) fn rooms_of(&self, key: u64) -> Vec<Room> {
        self.members.get(&key).map_or_else(Vec::new, |entry| entry.rooms.to_vec())
    }

    pub(super) fn chosen_rooms(&self, key: u64) -> Vec<Room> {
        let Some(entry) = self.members.get(&key) else { return Vec::new() };
        entry.rooms.iter().filter(|room| !entry.assigned.contains(room)).cloned().collect()
    }

    pub(super) fn rooms(&self) -> impl Iterator<Item = (&Room, usize)> {
        self.rooms.iter().map(|(room, members)| (room, members.list.len()))
    }

    pub(super) fn occupancy(&self, room: &Room) -> usize {
        self.rooms.get(room).map_or(0, |members| members.list.len())
    }

    pub(super) fn key_of(&self, id: &str) -> Option<u64> {
        self.by_id.get(id).copied()
    }

    fn by_id(&self, id: &str) -> Option<&Arc<Member>> {
        self.key_of(id).and_then(|key| self.members.get(&key)).map(|entry| &entry.member)
    }

    /// The members of a room; a public id is a room that holds just that member.
    fn members_of<'a>(&'a self, room: &str) -> impl Iterator<Item = &'a Arc<Member>> {
        let members = self.rooms.get(room).map(|m| m.list.iter().map(|r| &r.member));
        members.into_iter().flatten().chain(self.by_id(room))
    }
}

impl MemberEntry {
    /// Those of `rooms` that the member is not in, each once.
    fn new_rooms<'a>(
        &self,
        rooms: &'a [Room],
        limit: usize,
    ) -> Result<SmallVec<[&'a Room; 2]>, JoinRefused> {
        let mut new: SmallVec<[&Room; 2]> = SmallVec::new();
        for room in rooms {
            if !self.rooms.contains(room) && !new.contains(&room) {
                new.push(room);
            }
        }
        let fits = new.is_empty() || self.rooms.len() + new.len() <= limit;
        if fits { Ok(new) } else { Err(JoinRefused::TooMany) }
    }
}

impl RoomMembers {
    fn add(&mut self, member: Arc<Member>) {
        let list = Arc::make_mut(&mut self.list);
        if let Some(positions) = &mut self.positions {
            positions.insert(member.key, list.len());
        }
        list.push(Recipient::from(&member));
        if self.positions.is_none() && list.len() > INDEXED {
            self.positions =
                Some(list.iter().enumerate().map(|(i, r)| (r.member.key, i)).collect());
        }
    }

    fn remove(&mut self, key: u64) {
        let at = match &mut self.positions {
            Some(positions) => positions.remove(&key),
            None => self.list.iter().position(|recipient| recipient.member.key == key),
        };
        let Some(at) = at else { return };
        let list = Arc::make_mut(&mut self.list);
        list.swap_remove(at);
        if let (Some(positions), Some(moved)) = (&mut self.positions, list.get(at)) {
            positions.insert(moved.member.key, at);
        }
        if list.len() <= INDEXED / 2 {
            self.positions = None;
        }
    }
}
