//! The [`ShardCommand`]: everything that changes or uses a shard's rooms.

use std::sync::Arc;

use rookery_protocol::Room;
use rookery_protocol::encoded::Encoded;
use tokio::sync::oneshot;

use super::membership_change::MembershipChange;
use super::rooms::ShardRooms;
use crate::message::RoomKey;
use crate::rooms::encoded_publication::EncodedPublication;
use crate::rooms::interest::Interest;
use crate::rooms::member::Member;
use crate::rooms::presence::occupant::{JoinedRoster, Roster};
use crate::rooms::presence::registry::Lease;

/// Makes the answer to a join or leave. It is written to the member's outbox in the step that
/// changes the membership; `None`: there is no answer. It is given who is in those of the joined
/// rooms that have presence.
pub type Reply = Box<dyn FnOnce(MembershipChange, &[JoinedRoster]) -> Option<Encoded> + Send>;

/// What a shard is told.
pub enum ShardCommand {
    /// A client is connected to a namespace.
    Connect(Arc<Member>),
    /// It is disconnected from it.
    Disconnect(Arc<Member>),
    /// It joins rooms, all or none.
    Join(Box<Join>),
    /// It leaves rooms.
    Leave {
        /// The member that leaves.
        member: Arc<Member>,
        /// The rooms that it leaves.
        rooms: Vec<Room>,
        /// Makes the answer.
        reply: Reply,
    },
    /// A publication; the number of recipients goes to whoever waits for it.
    Publish(Arc<EncodedPublication>, Option<oneshot::Sender<usize>>),
    /// Who is in a room with presence.
    Presence(Arc<PresenceUpdate>),
    /// A question or order of the HTTP API or of another instance.
    Query(Box<dyn FnOnce(&mut ShardRooms) + Send>),
}

/// A member joins rooms, all or none.
pub struct Join {
    /// The member that joins.
    pub member: Arc<Member>,
    /// The rooms that it joins.
    pub rooms: Vec<Room>,
    /// An interest in each room, where there are other instances.
    pub interests: Vec<Option<Interest>>,
    /// A lease in each room that has presence or hooks.
    pub leases: Vec<Option<Lease>>,
    /// Whether a backend puts it there: then the rules of `join` do not decide about the rooms.
    pub by_backend: bool,
    /// Makes the answer.
    pub reply: Reply,
    /// Where the answer says who is there, which makes it long: the join may be carried out some turns
    /// after commands that came later, and whoever waits for it is told then.
    pub carried_out: Option<oneshot::Sender<()>>,
}

/// Who is in a room with presence, and what its members are told of the change.
#[derive(Debug)]
pub struct PresenceUpdate {
    /// The room.
    pub key: RoomKey,
    /// Who is there now; `None`: no member of the shard is.
    pub roster: Option<Roster>,
    /// What is published to the members, in the step that changes the roster: a member gets what
    /// its own answer does not contain, and nothing else.
    pub events: Vec<Arc<EncodedPublication>>,
}
