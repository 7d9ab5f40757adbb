//! Client events: what they do, in which order, and how they are answered.

mod event;
mod refresh;
mod reply;

use std::fmt::Display;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;

use super::client::Client;
use crate::broker::TryPublishError;
use crate::connection::Wait;
use crate::message::{Publication, PublishError};
use crate::telemetry::metrics::Rejected;
use event::Event;
use refresh::refresh;
use reply::Reply;
use rookery_policy::{Action, Code, Permission, Refusal};
use rookery_protocol::packet::{PacketError, PacketHead, PacketType};
use rookery_protocol::{Room, packet};

/// The event by which a client replaces its token.
const REFRESH: &str = "auth:refresh";

/// Handles an event, or an acknowledgement, which answers nothing that was asked. Returns what must
/// end before the client's next packet is handled, so that its answers come in the order of its
/// events.
///
/// # Errors
/// When the packet is malformed: then the session must end.
pub fn receive(
    client: &Arc<Client>,
    head: &PacketHead<'_>,
    attachments: &[Bytes],
) -> Result<Wait, PacketError> {
    let attachments = head.kind.is_binary().then_some(attachments);
    if matches!(head.kind, PacketType::Ack | PacketType::BinaryAck) {
        packet::decode_ack(head.payload, attachments)?;
        return Ok(None);
    }
    let (name, args) = packet::decode_event(head.payload, attachments)?;
    let event = Event { name, args, ack: head.id };
    if !client.may_send_event() {
        over_rate(client, event);
        return Ok(None);
    }
    Ok(handle(client, event))
}

/// Counts and logs a malformed packet of a client.
pub fn record_bad_packet(client: &Client, error: &dyn Display) {
    client.gateway().refused(Rejected::BadPacket, client.log_subject(), error);
}

fn handle(client: &Arc<Client>, event: Event) -> Wait {
    if event.name == REFRESH {
        return Some(refresh(client.clone(), event).boxed());
    }
    let request = client.gateway().events.request(event.name, event.args);
    let action = request.action();
    let reply = Reply::new(client, event.ack, request);
    match action {
        Ok(Action::Join { room }) => join(reply, room),
        Ok(Action::Leave { room }) => {
            let (reply, replied) = reply.of_change();
            let (broker, member) = (&client.gateway().broker, client.member.clone());
            replied.after(broker.leave(client.shard(), member, room, reply))
        }
        Ok(Action::Publish { room, event, except_sender }) => {
            publish(reply, room, event, except_sender)
        }
        Err(refusal) => {
            reply.refuse(&refusal);
            None
        }
    }
}

fn over_rate(client: &Arc<Client>, event: Event) {
    let limit = client.gateway().limits.config().events_per_second;
    let message = format!("more than {limit} events per second");
    client.gateway().refused(Rejected::Events, client.log_subject(), &message);
    let request = client.gateway().events.request(event.name, event.args);
    Reply::new(client, event.ack, request).refuse(&Refusal::new(Code::RateLimited, message));
}

fn check_permission(client: &Client, permission: Permission, room: &str) -> Result<(), Refusal> {
    let rules = client.gateway().rules.load();
    let decision = rules.decide(permission, room, &client.subject.load());
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

fn join(reply: Reply, room: Room) -> Wait {
    let client = reply.client().clone();
    if client.gateway().broker.is_member_id(&room) {
        let message = "a room that is named like a member's id cannot be joined";
        reply.refuse(&Refusal::new(Code::RoomInvalid, message));
        return None;
    }
    if let Err(refusal) = check_permission(&client, Permission::Join, &room) {
        reply.refuse(&refusal);
        return None;
    }
    let (reply, replied) = reply.of_change();
    let (broker, member) = (&client.gateway().broker, client.member.clone());
    replied.after(broker.join(client.shard(), member, room, reply))
}

fn publish(mut reply: Reply, room: Room, event: String, except_sender: bool) -> Wait {
    let client = reply.client().clone();
    if let Err(refusal) = check_permission(&client, Permission::Publish, &room) {
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
    let publication =
        Publication::of_client(&member.id, namespace, room, event, args, except_sender);
    match broker.try_publish(publication) {
        Ok(_) => reply.send(success),
        Err(TryPublishError::Refused(error, publication)) => {
            reply.restore_args(publication.args);
            reply.refuse(&publish_refusal(&error));
        }
        Err(TryPublishError::Full(publication)) => {
            reply.restore_args(publication.args.clone());
            let broker = broker.clone();
            return Some(
                async move {
                    match broker.publish(*publication).await {
                        Ok(_) => reply.send(success),
                        Err(error) => reply.refuse(&publish_refusal(&error)),
                    }
                }
                .boxed(),
            );
        }
    }
    None
}

fn publish_refusal(error: &PublishError) -> Refusal {
    match error {
        PublishError::RedisDown => Refusal::new(Code::NotConnectedToRedis, error.to_string()),
        PublishError::Overloaded => Refusal::new(Code::RateLimited, error.to_string()),
    }
}
