//! The webhook `connect`.

use std::sync::Arc;

use futures_util::FutureExt as _;
use rookery_config::Hook;
use rookery_policy::{Code, Namespace, Refusal, Subject};
use rookery_protocol::Data;

use super::carry_out::{carry_out, check_rooms};
use crate::backend::{Answer, Content, Request, RequestKind};
use crate::connection::Wait;
use crate::gateway::client::Client;
use crate::gateway::connect_error::ConnectRefusal;
use crate::gateway::state::Gateway;

/// A client that its token lets in.
pub struct Newcomer<'a> {
    /// The namespace that it asks for.
    pub namespace: &'a Namespace,
    /// The public id that it would have.
    pub id: &'a str,
    /// Its user and claims.
    pub subject: &'a Subject,
    /// The auth payload, if it sent one.
    pub auth: Option<&'a Data>,
}

/// Asks the backend, if it wants to know, whether a client may be in a namespace. Returns what the
/// backend answered.
///
/// # Errors
/// Why the client is refused.
pub async fn ask(
    gateway: &Gateway,
    newcomer: &Newcomer<'_>,
) -> Result<Option<Answer>, ConnectRefusal> {
    let Some(backend) = gateway.backend.as_ref().filter(|b| b.has(Hook::Connect)) else {
        return Ok(None);
    };
    let Newcomer { namespace, id, subject, auth } = newcomer;
    let request = Request {
        kind: RequestKind::Connect,
        namespace: namespace.name(),
        params: namespace.params(),
        id,
        user: subject.user(),
        claims: subject.claims(),
        content: Content::Connect { auth: *auth },
    };
    let called = backend.call(Hook::Connect, namespace.name(), request.to_json()).await;
    let mut answer = called
        .map_err(|failure| Refusal::new(Code::BackendUnavailable, failure.client_message()))?;
    if let Some(error) = answer.reply.error.take() {
        return Err(ConnectRefusal::Backend(error));
    }
    check_rooms(gateway, &answer.reply.join)?;
    Ok(Some(answer))
}

/// The namespace has accepted the client, and CONNECT is on its way: carries out what the backend
/// answered. Returns what must end before the client's first event is handled.
pub fn accepted(client: &Arc<Client>) -> Wait {
    let connected = client.connected();
    let Some(answer) = client.webhooks.take_connect_answer() else { return connected };
    let client = client.clone();
    let carried_out = async move {
        if let Some(connected) = connected {
            connected.await;
        }
        carry_out(&client, *answer, None).await;
    };
    Some(carried_out.boxed())
}
