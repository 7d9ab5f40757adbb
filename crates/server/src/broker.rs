//! The [`Broker`]: the one place that knows both the rooms of this instance and the other
//! instances. It decides where publications go, answers what other servers ask, and asks them.

mod acked;
mod acks;
mod admins;
mod cluster;
mod drain_order;
mod fleet;
mod inbound;
mod orders;
mod presence;
mod present;
mod publish;
mod ranking;
mod room_hooks;
mod servers;

use std::sync::Arc;
use std::time::Duration;

use rookery_protocol::encoded::Encoded;
use rookery_protocol::{Data, Room};

use crate::backplane::Backplane;
use crate::connection::Wait;
use crate::message::{MemberId, PodId};
use crate::rooms::local::LocalRooms;
use crate::rooms::member::Member;
use crate::rooms::shard::Reply;
use crate::rooms::statistics::RoomStatistics;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::Tracer;
pub use acked::AckedReceipt;
use acks::Acks;
use admins::AdminInbox;
pub use admins::AdminQuestion;
pub use cluster::{Matched, MembersAnswer, RoomsAnswer};
pub use drain_order::DrainOrder;
pub use fleet::Fleet;
use presence::Inbox;
pub use present::PresenceAnswer;
pub use publish::{Accepted, TryPublishError};
pub use room_hooks::{HooksOf, RoomHookParts};

/// How long other servers may take to answer a question.
const QUERY_DEADLINE: Duration = Duration::from_secs(5);

/// What a [`Broker`] is made of.
#[derive(Clone)]
pub struct BrokerParts {
    /// The rooms of this instance.
    pub rooms: LocalRooms,
    /// The latency, rate and members of these rooms.
    pub statistics: RoomStatistics,
    /// The other instances; `None`: this one is all there is.
    pub backplane: Option<Backplane>,
    /// Whether publications are refused while the other instances cannot be reached.
    pub refuse_when_down: bool,
    /// How the backend is told of rooms; `None`: it is not.
    pub room_hooks: Option<RoomHookParts>,
    /// Occupants up to which a room with presence names them.
    pub presence_max: u32,
    /// The counters of publications and refusals.
    pub metrics: Arc<Metrics>,
    /// Makes the spans of publications.
    pub tracer: Tracer,
}

/// Connects local rooms and the other instances. Cloning is shallow.
#[derive(Clone)]
pub struct Broker {
    parts: Arc<BrokerParts>,
    acks: Arc<Acks>,
    presence: Arc<Inbox>,
    admins: Arc<AdminInbox>,
    query_deadline: Duration,
}

impl Broker {
    /// A broker of these parts.
    pub fn new(parts: BrokerParts) -> Self {
        Broker {
            parts: Arc::new(parts),
            acks: Arc::default(),
            presence: Arc::new(Inbox::new()),
            admins: Arc::new(AdminInbox::new()),
            query_deadline: QUERY_DEADLINE,
        }
    }

    /// The same, with another deadline for the questions to other servers.
    pub fn with_query_deadline(self, query_deadline: Duration) -> Self {
        Broker { query_deadline, ..self }
    }

    /// The name of this pod.
    pub fn pod(&self) -> &PodId {
        self.parts.rooms.pod()
    }

    /// Commands that wait for the shards.
    pub fn waiting(&self) -> usize {
        self.parts.rooms.waiting()
    }

    /// Whether a room's name is, or may be, the public id of a member of this cluster: what is
    /// sent there is for that member alone, so nobody else may join it. Where there are other
    /// servers, the form decides, whether or not Redis is up and their names are known.
    pub fn is_member_id(&self, room: &str) -> bool {
        self.parts.is_member_id(room)
    }

    /// The turn of a session of this shard ends: what it published to few members is delivered.
    pub fn end_turn(&self, shard: usize) {
        self.parts.rooms.end_turn(shard);
    }

    /// Adds a member of this shard that its namespace accepted. Gives what must be waited for
    /// before its first event is handled.
    pub fn connect(&self, shard: usize, member: Arc<Member>) -> Wait {
        self.parts.rooms.connect(shard, member)
    }

    /// Hears what others publish to the whole namespace of a member while it is there: at once where it
    /// is named in the configuration, else after the wait, of a second at most.
    pub fn hear_namespace(&self, member: &Member) -> Wait {
        self.parts.rooms.hear_namespace(member)
    }

    /// Removes a member that is gone from its namespace. The wait is for room in the shard's
    /// queue; the member gets nothing any more even before.
    pub fn disconnect(&self, shard: usize, member: Arc<Member>) -> Wait {
        self.parts.rooms.disconnect(shard, member)
    }

    /// A member acknowledged the event with this id, with arguments of so many bytes in all.
    pub fn acknowledged(&self, member: &Member, id: u64, args: Vec<Data>, bytes: usize) {
        self.acks.received((&member.namespace, member.key), id, args, bytes);
    }

    /// Makes a member join rooms, all or none, once what others publish there is heard here, at most
    /// a second later. `reply` makes the answer.
    pub fn join(&self, shard: usize, member: Arc<Member>, rooms: Vec<Room>, reply: Reply) -> Wait {
        self.parts.rooms.join(shard, member, rooms, reply)
    }

    /// As [`Broker::join`], for rooms that a backend puts the member into: the rules of `join` do not
    /// decide about them.
    pub fn assign(
        &self,
        shard: usize,
        member: Arc<Member>,
        rooms: Vec<Room>,
        reply: Reply,
    ) -> Wait {
        self.parts.rooms.assign(shard, member, rooms, reply)
    }

    /// Makes a member leave rooms; `reply` makes the answer.
    pub fn leave(&self, shard: usize, member: Arc<Member>, rooms: Vec<Room>, reply: Reply) -> Wait {
        self.parts.rooms.leave(shard, member, rooms, reply)
    }

    /// Makes a member leave the rooms in which it `may_stay` no more, but for those that a backend
    /// put it into. `tell` makes what it is sent, of the rooms that it left.
    pub fn leave_except(
        &self,
        shard: usize,
        member: Arc<Member>,
        may_stay: impl Fn(&Room) -> bool + Send + 'static,
        tell: impl FnOnce(&[Room]) -> Vec<Encoded> + Send + 'static,
    ) -> Wait {
        self.parts.rooms.leave_except(shard, member, may_stay, tell)
    }
}

impl BrokerParts {
    /// As [`Broker::is_member_id`].
    fn is_member_id(&self, room: &str) -> bool {
        let is_of_others = |backplane: &Backplane| {
            // Earlier versions made ids without a capital letter.
            let of_a_peer = |pod: &str| backplane.peers().iter().any(|peer| peer == pod);
            MemberId::may_be(room) || MemberId::pod_of(room).is_some_and(of_a_peer)
        };
        MemberId::is_of(room, self.rooms.pod()) || self.backplane.as_ref().is_some_and(is_of_others)
    }
}
