//! What client events do, and how they are answered.

use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::client::{Client, Event};
use super::lines::About;
use crate::broker::Publisher as _;
use crate::message::PublishError;
use crate::message::member_id::next_number;
use crate::message::{Publication, Source};
use crate::rooms::router::NotNow;
use crate::rooms::shard;
use crate::rooms::shard::Message;
use crate::telemetry::metrics::Rejected;
use rookery_policy as policy;
use rookery_policy::{Action, Code, Permission, Refusal, Resolved};
use rookery_protocol::Room;
use rookery_protocol::encoded::Encoded;
use rookery_protocol::{Data, packet};

/// The event by which a client hands in a fresh token.
const REFRESH: &str = "auth:refresh";

/// What must end before the client's next event is handled.
type Wait = Option<BoxFuture<'static, ()>>;

/// Handles an event; gives what must be waited for.
pub fn handle(client: &Arc<Client>, event: Event) -> Wait {
    if event.name == REFRESH {
        return Some(super::connect::refresh(client.clone(), event).boxed());
    }
    let Some(Resolved { action, answer }) =
        client.gateway().events.resolve(&event.name, &event.args)
    else {
        let refusal = Refusal::new(
            Code::UnknownOperation,
            format!("no rule handles the event `{}`", event.name),
        );
        unruled(client, event).refuse(&refusal);
        return None;
    };
    let reply = Reply { client: client.clone(), ack: event.ack, answer };
    match action {
        Ok(Action::Join { room }) => join(reply, room),
        Ok(Action::Leave { room }) => {
            let member = client.member.clone();
            client.tell(Message::Leave(member, vec![room], Box::new(reply)))
        }
        Ok(Action::Publish { room, event, args, except_sender }) => {
            publish(reply, room, event, args, except_sender)
        }
        Err(refusal) => {
            reply.refuse(&refusal);
            None
        }
    }
}

/// Answers an event that comes too fast.
pub fn over_rate(client: &Arc<Client>, event: Event) {
    let limit = client.gateway().limits.config().events_per_second;
    let message = format!("more than {limit} events a second");
    client.gateway().refused(Rejected::Events, About::member(client), &message);
    let answer = match client.gateway().events.resolve(&event.name, &event.args) {
        Some(Resolved { answer, .. }) => Reply { client: client.clone(), ack: event.ack, answer },
        None => unruled(client, event),
    };
    answer.refuse(&Refusal::new(Code::RateLimited, message));
}

/// The answer to an event that no rule handles.
pub fn unruled(client: &Arc<Client>, event: Event) -> Reply {
    let payload = event.args.into_iter().next().unwrap_or(Data::Null);
    let answer = policy::Answer { reply_event: None, event: event.name, payload };
    Reply { client: client.clone(), ack: event.ack, answer }
}

/// The answer to `auth:refresh`: the ack, or the event `auth:refreshed`. It does not repeat the
/// token.
pub fn refresh_reply(client: &Arc<Client>, event: Event) -> Reply {
    let answer = policy::Answer {
        reply_event: Some("auth:refreshed".into()),
        event: event.name,
        payload: Data::Object(Vec::new()),
    };
    Reply { client: client.clone(), ack: event.ack, answer }
}

fn allowed(client: &Client, permission: Permission, room: &str) -> Result<(), Refusal> {
    let rules = client.gateway().rules.load();
    let decision = rules.decide(permission, room, &client.subject.load());
    if decision.allowed {
        return Ok(());
    }
    let about = About::member(client).of_room(room);
    client.gateway().refused(Rejected::Forbidden, about, &decision.why);
    let what = match permission {
        Permission::Join => "join",
        Permission::Publish => "publish in",
    };
    Err(Refusal::new(Code::Forbidden, format!("you may not {what} this room")))
}

