//! The [`LocalRooms`]: the rooms of this instance, over all of its shards.

mod queries;
mod reservation;
mod subscriptions;

use std::sync::Arc;

use futures_util::future::join_all;
use rookery_protocol::Room;
use rookery_protocol::encoded::Encoded;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::encoded_publication::EncodedPublication;
use super::index::{RoomIndex, ShardSet};
use super::interest::{Confirmation, Interest, RoomInterests};
use super::member::Member;
use super::membership::JoinRefused;
use super::presence::occupant::{Roster, TrackedOccupant};
use super::presence::registry::{Lease, PresenceRegistry};
use super::shard::{
    Join, MembershipChange, PresenceUpdate, Reply, ShardCommand, ShardQueue, ShardRooms,
};
use super::shares::Share;
use super::topic::MemberChannels;
use crate::connection::Wait;
use crate::message::{PodId, Publication, RoomKey};
use crate::telemetry::trace::Tracer;
pub use queries::{PreparedJoin, SelectedJoin};
use reservation::Permits;
pub use reservation::{RecipientCount, Reservation};

/// Gives the latency class of a room.
pub type Classify = Arc<dyn Fn(&str) -> Arc<str> + Send + Sync>;

/// What [`LocalRooms`] are made of.
pub struct LocalRoomsParts {
    /// The shards' queues.
    pub shards: Vec<ShardQueue>,
    /// Which of them have members of a room.
    pub index: Arc<RoomIndex>,
    /// What has to be heard of other instances; `None` where there are none.
    pub interests: Option<Arc<RoomInterests>>,
    /// Who is in rooms with presence or hooks.
    pub presence: Arc<PresenceRegistry>,
    /// Gives the latency class of a room.
    pub classify: Classify,
    /// Makes the spans of deliveries.
    pub tracer: Tracer,
}

/// The rooms of this instance and their members. Cloning is shallow.
///
/// Every question is answered by all shards; the futures wait for them, never for Redis, except
/// for joins, which wait for the subscriptions of their rooms at most a second.
#[derive(Clone)]
pub struct LocalRooms {
    parts: Arc<LocalRoomsParts>,
}

impl LocalRooms {
    /// The rooms of these shards.
    pub fn new(parts: LocalRoomsParts) -> Self {
        LocalRooms { parts: Arc::new(parts) }
    }

    /// The pod, whose name begins its members' ids.
    pub fn pod(&self) -> &PodId {
        self.parts.index.pod()
    }

    /// Commands that wait for the shards.
    pub fn waiting(&self) -> usize {
        self.parts.shards.iter().map(ShardQueue::waiting).sum()
    }

    /// The turn of a session of this shard ends: what it published to few members is delivered.
    pub fn end_turn(&self, shard: usize) {
        self.parts.shards[shard].end_turn();
    }

    /// Adds a member that its namespace accepted. What others send to an id of it that has a channel
    /// of its own has to be subscribed, and is heard after the wait.
    pub fn connect(&self, shard: usize, member: Arc<Member>) -> Wait {
        let confirmations = self.subscribe_ids(&member);
        let sent = self.send(shard, ShardCommand::Connect(member));
        if confirmations.is_empty() {
            return sent;
        }
        Some(Box::pin(async move {
            join_all(confirmations).await;
            if let Some(sent) = sent {
                sent.await;
            }
        }))
    }

    /// Removes a member that is gone from its namespace; from all its rooms too. It stays gone
    /// even where the command that adds it is handled later.
    pub fn disconnect(&self, shard: usize, member: Arc<Member>) -> Wait {
        member.set_disconnected();
        self.send(shard, ShardCommand::Disconnect(member))
    }

    /// Makes a member join rooms, all or none. `reply` makes the answer, which is written once what
    /// others publish in the rooms is heard here, or after a second. Nothing is subscribed for a
    /// member that may not join.
    pub fn join(&self, shard: usize, member: Arc<Member>, rooms: Vec<Room>, reply: Reply) -> Wait {
        self.request_join(shard, member, rooms, reply, false)
    }

    /// As [`LocalRooms::join`], for rooms that a backend puts the member into: the rules of `join` do
    /// not decide about them.
    pub fn assign(
        &self,
        shard: usize,
        member: Arc<Member>,
        rooms: Vec<Room>,
        reply: Reply,
    ) -> Wait {
        self.request_join(shard, member, rooms, reply, true)
    }

