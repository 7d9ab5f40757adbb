//! The [`Membership`] of a shard: which of its members are in which rooms. Pure.

mod namespace;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use rookery_protocol::Room;
use smallvec::SmallVec;

use super::member::Member;
use super::ranking::RankedNamespaces;
use super::recipients::Recipients;
use crate::hashing::HashMap;
use crate::message::{MemberInfo, RoomKey, Selector};
use namespace::Namespace;

/// The members of a shard and their rooms, by namespace.
#[derive(Default)]
pub struct Membership {
    namespaces: HashMap<Arc<str>, Namespace>,
    /// How often members left rooms or were removed.
    departures: u64,
}

/// Why a member does not join; nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinRefused {
    /// It would be in more rooms than allowed.
    TooMany,
    /// It is not in the namespace any more.
    NotConnected,
}

/// Which members of a shard do not get a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exclusion {
    /// These, by their keys, each once; most publications exclude nobody, or their sender alone.
    Members(SmallVec<[u64; 1]>),
    /// Whoever is in one of the excepted rooms.
    Rooms,
}

impl Membership {
    /// Adds a member, in no room yet; not one that was disconnected meanwhile.
    pub fn add(&mut self, member: Arc<Member>) {
        if !member.is_disconnected() {
            self.namespaces.entry(member.namespace.clone()).or_default().add(member);
        }
    }

    /// Removes a member from everything; gives the rooms that have no member in this shard now.
    pub fn remove(&mut self, member: &Member) -> Vec<Room> {
        self.departures += 1;
        let Some(namespace) = self.of(member) else { return Vec::new() };
        let vacated = namespace.remove(member);
        // Those of patterns come and go.
        if namespace.is_empty() {
            self.namespaces.remove(&member.namespace);
        }
        vacated
    }

    /// Adds a member to rooms; to all of them or, over `limit` rooms, to none. Gives those that had
    /// no member in this shard before.
    ///
    /// # Errors
    /// Why it joins none.
    pub fn join(
        &mut self,
        member: &Member,
        rooms: &[Room],
        limit: usize,
    ) -> Result<Vec<Room>, JoinRefused> {
        self.of(member).ok_or(JoinRefused::NotConnected)?.join(member, rooms, limit)
    }

    /// Whether [`Membership::join`] would add the member.
    ///
    /// # Errors
    /// Those of [`Membership::join`].
    pub fn check_join(
        &self,
        member: &Member,
        rooms: &[Room],
        limit: usize,
    ) -> Result<(), JoinRefused> {
        let namespace = self.namespaces.get(&member.namespace).ok_or(JoinRefused::NotConnected)?;
        namespace.check_join(member, rooms, limit)
    }

    /// Marks rooms of a member as those that a backend put it into, until it leaves them.
    pub fn assign(&mut self, member: &Member, rooms: &[Room]) {
        if let Some(namespace) = self.of(member) {
            namespace.assign(member, rooms);
        }
    }

    /// The rooms of a member that it joined by its own events; not those that a backend put it into.
    pub fn chosen_rooms(&self, member: &Member) -> Vec<Room> {
        let namespace = self.namespaces.get(&member.namespace);
        namespace.map_or_else(Vec::new, |namespace| namespace.chosen_rooms(member.key))
    }

    /// Removes a member from rooms; gives those that have no member in this shard now. Being in
    /// none of them is fine.
    pub fn leave(&mut self, member: &Member, rooms: &[Room]) -> Vec<Room> {
        self.departures += 1;
        self.of(member).map_or_else(Vec::new, |namespace| namespace.leave(member, rooms))
    }

    fn of(&mut self, member: &Member) -> Option<&mut Namespace> {
        self.namespaces.get_mut(&member.namespace)
    }

    /// Who gets a publication to `rooms` (empty: everybody), except members of `except`.
    pub fn recipients(&self, namespace: &str, rooms: &[Room], except: &[Room]) -> Recipients {
        let namespace = self.namespaces.get(namespace);
        let recipients = namespace.map_or_else(Recipients::none, |n| n.recipients(rooms, except));
        recipients.taken_after(self.departures)
    }

