//! The webhook `event`.

use std::sync::Arc;

use rookery_config::Hook;
use rookery_policy::{Code, Refusal};
use rookery_protocol::Data;

use super::carry_out::{Asked, carry_out, refuse, refused};
use crate::backend::{Backend, Content, Request, RequestKind};
use crate::gateway::client::Client;
use crate::telemetry::metrics::Rejected;

/// Sends a client's event to the backend and carries out the reply. The client's next packet is
/// handled after that.
pub async fn forward(
    client: Arc<Client>,
    backend: Backend,
    event: String,
    args: Vec<Data>,
    ack: Option<u64>,
) {
    client.webhooks.disconnect.begin_call();
    let body = {
        let (member, subject) = (&client.member, client.subject.load());
        let request = Request {
            kind: RequestKind::Event,
            namespace: &member.namespace,
            params: client.namespace.params(),
            id: &member.id,
            user: member.user.as_deref(),
            claims: subject.claims(),
            content: Content::Event { event: &event, args: &args, ack: ack.is_some() },
        };
        request.to_json()
    };
    drop(args);
    let asked = Asked { event, ack };
    match backend.call(Hook::Event, &client.member.namespace, body).await {
        Ok(answer) => carry_out(&client, answer, Some(asked)).await,
        Err(failure) => {
            client.gateway().metrics.rejected(Rejected::Backend);
            let refusal = Refusal::new(Code::BackendUnavailable, failure.client_message());
            refuse(&client, Some(&asked), &refused(&refusal));
        }
    }
    if let Some(reason) = client.webhooks.disconnect.end_call() {
        client.tell_backend(reason);
    }
}