    fn request_join(
        &self,
        shard: usize,
        member: Arc<Member>,
        rooms: Vec<Room>,
        reply: Reply,
        by_backend: bool,
    ) -> Wait {
        let occupants: Vec<_> = rooms.iter().map(|room| member.occupant_in(room)).collect();
        let is_tracked = occupants.iter().any(Option::is_some);
        let request = JoinRequest { member, rooms, occupants, reply, by_backend };
        if self.parts.interests.is_none() && !is_tracked {
            return self.join_subscribed(shard, request);
        }
        let (accept, mut accepted) = oneshot::channel();
        let check = ShardCommand::Query(Box::new(move |shard| {
            if let Some(request) = request.check(shard) {
                let _ = accept.send(request);
            }
        }));
        let wait = self.send(shard, check);
        match accepted.try_recv() {
            Ok(request) => return self.join_subscribed(shard, request),
            Err(TryRecvError::Closed) => return wait,
            Err(TryRecvError::Empty) => {}
        }
        let local = self.clone();
        Some(Box::pin(async move {
            if let Some(wait) = wait {
                wait.await;
            }
            if let Ok(request) = accepted.await
                && let Some(wait) = local.join_subscribed(shard, request)
            {
                wait.await;
            }
        }))
    }

    fn join_subscribed(&self, shard: usize, request: JoinRequest) -> Wait {
        let (namespace, rooms) = (&request.member.namespace, &request.rooms);
        let acquired = rooms.iter().map(|room| self.acquire(namespace, room));
        let (interests, confirmations): (Vec<_>, Vec<_>) = acquired.unzip();
        let mut confirmations: Vec<_> = confirmations.into_iter().flatten().collect();
        let mut leases = Vec::new();
        for (room, occupant) in rooms.iter().zip(&request.occupants) {
            leases.push(occupant.clone().map(|occupant| {
                let key = RoomKey { namespace: namespace.clone(), room: room.clone() };
                let (lease, confirmed) = self.parts.presence.acquire(&key, shard, occupant);
                confirmations.extend(confirmed);
                lease
            }));
        }
        let mut join = request.into_join(interests, leases);
        if confirmations.is_empty() {
            return self.send(shard, ShardCommand::Join(Box::new(join)));
        }
        let carried_out = join.leases.iter().flatten().any(Lease::is_shown).then(|| {
            let (sender, carried_out) = oneshot::channel();
            join.carried_out = Some(sender);
            carried_out
        });
        let local = self.clone();
        Some(Box::pin(async move {
            join_all(confirmations).await;
            if let Some(wait) = local.send(shard, ShardCommand::Join(Box::new(join))) {
                wait.await;
            }
            if let Some(carried_out) = carried_out {
                // A shard that has ended drops it.
                let _ = carried_out.await;
            }
        }))
    }

    /// Makes a member leave rooms; `reply` makes the answer.
    pub fn leave(&self, shard: usize, member: Arc<Member>, rooms: Vec<Room>, reply: Reply) -> Wait {
        self.send(shard, ShardCommand::Leave { member, rooms, reply })
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
        let leave = ShardCommand::Query(Box::new(move |rooms| {
            let mut left = rooms.membership().chosen_rooms(&member);
            left.retain(|room| !may_stay(room));
            if !left.is_empty() {
                rooms.leave(&member, &left);
            }
            for packet in tell(&left) {
                member.outbox.send(Arc::new(packet));
            }
        }));
        self.send(shard, leave)
    }

    /// An interest in a room, where there are other instances. What a pattern matches, and what comes on
    /// the channel of the whole namespace, is heard anyway.
    fn acquire(&self, namespace: &Arc<str>, room: &Room) -> (Option<Interest>, Confirmation) {
        let is_heard = |interests: &RoomInterests| match interests.member_channels() {
            MemberChannels::Pattern => room.starts_with(&**self.pod()),
            // The channel of a room that is named like the pod is that of answers to it.
            channels => !channels.has_channel(room) || **room == **self.pod(),
        };
        let interests = self.parts.interests.as_ref().filter(|interests| !is_heard(interests));
        let Some(interests) = interests else { return (None, None) };
        let key = RoomKey { namespace: namespace.clone(), room: room.clone() };
        let (interest, confirmation) = interests.acquire(&key);
        (Some(interest), confirmation)
    }

    /// Who is in rooms with presence or hooks on this instance.
    pub fn presence(&self) -> &Arc<PresenceRegistry> {
        &self.parts.presence
    }

    /// Tells shards who is in a room, with what their members are sent of the change; and others
    /// that none of their members is. Waits while a queue is full.
    pub async fn set_roster(
        &self,
        key: &RoomKey,
        (shards, others): (ShardSet, ShardSet),
        roster: Roster,
        events: Vec<Publication>,
    ) {
        let events = events.into_iter().map(|event| Arc::new(self.encode(event, None))).collect();
        let update = Arc::new(PresenceUpdate { key: key.clone(), roster: Some(roster), events });
        for shard in shards.iter() {
            self.parts.shards[shard].send(ShardCommand::Presence(update.clone())).await;
        }
        let (key, events) = (key.clone(), Vec::new());
        let update = Arc::new(PresenceUpdate { key, roster: None, events });
        for shard in others.iter() {
            self.parts.shards[shard].send(ShardCommand::Presence(update.clone())).await;
        }
    }

