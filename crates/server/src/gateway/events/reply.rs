//! The [`Reply`] to one event: an ack, an event, or nothing.

use std::sync::Arc;

use smallvec::SmallVec;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::event::Event;
use crate::connection::Wait;
use crate::gateway::client::Client;
use crate::message::PublishError;
use crate::rooms::presence::occupant::JoinedRoster;
use crate::rooms::shard::{self, MembershipChange};
use crate::telemetry::metrics::Rejected;
use rookery_policy::{Code, ListOutcome, Refusal, Request};
use rookery_protocol::encoded::Encoded;
use rookery_protocol::{Data, DataRef};

/// The reply to one event.
pub struct Reply {
    client: Arc<Client>,
    ack: Option<u64>,
    request: Request,
    /// What became of each room, where the event names several.
    list: Option<ListOutcome>,
}

impl Reply {
    /// The reply to `request`; `ack` is the id of the acknowledgement that the client asked for.
    pub fn new(client: &Arc<Client>, ack: Option<u64>, request: Request) -> Self {
        Reply { client: client.clone(), ack, request, list: None }
    }

    /// The reply to `auth:refresh`: the ack, or the event `auth:refreshed`. It does not repeat the
    /// token.
    pub fn refreshed(client: &Arc<Client>, event: Event) -> Self {
        let request = Request::of_server(event.name, Data::Object(Vec::new()), "auth:refreshed");
        Reply::new(client, event.ack, request)
    }

    /// The reply that tells what became of each room of a list.
    pub fn of_list(self, outcome: ListOutcome) -> Self {
        Reply { list: Some(outcome), ..self }
    }

    /// The client that gets the reply.
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// Takes the arguments that the event publishes; see [`Request::take_args`].
    pub fn take_args(&mut self) -> SmallVec<[Data; 1]> {
        self.request.take_args()
    }

    /// Puts back what [`Reply::take_args`] has taken.
    pub fn restore_args(&mut self, args: SmallVec<[Data; 1]>) {
        self.request.restore_args(args);
    }

    /// The reply that the event was carried out; `None` if the client expects none.
    pub fn success(&self) -> Option<Encoded> {
        self.success_with(&[])
    }

    /// As [`Reply::success`], with who is in the joined rooms: `presence: {members, count}`, or for a
    /// list of rooms an object of these by room.
    fn success_with(&self, joined: &[JoinedRoster]) -> Option<Encoded> {
        let reply_event = self.request.reply_event();
        if self.ack.is_none() && reply_event.is_none() {
            return None;
        }
        let event = reply_event.unwrap_or_default();
        let rosters = rosters(joined);
        let presence = self.presence(&rosters);
        if let Some(outcome) = &self.list {
            let encode = |answer: DataRef<'_>| self.encode(event, answer);
            return Some(self.request.of_list(outcome, presence, encode));
        }
        Some(self.request.success(presence, |answer| self.encode(event, answer)))
    }

    /// Sends what [`Reply::success`] has made.
    pub fn send(&self, success: Option<Encoded>) {
        if let Some(packet) = success {
            self.client.outbox().send(Arc::new(packet));
        }
    }

    /// Replies that the event was refused; unlike a success, a refusal is always sent.
    pub fn refuse(&self, refusal: &Refusal) {
        self.client.outbox().send(Arc::new(self.refusal(refusal)));
    }

    /// The reply to a join or leave, made when it is known what that came to, and the wait for
    /// that: the client's next event is answered after it.
    pub fn of_change(mut self) -> (shard::Reply, Replied) {
        let (made, replied) = oneshot::channel();
        let reply = move |change, joined: &[JoinedRoster]| {
            // Sent or dropped, it ends the wait.
            let _made = made;
            match change {
                MembershipChange::Done => self.done(joined),
                MembershipChange::TooManyRooms => {
                    let refusal = self.too_many_rooms();
                    if let Some(outcome) = &mut self.list {
                        outcome.refuse_rest(&refusal);
                        return self.done(joined);
                    }
                    Some(self.refusal(&refusal))
                }
            }
        };
        (Box::new(reply), Replied(replied))
    }

    /// The reply to a change that was made. The refusals of a list are always sent.
    fn done(&self, joined: &[JoinedRoster]) -> Option<Encoded> {
        match &self.list {
            Some(outcome) if outcome.has_refusals() => {
                let event = self.request.reply_event().unwrap_or("rookery:error");
                let encode = |answer: DataRef<'_>| self.encode(event, answer);
                let rosters = rosters(joined);
                Some(self.request.of_list(outcome, self.presence(&rosters), encode))
            }
            _ => self.success_with(joined),
        }
    }

    /// What an answer tells of who is there; `None` where no joined room has presence.
    fn presence<'a>(&self, rosters: &'a [(&'a str, DataRef<'a>)]) -> Option<DataRef<'a>> {
        match (&self.list, rosters) {
            (_, []) => None,
            (None, [(_, roster), ..]) => Some(*roster),
            (Some(_), rosters) => Some(DataRef::Object(rosters)),
        }
    }

    /// Counts and logs that the client would be in too many rooms.
    pub fn too_many_rooms(&self) -> Refusal {
        let gateway = self.client.gateway();
        let limit = gateway.limits.config().rooms_per_client;
        let message = format!("a client may be in {limit} rooms; leave one first");
        gateway.refused(Rejected::Rooms, self.client.log_subject(), &message);
        Refusal::new(Code::TooManyRooms, message)
    }

    fn refusal(&self, refusal: &Refusal) -> Encoded {
        let event = self.request.reply_event().unwrap_or("rookery:error");
        self.request.error(refusal, |answer| self.encode(event, answer))
    }

    /// A client that asked for an ack gets the ack alone.
    fn encode(&self, event: &str, answer: DataRef<'_>) -> Encoded {
        let namespace = &self.client.member.namespace;
        match self.ack {
            Some(id) => Encoded::ack(namespace, id, [answer]),
            None => Encoded::event(namespace, event, [answer]),
        }
    }
}

/// Who is in each joined room, as clients are told.
fn rosters(joined: &[JoinedRoster]) -> Vec<(&str, DataRef<'_>)> {
    joined.iter().map(|joined| (&*joined.room, DataRef::Json(joined.roster.json()))).collect()
}

/// Why a publication is refused.
pub fn publish_refusal(error: &PublishError) -> Refusal {
    match error {
        PublishError::RedisDown => Refusal::new(Code::NotConnectedToRedis, error.to_string()),
        PublishError::Overloaded | PublishError::TooManyAcks => {
            Refusal::new(Code::RateLimited, error.to_string())
        }
    }
}

/// The wait for the reply to a join or leave.
pub struct Replied(oneshot::Receiver<()>);

impl Replied {
    /// Waits for the reply after `wait`; `None` where it was made already.
    pub fn after(mut self, wait: Wait) -> Wait {
        if wait.is_none() && self.0.try_recv() == Err(TryRecvError::Closed) {
            return None;
        }
        Some(Box::pin(async move {
            if let Some(wait) = wait {
                wait.await;
            }
            // Dropping the other end is what is waited for.
            let _ = self.0.await;
        }))
    }
}
