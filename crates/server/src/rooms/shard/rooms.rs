//! The [`ShardRooms`]: the membership of a shard, and what has to follow its changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rookery_protocol::Room;
use tracing::debug;

use super::membership_change::MembershipChange;
use super::presence::ShardPresence;
use crate::message::RoomKey;
use crate::rooms::index::RoomIndex;
use crate::rooms::interest::Interest;
use crate::rooms::member::Member;
use crate::rooms::membership::{JoinRefused, Membership};
use crate::rooms::presence::occupant::{JoinedRoster, Roster};
use crate::rooms::presence::registry::Lease;

/// The membership of one shard, which keeps the instance's index of rooms in step.
pub struct ShardRooms {
    shard: usize,
    membership: Membership,
    index: Arc<RoomIndex>,
    limit: Arc<AtomicUsize>,
    presence: ShardPresence,
}

impl ShardRooms {
    /// No members yet. `limit` is how many rooms one member may be in.
    pub fn new(shard: usize, index: Arc<RoomIndex>, limit: Arc<AtomicUsize>) -> Self {
        let (membership, presence) = (Membership::default(), ShardPresence::default());
        ShardRooms { shard, membership, index, limit, presence }
    }

    /// The membership, to read.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    pub(in crate::rooms) fn add(&mut self, member: Arc<Member>) {
        self.membership.add(member);
    }

    /// Adds a member to rooms, within `limits.roomsPerClient`. `interests` holds an interest in
    /// each room, of which those are kept that this makes occupied. `None`: it is not in the
    /// namespace any more.
    pub fn join(
        &mut self,
        member: &Member,
        rooms: &[Room],
        interests: &mut [Option<Interest>],
    ) -> Option<MembershipChange> {
        let limit = self.limit.load(Ordering::Relaxed);
        let occupied = match self.membership.join(member, rooms, limit) {
            Ok(occupied) => occupied,
            Err(JoinRefused::TooMany) => return Some(MembershipChange::TooManyRooms),
            Err(JoinRefused::NotConnected) => return None,
        };
        for room in rooms {
            let (namespace, user) = (&*member.namespace, member.user.as_deref());
            debug!(member = &*member.id, namespace, user, room = &**room, "joined a room");
        }
        for room in occupied {
            let at = rooms.iter().position(|joined| *joined == room);
            let interest = at.and_then(|at| interests.get_mut(at)).and_then(Option::take);
            let key = RoomKey { namespace: member.namespace.clone(), room };
            self.index.add(key, self.shard, interest);
        }
        Some(MembershipChange::Done)
    }

    /// The same for a backend: the rules of `join` do not decide about these rooms of the member.
    pub fn assign(
        &mut self,
        member: &Member,
        rooms: &[Room],
        interests: &mut [Option<Interest>],
    ) -> Option<MembershipChange> {
        let change = self.join(member, rooms, interests)?;
        if change == MembershipChange::Done {
            self.membership.assign(member, rooms);
        }
        Some(change)
    }

    /// Whether [`ShardRooms::join`] would add the member. Not one whose session is ending.
    ///
    /// # Errors
    /// Why it would not.
    pub fn check_join(&self, member: &Member, rooms: &[Room]) -> Result<(), JoinRefused> {
        if member.outbox.ending().is_some() {
            return Err(JoinRefused::NotConnected);
        }
        self.membership.check_join(member, rooms, self.limit.load(Ordering::Relaxed))
    }

    /// Keeps leases of a member in rooms that it joined, until it leaves them; gives who is there.
    pub fn keep_leases(
        &mut self,
        member: &Member,
        rooms: &[Room],
        leases: Vec<Option<Lease>>,
    ) -> Vec<JoinedRoster> {
        self.presence.keep(member, rooms, leases)
    }

    /// Who is in a room with presence; `None`: no member of this shard is.
    pub(super) fn set_roster(&mut self, key: &RoomKey, roster: Option<&Roster>) {
        self.presence.set_roster(key, roster);
    }

    /// The number of this shard.
    pub(in crate::rooms) fn shard(&self) -> usize {
        self.shard
    }

    /// Removes a member from rooms.
    pub fn leave(&mut self, member: &Member, rooms: &[Room]) {
        self.presence.leave(member, rooms);
        let vacated = self.membership.leave(member, rooms);
        for room in rooms {
            let (namespace, user) = (&*member.namespace, member.user.as_deref());
            debug!(member = &*member.id, namespace, user, room = &**room, "left a room");
        }
        self.vacate(&member.namespace, vacated);
    }

    pub(super) fn remove(&mut self, member: &Member) {
        self.presence.remove(member);
        let vacated = self.membership.remove(member);
        self.vacate(&member.namespace, vacated);
    }

    fn vacate(&self, namespace: &Arc<str>, rooms: Vec<Room>) {
        for room in rooms {
            self.index.remove(&RoomKey { namespace: namespace.clone(), room }, self.shard);
        }
    }
}
