//! The [`Reply`] to one event: an ack, an event, or nothing.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::event::Event;
use crate::connection::Wait;
use crate::gateway::client::Client;
use crate::rooms::shard::{self, MembershipChange};
use crate::telemetry::metrics::Rejected;
use rookery_policy as policy;
use rookery_policy::{Code, Refusal};
use rookery_protocol::encoded::Encoded;
use rookery_protocol::{Data, packet};

/// The reply to one event.
pub struct Reply {
    client: Arc<Client>,
    ack: Option<u64>,
    answer: policy::Answer,
}

impl Reply {
    /// The reply to an event that a rule handles.
    pub fn new(client: &Arc<Client>, ack: Option<u64>, answer: policy::Answer) -> Self {
        Reply { client: client.clone(), ack, answer }
    }

    /// The reply to an event that no rule handles.
    pub fn unknown(client: &Arc<Client>, event: Event) -> Self {
        let payload = event.args.into_iter().next().unwrap_or(Data::Null);
        let answer = policy::Answer { reply_event: None, event: event.name, payload };
        Reply::new(client, event.ack, answer)
    }

    /// The reply to `auth:refresh`: the ack, or the event `auth:refreshed`. It does not repeat the
    /// token.
    pub fn refreshed(client: &Arc<Client>, event: Event) -> Self {
        let answer = policy::Answer {
            reply_event: Some("auth:refreshed".into()),
            event: event.name,
            payload: Data::Object(Vec::new()),
        };
        Reply::new(client, event.ack, answer)
    }

    /// The client that gets the reply.
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// Replies that the event was carried out.
    pub fn succeed(self) {
        let client = self.client.clone();
        if let Some(packet) = self.success() {
            client.outbox().send(Arc::new(packet));
        }
    }

    /// Replies that the event was refused; unlike a success, a refusal is always sent.
    pub fn refuse(self, refusal: &Refusal) {
        let client = self.client.clone();
        client.outbox().send(Arc::new(self.refusal(refusal)));
    }

    /// The reply to a join or leave, made when it is known what that came to, and the wait for
    /// that: the client's next event is answered after it.
    pub fn of_change(self) -> (shard::Reply, Replied) {
        let (made, replied) = oneshot::channel();
        let reply = move |change| {
            // Sent or dropped, it ends the wait.
            let _made = made;
            match change {
                MembershipChange::Done => self.success(),
                MembershipChange::TooManyRooms => Some(self.too_many_rooms()),
            }
        };
        (Box::new(reply), Replied(replied))
    }

    fn too_many_rooms(self) -> Encoded {
        let gateway = self.client.gateway();
        let limit = gateway.limits.config().rooms_per_client;
        let message = format!("a client may be in {limit} rooms; leave one first");
        gateway.refused(Rejected::Rooms, self.client.log_subject(), &message);
        self.refusal(&Refusal::new(Code::TooManyRooms, message))
    }

    fn success(self) -> Option<Encoded> {
        let Reply { client, ack, answer } = self;
        let reply_event = answer.reply_event.clone();
        if ack.is_none() && reply_event.is_none() {
            return None;
        }
        Some(encode(&client, ack, reply_event.as_deref().unwrap_or_default(), answer.success()))
    }

    fn refusal(self, refusal: &Refusal) -> Encoded {
        let Reply { client, ack, answer } = self;
        let event = answer.reply_event.clone();
        let event = event.as_deref().unwrap_or("rookery:error");
        encode(&client, ack, event, answer.error(refusal))
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

/// A client that asked for an ack gets the ack alone.
fn encode(client: &Client, ack: Option<u64>, event: &str, body: Data) -> Encoded {
    let namespace = &client.member.namespace;
    let (text, attachments) = match ack {
        Some(id) => packet::encode_ack(namespace, id, &[body]),
        None => packet::encode_event(namespace, None, event, &[body]),
    };
    Encoded::message(&text, attachments)
}
