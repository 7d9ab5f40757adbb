//! The webhook `disconnect`.

use std::sync::Arc;

use rookery_config::Hook;
use rookery_policy::{Params, Subject};

use super::publications::publish_all;
use crate::backend::{Content, Notification, Reply, Request, RequestKind};
use crate::gateway::state::Gateway;
use crate::rooms::member::Member;
use crate::telemetry::metrics::Disconnected;

/// Tells the backend, if it wants to know, that a client is gone. Of the reply, only publications
/// are carried out: there is nobody left for the rest.
pub fn report(
    gateway: &Arc<Gateway>,
    shard: usize,
    (member, params): (&Arc<Member>, &Params),
    subject: &Subject,
    reason: Disconnected,
) {
    let Some(backend) = gateway.backend.as_ref().filter(|b| b.has(Hook::Disconnect)) else {
        return;
    };
    // The backend heard nothing of an admin's connect either.
    if gateway.admin_of(&member.namespace).is_some() {
        return;
    }
    let request = Request {
        kind: RequestKind::Disconnect,
        namespace: &member.namespace,
        params,
        id: &member.id,
        user: member.user.as_deref(),
        claims: subject.claims(),
        content: Content::Disconnect { reason: reason.label() },
    };
    let mut notification = Notification::new(Hook::Disconnect, request.to_json());
    let (gateway, member) = (gateway.clone(), member.clone());
    notification.on_reply = Some(Box::new(move |reply: Reply| {
        if !reply.publish.is_empty() {
            let publishing = gateway.clone();
            gateway.shards[shard].spawn(async move {
                publish_all(&publishing, &member, reply.publish, None).await;
            });
        }
    }));
    backend.notify(notification);
}