    /// Which members in this shard `except` excludes.
    pub fn exclusion(&self, namespace: &str, except: &[Room]) -> Exclusion {
        let namespace = if except.is_empty() { None } else { self.namespaces.get(namespace) };
        let Some(namespace) = namespace else { return Exclusion::Members(SmallVec::new()) };
        if except.iter().any(|room| namespace.occupancy(room) > 0) {
            return Exclusion::Rooms;
        }
        let mut keys: SmallVec<[u64; 1]> =
            except.iter().filter_map(|id| namespace.key_of(id)).collect();
        keys.sort_unstable();
        keys.dedup();
        Exclusion::Members(keys)
    }

    /// How many members a publication to `room` goes to, without those in `excluded`.
    pub fn count(&self, namespace: &str, room: &Room, excluded: &[u64]) -> usize {
        self.namespaces.get(namespace).map_or(0, |namespace| {
            let of_room = std::slice::from_ref(room);
            let excluded = excluded.iter().filter(|key| namespace.is_in(**key, of_room)).count();
            let members = namespace.occupancy(room) + usize::from(namespace.key_of(room).is_some());
            members - excluded
        })
    }

    /// Whether members may have left `rooms` since `recipients` was taken of them. While it is
    /// held, a change of the room makes a new list; a room that became empty and has members again
    /// has a new one too.
    pub fn changed(&self, namespace: &str, rooms: &[Room], recipients: &Recipients) -> bool {
        if recipients.departures() == self.departures {
            return false;
        }
        match (self.namespaces.get(namespace), rooms) {
            (Some(namespace), [room]) => !namespace.is_current(room, recipients),
            _ => true,
        }
    }

    /// Whether a member is in any of `rooms` (empty: in the namespace).
    pub fn is_in(&self, member: &Member, rooms: &[Room]) -> bool {
        let namespace = self.namespaces.get(&member.namespace);
        namespace.is_some_and(|namespace| namespace.is_in(member.key, rooms))
    }

    /// Whether the member with this key is in any of `rooms` (empty: in the namespace).
    pub fn has(&self, namespace: &str, rooms: &[Room], key: u64) -> bool {
        self.namespaces.get(namespace).is_some_and(|namespace| namespace.is_in(key, rooms))
    }

    /// The selected members.
    pub fn select(&self, namespace: &str, of: &Selector) -> Vec<Arc<Member>> {
        self.namespaces.get(namespace).map_or_else(Vec::new, |n| n.select(of))
    }

    /// What others may know of a member.
    pub fn info(&self, member: &Member) -> MemberInfo {
        let rooms = self.namespaces.get(&member.namespace).map(|n| n.rooms_of(member.key));
        MemberInfo {
            id: member.shown_id().to_string(),
            user: member.user.as_deref().map(str::to_owned),
            connected_at: Some(member.connected_at),
            rooms: rooms.unwrap_or_default(),
        }
    }

    /// The rooms of these namespaces with the most members in this shard, at most `limit`, in no
    /// order.
    pub fn fullest(&self, namespaces: &RankedNamespaces, limit: usize) -> Vec<(RoomKey, usize)> {
        let mut fullest = BinaryHeap::with_capacity(limit.saturating_add(1));
        for (name, namespace) in &self.namespaces {
            if !namespaces.contains(name) {
                continue;
            }
            for (room, members) in namespace.rooms() {
                let room = Reverse((members, Reverse((name, room))));
                if fullest.len() < limit {
                    fullest.push(room);
                } else if fullest.peek().is_some_and(|least| room < *least) {
                    fullest.pop();
                    fullest.push(room);
                }
            }
        }
        let rooms = fullest.into_iter().map(|Reverse((members, Reverse((namespace, room))))| {
            (RoomKey { namespace: namespace.clone(), room: room.clone() }, members)
        });
        rooms.collect()
    }

    /// How many members a namespace has in this shard.
    pub fn population(&self, namespace: &str) -> usize {
        self.namespaces.get(namespace).map_or(0, Namespace::population)
    }

    /// How many members a room has in this shard.
    pub fn occupancy(&self, key: &RoomKey) -> usize {
        self.namespaces.get(&key.namespace).map_or(0, |namespace| namespace.occupancy(&key.room))
    }

    /// Rooms with members in this shard whose names start with `prefix`, and how many they are.
    pub fn rooms(&self, namespace: &str, prefix: &str) -> Vec<(Room, usize)> {
        let rooms = self.namespaces.get(namespace).into_iter().flat_map(Namespace::rooms);
        let rooms = rooms.filter(|(room, _)| room.starts_with(prefix));
        rooms.map(|(room, members)| (room.clone(), members)).collect()
    }
}

#[cfg(test)]
mod tests;
