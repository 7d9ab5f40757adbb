//! `auth:refresh`: a client replaces its token.

use std::sync::Arc;

use super::event::Event;
use super::reply::Reply;
use super::review;
use crate::auth::{Verifier, bare_token};
use crate::gateway::authenticator;
use crate::gateway::client::Client;
use crate::rooms::shard::MembershipChange;
use crate::telemetry::metrics::Rejected;
use rookery_policy::{Code, Refusal, Subject};
use rookery_protocol::{Data, Room};

/// Handles `auth:refresh {token}`: the new token's claims and expiry replace those of the old one.
/// It cannot change the user, and ends memberships that the new claims do not allow.
pub async fn refresh(client: Arc<Client>, event: Event) {
    let token = event.args.first().and_then(|a| a.get("token")).and_then(Data::as_str);
    let verified = match (token.map(bare_token), &client.gateway().authenticator.verifier) {
        (Some(""), _) => Err(Refusal::new(Code::BadRequest, authenticator::EMPTY_TOKEN)),
        (Some(token), Some(verifier)) if may_present_token(&client) => {
            verify(&client, verifier, token).await
        }
        (Some(_), Some(_)) => Err(Refusal::new(Code::RateLimited, "too many tokens at once")),
        (None, _) => Err(Refusal::new(Code::BadRequest, "auth:refresh expects { token: \"…\" }")),
        (_, None) => {
            let message = "this server cannot verify tokens: auth.jwt is not configured";
            Err(Refusal::new(Code::BadRequest, message))
        }
    };
    let reply = Reply::refreshed(&client, event);
    match verified {
        Ok(subject) => replace_subject(&client, subject, reply).await,
        Err(refusal) => {
            let member = &*client.member.id;
            let (code, error) = (refusal.code.as_str(), &refusal.message);
            tracing::debug!(member, code, error, "refused a token refresh");
            reply.refuse(&refusal);
        }
    }
}

/// Whether a token is verified: as often as for connects, because it costs the same.
fn may_present_token(client: &Client) -> bool {
    let clients = client.session_clients.upgrade();
    let may_present = clients.is_some_and(|clients| clients.may_present_token());
    if !may_present {
        let error = "too many tokens at once";
        client.gateway().refused(Rejected::Events, client.log_subject(), &error);
    }
    may_present
}

/// Verifies a token, which must be of the same user.
async fn verify(client: &Client, verifier: &Verifier, token: &str) -> Result<Subject, Refusal> {
    let claims = authenticator::verify(verifier, token).await?;
    let subject = claims.subject();
    if subject.user() != client.member.user.as_deref() {
        return Err(Refusal::new(Code::Forbidden, "the token belongs to another user"));
    }
    client.set_expiry(Some(claims.expires));
    Ok(subject)
}

/// The reply is sent in the step that ends the memberships which the claims do not allow.
async fn replace_subject(client: &Arc<Client>, subject: Subject, reply: Reply) {
    client.subject.store(Arc::new(subject));
    let may_stay = review::may_stay(client);
    let (broker, member) = (&client.gateway().broker, client.member.clone());
    let (reply, replied) = reply.of_change();
    let tell = move |_: &[Room]| reply(MembershipChange::Done, &[]).into_iter().collect();
    let left = replied.after(broker.leave_except(client.shard(), member, may_stay, tell));
    if let Some(wait) = left {
        wait.await;
    }
}
