//! The [`ShardPresence`]: who is in those rooms of a shard that have presence or hooks.

use rookery_protocol::Room;

use crate::hashing::HashMap;
use crate::message::RoomKey;
use crate::rooms::member::Member;
use crate::rooms::presence::occupant::{JoinedRoster, Roster};
use crate::rooms::presence::registry::Lease;

/// The leases of a shard's members in rooms with presence or hooks, and the rosters of those that
/// have presence.
#[derive(Default)]
pub(super) struct ShardPresence {
    /// By the members' keys.
    leases: HashMap<u64, Vec<(Room, Lease)>>,
    rosters: HashMap<RoomKey, Roster>,
}

impl ShardPresence {
    /// Keeps a lease in each of these rooms that has one; gives who is there, where the member is told.
    pub(super) fn keep(
        &mut self,
        member: &Member,
        rooms: &[Room],
        leases: Vec<Option<Lease>>,
    ) -> Vec<JoinedRoster> {
        let mut joined = Vec::new();
        for (room, lease) in rooms.iter().zip(leases) {
            let Some(lease) = lease else { continue };
            let is_shown = lease.is_shown();
            let held = self.leases.entry(member.key).or_default();
            match held.iter_mut().find(|(of, _)| of == room) {
                Some((_, before)) => std::mem::replace(before, lease).end(),
                None => held.push((room.clone(), lease)),
            }
            let key = RoomKey { namespace: member.namespace.clone(), room: room.clone() };
            if let Some(roster) = self.rosters.get(&key).filter(|_| is_shown) {
                joined.push(JoinedRoster { room: key.room, roster: roster.clone() });
            }
        }
        joined
    }

    /// Who is in a room; `None`: no member of the shard is.
    pub(super) fn set_roster(&mut self, key: &RoomKey, roster: Option<&Roster>) {
        match roster {
            Some(roster) => drop(self.rosters.insert(key.clone(), roster.clone())),
            None => drop(self.rosters.remove(key)),
        }
    }

    /// A member left these rooms.
    pub(super) fn leave(&mut self, member: &Member, rooms: &[Room]) {
        let Some(held) = self.leases.get_mut(&member.key) else { return };
        for (_, lease) in held.extract_if(.., |(of, _)| rooms.contains(of)) {
            lease.end();
        }
        if held.is_empty() {
            self.leases.remove(&member.key);
        }
    }

    /// The connection of a member ended.
    pub(super) fn remove(&mut self, member: &Member) {
        self.leases.remove(&member.key);
    }
}
