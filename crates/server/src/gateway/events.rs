//! Client events: what they do, in which order, and how they are answered.

mod admin;
mod event;
mod refresh;
mod reply;
mod review;

use std::fmt::Display;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;

use super::client::Client;
use super::event_rate::RateExceeded;
use super::limits::{BodyPermit, LimitReached};
use super::webhooks::event::forward;
use crate::broker::TryPublishError;
use crate::connection::Wait;
use crate::message::Publication;
use crate::telemetry::metrics::Rejected;
use event::Event;
use refresh::refresh;
use reply::{Reply, publish_refusal};
pub use review::review;
use review::review_after;
use rookery_policy::{Action, Code, ListOutcome, Permission, Refusal, RoomList, Rules};
use rookery_protocol::packet::{PacketError, PacketHead, PacketType};
use rookery_protocol::{Room, packet};

/// The event by which a client replaces its token.
const REFRESH: &str = "auth:refresh";

/// Handles an event, or the acknowledgement of one. Returns what must end before the client's next
/// packet is handled, so that its answers come in the order of its events.
///
/// # Errors
/// When the packet is malformed: then the session must end.
pub fn receive(
    client: &Arc<Client>,
    head: &PacketHead<'_>,
    attachments: &[Bytes],
) -> Result<Wait, PacketError> {
    let attachments = head.kind.is_binary().then_some(attachments);
    let attached = attachments.unwrap_or_default().iter().map(Bytes::len).sum::<usize>();
    let bytes = head.payload.len() + attached;
    if matches!(head.kind, PacketType::Ack | PacketType::BinaryAck) {
        let args = packet::decode_ack(head.payload, attachments)?;
        if let Some(id) = head.id {
            client.gateway().broker.acknowledged(&client.member, id, args, bytes);
        }
        return Ok(None);
    }
    let exceeded = client.may_send_event(bytes).err();
    let may_be_in_burst =
        || matches!(exceeded, Some(RateExceeded::Events(_))) && client.has_join_burst();
    if let Some(exceeded) = exceeded.filter(|_| !may_be_in_burst()) {
        over_rate(client, head, exceeded);
        return Ok(None);
    }
    let (name, args) = packet::decode_event(head.payload, attachments)?;
    let event = Event { name, args, ack: head.id };
    if let Some(admin) = client.gateway().admin_of(&client.member.namespace) {
        let order = || admin::order(client, admin, event);
        return Ok(by_others(client, head, exceeded, bytes, order));
    }
    if exceeded.is_none() && event.name == REFRESH {
        let refresh = || Some(refresh(client.clone(), event).boxed());
        return Ok(by_others(client, head, exceeded, bytes, refresh));
    }
    if !client.gateway().events.handles(&event.name) {
        let backend = client.gateway().backend.as_ref().filter(|b| b.handles(&event.name));
        if let Some(backend) = backend.cloned() {
            let Event { name, args, ack } = event;
            let forward = || Some(forward(client.clone(), backend, name, args, ack).boxed());
            return Ok(by_others(client, head, exceeded, bytes, forward));
        }
        if exceeded.is_none() {
            let error = "no rule and no pattern of backend.events handles the event";
            client.gateway().refused(Rejected::UnknownEvent, client.log_subject(), &error);
        }
    }
    Ok(by_rules(client, head, event, exceeded, bytes))
}

/// Handles an event of so many bytes as the rules say.
fn by_rules(
    client: &Arc<Client>,
    head: &PacketHead<'_>,
    event: Event,
    exceeded: Option<RateExceeded>,
    bytes: usize,
) -> Wait {
    let request = client.gateway().events.request(event.name, event.args);
    let action = request.action();
    let reply = Reply::new(client, event.ack, request);
    // The rooms of a list are counted where it is joined.
    let is_in_burst = || match &action {
        Ok(Action::Join { .. }) => client.may_join(1),
        Ok(Action::JoinAll { .. }) => true,
        _ => false,
    };
    if let Some(exceeded) = exceeded.filter(|_| !is_in_burst()) {
        over_rate(client, head, exceeded);
        return None;
    }
    let permit =
        if action.as_ref().is_ok_and(changes_rooms) { client.may_wait(bytes) } else { Ok(None) };
    match permit {
        Ok(permit) => hold(permit, handle(reply, action, bytes)),
        Err(limit) => refuse_waiting(client, head, limit),
    }
}

