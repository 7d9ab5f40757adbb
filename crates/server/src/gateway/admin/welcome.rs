//! What an admin is sent when it connects.

use std::sync::Arc;

use rookery_protocol::Data;
use rookery_protocol::encoded::Encoded;

use super::event::object;
use super::login::begun_session;
use super::state::Admin;
use crate::connection::Wait;
use crate::gateway::client::Client;

/// What the page offers of what admins may do: one, and several sockets at once.
const COMMANDS: [&str; 7] =
    ["EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT"];

/// The namespace of admins has accepted a client, and CONNECT is on its way: sends its session, where
/// it began one, and what it may do. Returns what must end before its first event is handled.
pub fn welcome(client: &Arc<Client>, admin: &Admin) -> Wait {
    let connected = client.connected();
    let subject = client.subject.load();
    let (user, member) = (subject.user(), &client.member);
    let session = begun_session(&subject);
    let by = if session.is_some() { "password" } else { "session" };
    let address = client.session_clients.upgrade().map(|clients| clients.origin().address);
    tracing::info!(
        admin = user,
        client = address.map(tracing::field::display),
        by,
        "an admin connected"
    );
    let send = |event: &str, arg: &Data| {
        member.outbox.send(Arc::new(Encoded::event(&member.namespace, event, [arg])));
    };
    if let Some(session) = session {
        send("session", &Data::from(session));
    }
    send("config", &object([("supportedFeatures", Data::Array(features(admin)))]));
    admin.arrived(&member.id);
    connected
}

fn features(admin: &Admin) -> Vec<Data> {
    let commands = COMMANDS.into_iter().filter(|_| !admin.config.readonly);
    let all_events = admin.shows_sockets().then_some("ALL_EVENTS");
    let features = commands.chain(["AGGREGATED_EVENTS"]).chain(all_events);
    features.map(Data::from).collect()
}
