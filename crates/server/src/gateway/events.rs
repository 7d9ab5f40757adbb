//! Client events: what they do, in which order, and how they are answered.

mod refresh;
mod reply;

use std::sync::Arc;

use futures_util::FutureExt as _;

use super::client::Client;
use super::event_queue::{Event, Push, Step};
use crate::broker::TryPublishError;
use crate::message::{Publication, PublishError};
use crate::rooms::local::Wait;
use crate::telemetry::metrics::Rejected;
use refresh::refresh;
use reply::Reply;
use rookery_policy::{Action, Code, Permission, Refusal};
use rookery_protocol::{Room, packet};

/// The event by which a client replaces its token.
const REFRESH: &str = "auth:refresh";

/// The namespace has accepted the client: adds it to its shard, then handles its events.
pub fn connected(client: &Arc<Client>) {
    if !client.events().lock().connect() {
        return;
    }
    client.record_connect();
    let wait = client.enter_shard();
    if wait.is_some() || !client.events().lock().try_idle() {
        // The caller is in the middle of a write, so events are never handled here.
        client.spawn(handle_after(client.clone(), wait));
    }
}

/// Takes an event. The caller hands over a client's events in the order in which they came.
pub fn receive(client: &Arc<Client>, event: Event) {
    if !client.may_send_event() {
        return over_rate(client, event);
    }
    let pushed = client.events().lock().push(event);
    match pushed {
        Push::Handle(event) => {
            if let Some(wait) = handle(client, event).or_else(|| handle_next(client)) {
                client.spawn(handle_after(client.clone(), Some(wait)));
            }
        }
        Push::Done => {}
        Push::Full(event) => over_rate(client, event),
    }
}

/// Handles what waits in the client's queue after `wait` has ended.
async fn handle_after(client: Arc<Client>, mut wait: Wait) {
    loop {
        if let Some(wait) = wait {
            wait.await;
        }
        wait = handle_next(&client);
        if wait.is_none() {
            return;
        }
    }
}

/// Handles what waits in the client's queue, up to the first step that must be waited for.
fn handle_next(client: &Arc<Client>) -> Wait {
    loop {
        let step = client.events().lock().next_step();
        let wait = match step {
            Step::Event(event) => handle(client, event),
            Step::Disconnect => client.leave_shard(),
            Step::Idle => return None,
        };
        if wait.is_some() {
            return wait;
        }
    }
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
            let (broker, member) = (&client.gateway().broker, client.member.clone());
            broker.leave(client.shard(), member, room, reply.of_change())
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
    if client.events().lock().is_closed() {
        return None;
    }
    if client.gateway().broker.is_member_id(&room) {
        let message = "a room that is named like a member's id cannot be joined";
        reply.refuse(&Refusal::new(Code::RoomInvalid, message));
        return None;
    }
    if let Err(refusal) = check_permission(&client, Permission::Join, &room) {
        reply.refuse(&refusal);
        return None;
    }
    let (broker, member) = (&client.gateway().broker, client.member.clone());
    broker.join(client.shard(), member, room, reply.of_change())
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
    if packet::too_many_binaries(&args) {
        let message = format!("more than {} binary values", packet::MAX_ATTACHMENTS);
        reply.restore_args(args);
        reply.refuse(&Refusal::new(Code::BadRequest, message));
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
