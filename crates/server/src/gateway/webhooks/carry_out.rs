//! Carries out the backend's replies.

use std::sync::Arc;

use rookery_policy::{Code, Refusal};
use rookery_protocol::encoded::Encoded;
use rookery_protocol::{Data, DataRef, Room};
use tokio::sync::oneshot;

use super::publications::publish_all;
use crate::backend::{Answer, Emit, Reply, ReplyError};
use crate::gateway::client::Client;
use crate::gateway::state::Gateway;
use crate::rooms::member::Dismissal;
use crate::rooms::presence::occupant::JoinedRoster;
use crate::rooms::shard::{self, MembershipChange};
use crate::telemetry::metrics::Rejected;

/// The event that carries a refusal to a client without an ack callback.
const ERROR_EVENT: &str = "rookery:error";

/// The client's event that a reply answers.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The event's name.
    pub event: String,
    /// The id of the acknowledgement that the client waits for.
    pub ack: Option<u64>,
}

/// Carries out a reply: leaves and joins rooms, emits and acknowledges, publishes, disconnects, in
/// this order. What is emitted and the acknowledgement are sent in the step that makes the client a
/// member, so no message of a room comes before them. `asked` is the event that is answered.
pub async fn carry_out(client: &Arc<Client>, answer: Answer, asked: Option<Asked>) {
    let Answer { reply, traceparent } = answer;
    let Reply { emit, join, leave, ack, publish, disconnect, error } = reply;
    if let Some(error) = error {
        return refuse(client, asked.as_ref(), &of_backend(error));
    }
    if let Err(refusal) = check_rooms(client.gateway(), &join) {
        client.gateway().refused(Rejected::Rooms, client.log_subject(), &refusal);
        return refuse(client, asked.as_ref(), &refused(&refusal));
    }
    let answers = Answers { emit, ack: ack.unwrap_or_default() };
    let changed = change_rooms(client, leave, join, answers, asked.as_ref()).await;
    if let Err(refusal) = changed {
        return refuse(client, asked.as_ref(), &refused(&refusal));
    }
    publish_all(client.gateway(), &client.member, publish, Some(&traceparent)).await;
    if disconnect {
        client.member.dismiss(dismissal(client));
    }
}

/// What a client gets for a reply.
struct Answers {
    emit: Vec<Emit>,
    ack: Vec<Data>,
}

impl Answers {
    /// The packets, in their order.
    fn packets(self, namespace: &str, ack: Option<u64>) -> Vec<Encoded> {
        let emitted = self.emit.iter();
        let emitted = emitted.map(|emit| Encoded::event(namespace, &emit.event, &emit.args));
        let acked = ack.map(|id| Encoded::ack(namespace, id, &self.ack));
        emitted.chain(acked).collect()
    }
}

/// Leaves rooms, and then joins others, all or none, with the answers in the last step.
///
/// # Errors
/// When the client would be in too many rooms; then there are no answers.
async fn change_rooms(
    client: &Arc<Client>,
    leave: Vec<Room>,
    join: Vec<Room>,
    answers: Answers,
    asked: Option<&Asked>,
) -> Result<(), Refusal> {
    let packets = answers.packets(&client.member.namespace, asked.and_then(|asked| asked.ack));
    let (broker, shard, member) = (&client.gateway().broker, client.shard(), &client.member);
    if join.is_empty() && leave.is_empty() {
        send_all(client, packets);
        return Ok(());
    }
    let (last, changed) = answered(client, packets);
    let wait = if join.is_empty() {
        broker.leave(shard, member.clone(), leave, last)
    } else {
        if !leave.is_empty()
            && let Some(wait) = broker.leave(shard, member.clone(), leave, Box::new(|_, _| None))
        {
            wait.await;
        }
        broker.assign(shard, member.clone(), join, last)
    };
    if let Some(wait) = wait {
        wait.await;
    }
    match changed.await {
        Ok(MembershipChange::TooManyRooms) => Err(too_many_rooms(client)),
        // The client is gone: others may still want to know.
        Ok(MembershipChange::Done) | Err(_) => Ok(()),
    }
}

/// Sends packets when a change is made, and tells what it came to.
fn answered(
    client: &Arc<Client>,
    packets: Vec<Encoded>,
) -> (shard::Reply, oneshot::Receiver<MembershipChange>) {
    let (tell, changed) = oneshot::channel();
    let client = client.clone();
    let reply = move |change, _: &[JoinedRoster]| {
        if change == MembershipChange::Done {
            send_all(&client, packets);
        }
        // Nobody waits for it any more when the server stops.
        let _ = tell.send(change);
        None
    };
    (Box::new(reply), changed)
}

fn send_all(client: &Client, packets: Vec<Encoded>) {
    for packet in packets {
        client.outbox().send(Arc::new(packet));
    }
}

/// Whether the backend may put a client into these rooms.
///
/// # Errors
/// The refusal, where one is named like a member's id, or there are more than a client may be in.
pub fn check_rooms(gateway: &Gateway, join: &[Room]) -> Result<(), Refusal> {
    if join.iter().any(|room| gateway.broker.is_member_id(room)) {
        let message = "a room that is named like a member's id cannot be joined";
        return Err(Refusal::new(Code::RoomInvalid, message));
    }
    let limit = gateway.limits.config().rooms_per_client;
    if join.len() > limit as usize {
        let message = format!("a client may be in {limit} rooms");
        return Err(Refusal::new(Code::TooManyRooms, message));
    }
    Ok(())
}

fn too_many_rooms(client: &Client) -> Refusal {
    let gateway = client.gateway();
    let limit = gateway.limits.config().rooms_per_client;
    let message = format!("a client may be in {limit} rooms; leave one first");
    gateway.refused(Rejected::Rooms, client.log_subject(), &message);
    Refusal::new(Code::TooManyRooms, message)
}

/// The client's connection is closed too where it is in no other namespace.
fn dismissal(client: &Client) -> Dismissal {
    let clients = client.session_clients.upgrade();
    match clients.is_some_and(|clients| clients.all().len() > 1) {
        true => Dismissal::Namespace,
        false => Dismissal::Session,
    }
}

/// The `error` of an answer, for a refusal of the server.
pub fn refused(refusal: &Refusal) -> Data {
    let code = Data::from(refusal.code.as_str());
    let message = Data::from(refusal.message.as_str());
    Data::Object(vec![("code".into(), code), ("message".into(), message)])
}

/// The `error` of an answer, for a refusal of the backend.
fn of_backend(error: ReplyError) -> Data {
    let code = Data::from(Code::Forbidden.as_str());
    let mut fields = vec![("code".into(), code), ("message".into(), Data::from(error.message))];
    fields.extend(error.data.map(|data| ("data".into(), data)));
    Data::Object(fields)
}

/// Answers the client that its event was refused: by the acknowledgement, or by the event
/// `rookery:error`, which names the event. A connect that was accepted already has no answer.
pub fn refuse(client: &Client, asked: Option<&Asked>, error: &Data) {
    let Some(asked) = asked else { return };
    let (namespace, status) = (&client.member.namespace, ("status", DataRef::Text("ERROR")));
    let error = ("error", DataRef::Value(error));
    let packet = match asked.ack {
        Some(id) => Encoded::ack(namespace, id, [DataRef::Object(&[status, error])]),
        None => {
            let event = ("event", DataRef::Text(&asked.event));
            Encoded::event(namespace, ERROR_EVENT, [DataRef::Object(&[status, event, error])])
        }
    };
    client.outbox().send(Arc::new(packet));
}
