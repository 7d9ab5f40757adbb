//! Who may connect to a namespace: tokens at the connect, refusals, and fresh tokens later.

use std::sync::Arc;
use std::time::SystemTime;

use super::client::{Client, Event};
use super::events::Reply;
use super::lines::About;
use super::session::Credentials;
use crate::auth::{AuthError, Verifier};
use crate::rooms::shard::Message;
use crate::telemetry::metrics::Rejected;
use rookery_policy::{Code, Permission, Refusal, Subject};
use rookery_protocol::Revision;
use rookery_protocol::encoded::Encoded;
use rookery_protocol::packet::PacketHead;
use rookery_protocol::{Data, packet};

/// Decides who may connect.
pub struct Authenticator {
    /// Verifies tokens, where `auth.jwt` is configured.
    pub verifier: Option<Arc<Verifier>>,
    /// Who clients without a token are, where they may connect; shared by all of them.
    pub anonymous: Option<Arc<Subject>>,
}

/// A client that may connect.
pub struct Admitted {
    /// Its user and claims.
    pub subject: Arc<Subject>,
    /// When its token ends.
    pub expires: Option<SystemTime>,
}

impl Authenticator {
    /// Verifies tokens by `verifier`; `anonymous` says whether clients without one may connect.
    pub fn new(verifier: Option<Arc<Verifier>>, anonymous: bool) -> Self {
        let anonymous = anonymous.then(|| Arc::new(Subject::anonymous()));
        Authenticator { verifier, anonymous }
    }

    /// Admits a client by the first token that it brought: of its auth payload, of the
    /// `Authorization` header, of the query.
    ///
    /// # Errors
    /// Why it may not connect. A bad token is refused also where none is needed.
    pub async fn admit(
        &self,
        auth: Option<&Data>,
        credentials: Option<&Credentials>,
    ) -> Result<Admitted, Refusal> {
        let of_payload = match auth.and_then(|a| a.get("token")) {
            None | Some(Data::Null) => None,
            Some(Data::String(token)) if !token.is_empty() => Some(token.as_str()),
            Some(_) if self.verifier.is_none() => None,
            Some(_) => {
                let refusal = Refusal::new(Code::Unauthenticated, "auth.token is no text");
                return Err(refusal);
            }
        };
        let token = of_payload
            .or(credentials.and_then(|c| c.header.as_deref()))
            .or(credentials.and_then(|c| c.query.as_deref()))
            .filter(|token| !token.is_empty());
        if let (Some(token), Some(verifier)) = (token, &self.verifier) {
            return self.verified(verifier, token).await;
        }
        match (token, &self.anonymous) {
            (_, Some(anonymous)) => Ok(Admitted { subject: anonymous.clone(), expires: None }),
            (None, _) => {
                let message = "a token is needed: auth: { token }, or an Authorization header";
                Err(Refusal::new(Code::Unauthenticated, message))
            }
            (Some(_), None) => {
                let message = "tokens cannot be verified here: auth.jwt is not configured";
                Err(Refusal::new(Code::Unauthenticated, message))
            }
        }
    }

    async fn verified(&self, verifier: &Verifier, token: &str) -> Result<Admitted, Refusal> {
        let claims = verifier.verify(token).await.map_err(|e| refused(&e))?;
        Ok(Admitted { subject: Arc::new(claims.subject()), expires: Some(claims.expires) })
    }
}

fn refused(error: &AuthError) -> Refusal {
    Refusal::new(error.code(), error.to_string())
}

/// A refusal on its way through the engine, which knows only a message: JSON that
/// [`refusal`] reads back when the packet passes the session's stream.
pub struct InTransit(pub Refusal);

impl std::fmt::Display for InTransit {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let Refusal { code, message } = &self.0;
        write!(f, "{}", serde_json::json!({ "code": code.as_str(), "message": message }))
    }
}