fn join(reply: Reply, room: Room) -> Wait {
    let client = reply.client.clone();
    if client.gateway().router.is_private(&room) {
        reply.refuse(&Refusal::new(Code::RoomInvalid, "a member's id is no room that others join"));
        return None;
    }
    if let Err(refusal) = allowed(&client, Permission::Join, &room) {
        reply.refuse(&refusal);
        return None;
    }
    let member = client.member.clone();
    let remote = client.gateway().router.remote();
    let subscribed = remote.and_then(|r| r.subscribed(&member.namespace, &room));
    let join = Message::Join(member, vec![room], Box::new(reply));
    match subscribed {
        None => client.tell(join),
        Some(subscribed) => Some(
            async move {
                subscribed.await;
                if let Some(wait) = client.tell(join) {
                    wait.await;
                }
            }
            .boxed(),
        ),
    }
}

fn publish(reply: Reply, room: Room, event: String, args: Vec<Data>, except_sender: bool) -> Wait {
    let client = reply.client.clone();
    if let Err(refusal) = allowed(&client, Permission::Publish, &room) {
        reply.refuse(&refusal);
        return None;
    }
    if packet::too_many_binaries(&args) {
        let message = format!("more than {} binary values", packet::MAX_ATTACHMENTS);
        reply.refuse(&Refusal::new(Code::BadRequest, message));
        return None;
    }
    let publication = Publication {
        id: format!("{}-{:x}", client.member.id, next_number()).into(),
        namespace: client.member.namespace.clone(),
        rooms: vec![room],
        except: if except_sender { vec![client.member.id.clone()] } else { Vec::new() },
        event,
        args,
        volatile: false,
        source: Source::Client,
        accepted: Instant::now(),
        traceparent: None,
    };
    match client.gateway().router.publish_now(publication) {
        Ok(()) => reply.succeed(),
        Err(NotNow::Refused(error)) => reply.refuse(&refused(error)),
        Err(NotNow::Busy(busy)) => {
            let router = client.gateway().router.clone();
            return Some(
                async move {
                    match router.publish(busy.into_publication()).await {
                        Ok(_) => reply.succeed(),
                        Err(error) => reply.refuse(&refused(error)),
                    }
                }
                .boxed(),
            );
        }
    }
    None
}

fn refused(error: PublishError) -> Refusal {
    match error {
        PublishError::RedisDown => Refusal::new(Code::NotConnectedToRedis, error.to_string()),
        PublishError::Overloaded => Refusal::new(Code::RateLimited, error.to_string()),
    }
}

/// The answer to one event.
pub struct Reply {
    client: Arc<Client>,
    ack: Option<u64>,
    answer: policy::Answer,
}

impl Reply {
    /// Answers that it is done.
    pub fn succeed(self) {
        let client = self.client.clone();
        if let Some(packet) = self.success() {
            client.outbox().send(Arc::new(packet));
        }
    }

    /// Answers that it is refused. A refusal is never silent.
    pub fn refuse(self, refusal: &Refusal) {
        let client = self.client.clone();
        client.outbox().send(Arc::new(self.refusal(refusal)));
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

/// With an ack callback only the ack is sent.
fn encode(client: &Client, ack: Option<u64>, event: &str, body: Data) -> Encoded {
    let namespace = &client.member.namespace;
    let (text, attachments) = match ack {
        Some(id) => packet::encode_ack(namespace, id, &[body]),
        None => packet::encode_event(namespace, None, event, &[body]),
    };
    Encoded::message(&text, attachments)
}

impl shard::Answer for Reply {
    fn done(self: Box<Self>) -> Option<Encoded> {
        self.success()
    }

    fn too_many_rooms(self: Box<Self>) -> Option<Encoded> {
        let gateway = self.client.gateway();
        let limit = gateway.limits.config().rooms_per_client;
        let message = format!("a client may be in {limit} rooms; leave one first");
        gateway.refused(Rejected::Rooms, About::member(&self.client), &message);
        Some(self.refusal(&Refusal::new(Code::TooManyRooms, message)))
    }
}
