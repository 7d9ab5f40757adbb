//! The events of admins: what they order is done in the whole cluster.

use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt as _;
use rookery_policy::{Code, Refusal, Request};
use rookery_protocol::{Data, Room};

use super::event::Event;
use super::reply::{Reply, publish_refusal};
use crate::connection::Wait;
use crate::gateway::admin::command::{Command, NoCommand, Order};
use crate::gateway::admin::state::Admin;
use crate::gateway::client::Client;
use crate::message::{Publication, PublicationId, Selector, Source};
use crate::telemetry::metrics::Rejected;

/// Does what an event orders, and acknowledges it where the admin asked for that. What
/// is no command, or may not be given, is answered with `rookery:error`, logged and counted.
pub fn order(client: &Arc<Client>, admin: &Admin, event: Event) -> Wait {
    let Event { name, args, ack } = event;
    let command = Command::parse(&name, args);
    let request = Request::of_server(name, Data::Object(Vec::new()), "rookery:error");
    let reply = Reply::new(client, ack, request);
    let command = match command.map_err(refusal).and_then(|command| check(client, admin, command)) {
        Ok(command) => command,
        Err((reason, refusal)) => {
            client.gateway().refused(reason, client.log_subject(), &refusal.message);
            reply.refuse(&refusal);
            return None;
        }
    };
    let client = client.clone();
    let ordered = async move {
        match carry_out(&client, command).await {
            Ok(()) if ack.is_some() => reply.send(reply.success()),
            Ok(()) => {}
            Err(refusal) => reply.refuse(&refusal),
        }
    };
    Some(ordered.boxed())
}

fn refusal(why: NoCommand) -> (Rejected, Refusal) {
    match why {
        NoCommand::Unknown => {
            let refusal = Refusal::new(Code::UnknownOperation, "no such command of an admin");
            (Rejected::UnknownEvent, refusal)
        }
        NoCommand::Malformed(why) => (Rejected::BadPacket, Refusal::new(Code::BadRequest, why)),
    }
}

/// Whether the admin may give the command: about clients, and where it may do more than look.
fn check(client: &Client, admin: &Admin, command: Command) -> Result<Command, (Rejected, Refusal)> {
    if admin.config.readonly {
        let refusal = Refusal::new(Code::Forbidden, "admins may only look: admin.readonly is set");
        return Err((Rejected::Forbidden, refusal));
    }
    let gateway = client.gateway();
    let is_of_admins = gateway.admin_of(&command.namespace).is_some();
    if is_of_admins || !gateway.namespaces.served().offers(&command.namespace) {
        let refusal = Refusal::new(Code::BadRequest, "clients cannot connect to this namespace");
        return Err((Rejected::BadPacket, refusal));
    }
    Ok(command)
}

async fn carry_out(client: &Client, command: Command) -> Result<(), Refusal> {
    let Command { namespace, of, order } = command;
    let broker = &client.gateway().broker;
    let label = order.label();
    let selector = Selector::Rooms { rooms: of.clone(), except: Vec::new() };
    let (matched, rooms) = match order {
        Order::Emit { event, args } => {
            let publication = publication(client, &namespace, &of, event, args);
            let published = broker.accept(publication).await;
            published.map_err(|error| publish_refusal(&error))?;
            (None, Vec::new())
        }
        Order::Join(rooms) => {
            (Some(broker.join_selected(&namespace, &selector, &rooms).await), rooms)
        }
        Order::Leave(rooms) => {
            (Some(broker.leave_selected(&namespace, &selector, &rooms).await), rooms)
        }
        Order::Disconnect { close } => {
            (Some(broker.disconnect_selected(&namespace, &selector, close).await), Vec::new())
        }
    };
    tracing::info!(
        admin = client.member.user.as_deref(),
        order = label,
        namespace,
        of = listed(&of),
        rooms = listed(&rooms),
        matched = matched.map(|matched| matched.matched),
        "an admin gave an order"
    );
    Ok(())
}

fn publication(
    client: &Client,
    namespace: &str,
    of: &[Room],
    event: String,
    args: Vec<Data>,
) -> Publication {
    Publication {
        id: PublicationId::of_client(&client.member.id),
        namespace: namespace.into(),
        rooms: of.iter().cloned().collect(),
        except: Default::default(),
        event,
        args: args.into(),
        volatile: false,
        compress: true,
        source: Source::Admin,
        address: client.member.address,
        accepted: Instant::now(),
        traceparent: None,
    }
}

/// The first rooms of a list, for the log; `None` where there are none.
fn listed(rooms: &[Room]) -> Option<String> {
    const SHOWN: usize = 10;
    let more = if rooms.len() > SHOWN { ", …" } else { "" };
    let shown: Vec<&str> = rooms.iter().take(SHOWN).map(|room| &**room).collect();
    (!shown.is_empty()).then(|| format!("{}{more}", shown.join(", ")))
}