/// Handles an event of so many bytes that no rule handles, unless the client sends too fast, or too
/// much waits already.
fn by_others(
    client: &Arc<Client>,
    head: &PacketHead<'_>,
    exceeded: Option<RateExceeded>,
    bytes: usize,
    handle: impl FnOnce() -> Wait,
) -> Wait {
    if let Some(exceeded) = exceeded {
        over_rate(client, head, exceeded);
        return None;
    }
    match client.may_wait(bytes) {
        Ok(permit) => hold(permit, handle()),
        Err(limit) => refuse_waiting(client, head, limit),
    }
}

/// Whether an action may wait for Redis. One that publishes waits for a full shard only.
fn changes_rooms(action: &Action) -> bool {
    match action {
        Action::Join { .. }
        | Action::JoinAll { .. }
        | Action::Leave { .. }
        | Action::LeaveAll { .. } => true,
        Action::Publish { .. } => false,
    }
}

/// Keeps a permit while an event waits.
fn hold(permit: Option<BodyPermit>, wait: Wait) -> Wait {
    let Some(permit) = permit else { return wait };
    let wait = wait?;
    Some(Box::pin(async move {
        wait.await;
        drop(permit);
    }))
}

/// Counts and logs a malformed packet of a client.
pub fn record_bad_packet(client: &Client, error: &dyn Display) {
    client.gateway().refused(Rejected::BadPacket, client.log_subject(), error);
}

/// Does what an event of so many bytes asks for.
fn handle(reply: Reply, action: Result<Action, Refusal>, bytes: usize) -> Wait {
    match action {
        Ok(Action::Join { room }) => join(reply, room),
        Ok(Action::Leave { room }) => leave(reply, vec![room]),
        Ok(Action::JoinAll { rooms }) => join_all(reply, rooms),
        Ok(Action::LeaveAll { rooms }) => {
            let outcome = ListOutcome::of_leave(rooms);
            let left = outcome.allowed();
            leave(reply.of_list(outcome), left)
        }
        Ok(Action::Publish { room, event, except_sender }) => {
            publish(reply, room, event, except_sender, bytes)
        }
        Err(refusal) => {
            if refusal.code == Code::Forbidden {
                let (client, why) = (reply.client(), "only the server may send the event");
                client.gateway().refused(Rejected::Forbidden, client.log_subject(), &why);
            }
            reply.refuse(&refusal);
            None
        }
    }
}

fn over_rate(client: &Arc<Client>, head: &PacketHead<'_>, exceeded: RateExceeded) {
    client.gateway().refused(exceeded.reason(), client.log_subject(), &exceeded);
    refuse_unread(client, head, exceeded.to_string());
}

/// Refuses an event that might have to wait, where too much waits already.
fn refuse_waiting(client: &Arc<Client>, head: &PacketHead<'_>, limit: LimitReached) -> Wait {
    refuse_unread(client, head, limit.explanation.to_owned());
    None
}

/// Refuses an event without its arguments, which may be large.
fn refuse_unread(client: &Arc<Client>, head: &PacketHead<'_>, message: String) {
    let request = client.gateway().events.request(event::name_of(head.payload), Vec::new());
    Reply::new(client, head.id, request).refuse(&Refusal::new(Code::RateLimited, message));
}

fn check_permission(
    client: &Client,
    rules: &Rules,
    permission: Permission,
    room: &str,
) -> Result<(), Refusal> {
    let decision = rules.decide(permission, &client.namespace, room, &client.subject.load());
    if decision.allowed {
        return Ok(());
    }
    let subject = client.log_subject().of_room(room);
    client.gateway().refused(Rejected::Forbidden, subject, &decision.reason);
    let what = match permission {
        Permission::Join => "join",
        Permission::Publish => "publish in",
    };
    Err(Refusal::new(Code::Forbidden, format!("you may not {what} this room")))
}