/// The CONNECT_ERROR that the client gets for the engine's: `{message, data: {code, message}}`
/// in revision 4, the bare data in revision 3 (Socket.IO protocol, revisions 5 and 4). `engine` is
/// the engine's packet.
pub fn refusal(engine: &[u8], revision: Revision) -> Encoded {
    let text = String::from_utf8_lossy(engine);
    let (namespace, json) =
        PacketHead::parse(&text).map_or(("/", ""), |head| (head.namespace, head.payload));
    let message = |json: &str| -> Option<String> {
        let error: serde_json::Value = serde_json::from_str(json).ok()?;
        Some(error.get("message")?.as_str()?.to_owned())
    };
    let of_engine = message(json).unwrap_or_default();
    let field = |key: &str| -> Option<Data> {
        let ours: serde_json::Value = serde_json::from_str(&of_engine).ok()?;
        Some(Data::from(ours.get(key)?.as_str()?))
    };
    let payload = match (field("code"), field("message"), revision) {
        (Some(code), Some(message), revision) => {
            let data = Data::Object(vec![
                ("code".to_owned(), code),
                ("message".to_owned(), message.clone()),
            ]);
            match revision {
                Revision::V3 => data,
                Revision::V4 => {
                    Data::Object(vec![("message".to_owned(), message), ("data".to_owned(), data)])
                }
            }
        }
        (_, _, Revision::V3) => Data::String(of_engine),
        (_, _, Revision::V4) => Data::Object(vec![("message".to_owned(), Data::String(of_engine))]),
    };
    Encoded::message(&packet::encode_connect_error(namespace, &payload), Vec::new())
}

/// Counts a refused connect, and tells of it.
pub fn count(gateway: &super::Gateway, refusal: &Refusal, about: About<'_>) {
    gateway.metrics.connects_refused.inc();
    let reason = match refusal.code {
        Code::Draining => Rejected::Draining,
        Code::Forbidden => Rejected::Forbidden,
        _ => Rejected::Unauthenticated,
    };
    gateway.refused(reason, about, &refusal.message);
}

/// Handles `auth:refresh {token}`: the new token's claims and end replace the old one's. It
/// cannot change the user, and ends memberships that the new claims do not allow.
pub async fn refresh(client: Arc<Client>, event: Event) {
    let token = event.args.first().and_then(|a| a.get("token")).and_then(Data::as_str);
    let refreshed = match (token, &client.gateway().authenticator.verifier) {
        (Some(token), Some(verifier)) => fresh(&client, verifier, token).await,
        (None, _) => Err(Refusal::new(Code::BadRequest, "auth:refresh expects { token: \"…\" }")),
        (_, None) => {
            let message = "tokens cannot be verified here: auth.jwt is not configured";
            Err(Refusal::new(Code::BadRequest, message))
        }
    };
    let reply = super::events::refresh_reply(&client, event);
    match refreshed {
        Ok(subject) => renew(&client, subject, reply).await,
        Err(refusal) => {
            let member = &*client.member.id;
            let (code, error) = (refusal.code.as_str(), &refusal.message);
            tracing::debug!(member, code, error, "refused a fresh token");
            reply.refuse(&refusal);
        }
    }
}

/// Verifies a fresh token of the same user.
async fn fresh(client: &Client, verifier: &Verifier, token: &str) -> Result<Subject, Refusal> {
    let claims = verifier.verify(token).await.map_err(|e| refused(&e))?;
    let subject = claims.subject();
    if subject.user() != client.member.user.as_deref() {
        return Err(Refusal::new(Code::Forbidden, "the token is of another user"));
    }
    client.set_expiry(Some(claims.expires));
    Ok(subject)
}

/// The answer is written in the step that ends the memberships which the claims do not allow.
async fn renew(client: &Arc<Client>, subject: Subject, reply: Reply) {
    client.subject.store(Arc::new(subject.clone()));
    let rules = client.gateway().rules.load_full();
    let member = client.member.clone();
    let leave = client.tell(Message::Ask(Box::new(move |rooms| {
        let mut lost = rooms.membership().rooms_of(&member);
        lost.retain(|room| !rules.decide(Permission::Join, room, &subject).allowed);
        rooms.leave(&member, &lost);
        reply.succeed();
    })));
    if let Some(wait) = leave {
        wait.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(engine: &str, revision: Revision) -> String {
        let packet = refusal(format!("4{engine}").as_bytes(), revision);
        String::from_utf8(packet.text().to_vec()).unwrap()
    }

    #[test]
    fn a_refusal_passes_the_engine() {
        let inner = InTransit(Refusal::new(Code::TokenExpired, "over")).to_string();
        let engine = format!("/chat,{}", serde_json::json!({ "message": inner }));
        assert_eq!(
            passed(&engine, Revision::V4),
            r#"44/chat,{"message":"over","data":{"code":"token_expired","message":"over"}}"#
        );
        assert_eq!(
            passed(&engine, Revision::V3),
            r#"44/chat,{"code":"token_expired","message":"over"}"#
        );
    }

    #[test]
    fn the_engine_s_own_refusals_stay() {
        let engine = r#"/x,{"message":"Invalid namespace"}"#;
        assert_eq!(passed(engine, Revision::V4), format!("44{engine}"));
        assert_eq!(passed(engine, Revision::V3), r#"44/x,"Invalid namespace""#);
    }
}