    /// Puts a command into a shard's queue; gives the wait where that is full.
    fn send(&self, shard: usize, command: ShardCommand) -> Wait {
        let queue = &self.parts.shards[shard];
        match queue.try_send(command) {
            Ok(()) => None,
            Err(TrySendError::Full(command)) => {
                let queue = queue.clone();
                Some(Box::pin(async move {
                    queue.send(command).await;
                }))
            }
            Err(TrySendError::Closed(_)) => None,
        }
    }

    fn encode(&self, publication: Publication, ack: Option<u64>) -> EncodedPublication {
        let trace = self.parts.tracer.deliver(&publication);
        let class = |room: &str| (self.parts.classify)(room);
        EncodedPublication::new(publication, ack, class, trace)
    }

    /// Delivers without waiting, to each shard for itself: one that is full does not keep others
    /// from getting it. The share is held until it is delivered. False: some shard was full.
    pub fn try_deliver(&self, publication: Publication, share: Option<Share>) -> bool {
        let shards = self.parts.index.shards(&publication);
        if shards.is_empty() {
            return true;
        }
        let encoded = Arc::new(self.encode(publication, None).holding(share));
        let mut complete = true;
        for shard in shards.iter() {
            let publish = ShardCommand::Publish(encoded.clone(), None);
            complete &=
                !matches!(self.parts.shards[shard].try_send(publish), Err(TrySendError::Full(_)));
        }
        complete
    }

    /// A place in the queue of every shard that has recipients of the publication; `None` where
    /// one is full.
    pub fn try_reserve(&self, publication: &Publication) -> Option<Reservation<'_>> {
        let mut permits = Permits::new();
        for shard in self.parts.index.shards(publication).iter() {
            match self.parts.shards[shard].try_reserve() {
                Ok(permit) => permits.push(permit),
                Err(TrySendError::Full(())) => return None,
                // Its members are gone: the process ends.
                Err(TrySendError::Closed(())) => {}
            }
        }
        Some(Reservation::new(permits))
    }

    /// The same, waiting for the queues that are full. Shards are waited for in one order, so that
    /// two publishers never wait for each other.
    pub async fn reserve(&self, publication: &Publication) -> Reservation<'_> {
        let mut permits = Permits::new();
        for shard in self.parts.index.shards(publication).iter() {
            permits.extend(self.parts.shards[shard].reserve().await);
        }
        Reservation::new(permits)
    }

    /// Delivers to the shards where a place is reserved. Where it is `counted`, they tell the number
    /// of its recipients.
    pub fn deliver(
        &self,
        reservation: Reservation<'_>,
        publication: Publication,
        counted: bool,
    ) -> RecipientCount {
        if reservation.is_empty() {
            return RecipientCount::default();
        }
        reservation.send(&Arc::new(self.encode(publication, None)), counted)
    }

    /// The same, counted, and asking its recipients to acknowledge it by this number.
    pub fn deliver_with_ack(
        &self,
        reservation: Reservation<'_>,
        publication: Publication,
        ack: u64,
    ) -> RecipientCount {
        if reservation.is_empty() {
            return RecipientCount::default();
        }
        reservation.send(&Arc::new(self.encode(publication, Some(ack))), true)
    }
}

/// A member that asks to join rooms.
struct JoinRequest {
    member: Arc<Member>,
    rooms: Vec<Room>,
    /// Who is there, in each room that has presence or hooks.
    occupants: Vec<Option<TrackedOccupant>>,
    reply: Reply,
    by_backend: bool,
}

impl JoinRequest {
    /// The join, with an interest, and where who is there is tracked a lease, in each room.
    fn into_join(self, interests: Vec<Option<Interest>>, leases: Vec<Option<Lease>>) -> Join {
        let JoinRequest { member, rooms, reply, by_backend, .. } = self;
        Join { member, rooms, interests, leases, by_backend, reply, carried_out: None }
    }

    /// The request, where it may be carried out; otherwise it is answered.
    fn check(self, shard: &ShardRooms) -> Option<Self> {
        match shard.check_join(&self.member, &self.rooms) {
            Ok(()) => return Some(self),
            Err(JoinRefused::NotConnected) => {}
            Err(JoinRefused::TooMany) => {
                if let Some(packet) = (self.reply)(MembershipChange::TooManyRooms, &[]) {
                    self.member.outbox.send(Arc::new(packet));
                }
            }
        }
        None
    }
}

#[cfg(test)]
pub(crate) mod tests;