fn check_join(client: &Client, rules: &Rules, room: &Room) -> Result<(), Refusal> {
    if client.gateway().broker.is_member_id(room) {
        let message = "a room that is named like a member's id cannot be joined";
        return Err(Refusal::new(Code::RoomInvalid, message));
    }
    check_permission(client, rules, Permission::Join, room)
}

fn join(reply: Reply, room: Room) -> Wait {
    let client = reply.client().clone();
    let rules = client.gateway().rules.load_full();
    if let Err(refusal) = check_join(&client, &rules, &room) {
        reply.refuse(&refusal);
        return None;
    }
    join_rooms(reply, vec![room], rules)
}

/// Joins the rooms of a list that are allowed; the answer names the others.
fn join_all(reply: Reply, list: RoomList) -> Wait {
    let client = reply.client().clone();
    let (rooms, limits) = (list.0.len(), client.gateway().limits.config());
    if rooms > limits.rooms_per_client as usize {
        reply.refuse(&reply.too_many_rooms());
        return None;
    }
    if !client.may_join(rooms) {
        let message = format!(
            "{rooms} rooms are more than may be joined now: {} a second",
            limits.events_per_second
        );
        client.gateway().refused(Rejected::Events, client.log_subject(), &message);
        reply.refuse(&Refusal::new(Code::RateLimited, message));
        return None;
    }
    let rules = client.gateway().rules.load_full();
    let outcome = ListOutcome::of_join(list, |room| check_join(&client, &rules, room));
    let allowed = outcome.allowed();
    join_rooms(reply.of_list(outcome), allowed, rules)
}

/// Joins rooms that `rules` allow. Where that must be waited for, other rules may be in effect by
/// then; where it is made at once, the review of the shard's members comes after it.
fn join_rooms(reply: Reply, rooms: Vec<Room>, rules: Arc<Rules>) -> Wait {
    let client = reply.client().clone();
    let (reply, replied) = reply.of_change();
    let (broker, member) = (&client.gateway().broker, client.member.clone());
    let joined = replied.after(broker.join(client.shard(), member, rooms, reply))?;
    let review = async move {
        joined.await;
        review_after(&client, &rules).await;
    };
    Some(review.boxed())
}

fn leave(reply: Reply, rooms: Vec<Room>) -> Wait {
    let client = reply.client().clone();
    let (reply, replied) = reply.of_change();
    let (broker, member) = (&client.gateway().broker, client.member.clone());
    replied.after(broker.leave(client.shard(), member, rooms, reply))
}

fn publish(mut reply: Reply, room: Room, event: String, except_sender: bool, bytes: usize) -> Wait {
    let client = reply.client().clone();
    let rules = client.gateway().rules.load();
    if let Err(refusal) = check_permission(&client, &rules, Permission::Publish, &room) {
        reply.refuse(&refusal);
        return None;
    }
    // The reply repeats the arguments, so it is encoded before they are taken.
    let success = reply.success();
    let args = reply.take_args();
    if let Err(error) = packet::check_args(&args) {
        reply.restore_args(args);
        reply.refuse(&Refusal::new(Code::BadRequest, error.to_string()));
        return None;
    }
    let (member, broker) = (&client.member, &client.gateway().broker);
    let namespace = member.namespace.clone();
    let publication = Publication {
        address: member.address,
        ..Publication::of_client(&member.id, namespace, room, event, args, except_sender)
    };
    match broker.try_publish(publication) {
        Ok(_) => reply.send(success),
        Err(TryPublishError::Refused(error, publication)) => {
            reply.restore_args(publication.args);
            reply.refuse(&publish_refusal(&error));
        }
        Err(TryPublishError::Full(publication)) => {
            let permit = match client.may_wait(bytes) {
                Ok(permit) => permit,
                Err(limit) => {
                    reply.refuse(&Refusal::new(Code::RateLimited, limit.explanation));
                    return None;
                }
            };
            reply.restore_args(publication.args.clone());
            let broker = broker.clone();
            let published = async move {
                match broker.publish(*publication).await {
                    Ok(_) => reply.send(success),
                    Err(error) => reply.refuse(&publish_refusal(&error)),
                }
            };
            return hold(permit, Some(published.boxed()));
        }
    }
    None
}
