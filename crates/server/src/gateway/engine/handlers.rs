//! What socketioxide calls: when a client asks for a namespace, or is gone. Events do not reach it.

use std::borrow::Cow;
use std::fmt::Display;
use std::pin::Pin;
use std::sync::Arc;

use socketioxide::adapter::LocalAdapter;
use socketioxide::handler::{ConnectHandler, DisconnectHandler};
use socketioxide::socket::{DisconnectReason, Socket};
use socketioxide_core::Value;

use crate::backend::Answer;
use crate::connection::outbox::Ending;
use crate::gateway::authenticator::{Admission, Credentials};
use crate::gateway::client::Client;
use crate::gateway::client_log;
use crate::gateway::connect_error::ConnectRefusal;
use crate::gateway::events;
use crate::gateway::limits::BodyPermit;
use crate::gateway::namespaces::{LeaseSlot, NamespaceLease};
use crate::gateway::session::{Session, Sessions};
use crate::gateway::webhooks;
use crate::gateway::webhooks::connect::Newcomer;
use crate::telemetry::metrics::{Disconnected, Rejected};
use rookery_policy::{Code, Namespace, Refusal, Subject};
use rookery_protocol::{Data, Revision, packet};

/// The parameter of the engine's requests that names the session. It must be the last one.
pub const SESSION_PARAMETER: &str = "session";

/// The handler of a namespace that is not offered, which refuses clients in the words of Node's server.
#[derive(Clone)]
pub struct NotOffered;

impl ConnectHandler<LocalAdapter, ()> for NotOffered {
    fn call(&self, _: Arc<Socket>, _: Option<Value>) {}

    fn call_middleware<'a>(
        &'a self,
        _: Arc<Socket>,
        _: &'a Option<Value>,
    ) -> Pin<Box<dyn Future<Output = Admitted> + Send + 'a>> {
        Box::pin(async { Err(Box::new("Invalid namespace") as Box<dyn Display + Send>) })
    }
}

/// The handler of connects to one namespace.
pub fn connect_handler(
    sessions: Arc<Sessions>,
    namespace: Namespace,
) -> impl ConnectHandler<LocalAdapter, ()> {
    OnConnect { sessions, namespace }
}

#[derive(Clone)]
struct OnConnect {
    sessions: Arc<Sessions>,
    namespace: Namespace,
}

type Admitted = Result<(), Box<dyn Display + Send>>;

impl ConnectHandler<LocalAdapter, ()> for OnConnect {
    fn call(&self, socket: Arc<Socket>, _: Option<Value>) {
        let session = self.session(&socket);
        let Some(client) = session.and_then(|s| s.clients.get(self.namespace.name())) else {
            return;
        };
        let lease = LeaseSlot::default();
        lease.put(client.lease.take());
        socket.on_disconnect(OnDisconnect { client, lease });
    }

    fn call_middleware<'a>(
        &'a self,
        socket: Arc<Socket>,
        auth: &'a Option<Value>,
    ) -> Pin<Box<dyn Future<Output = Admitted> + Send + 'a>> {
        Box::pin(async move {
            let admitted = self.admit(&socket, auth.as_ref()).await;
            admitted.map_err(|refusal| Box::new(refusal) as Box<dyn Display + Send>)
        })
    }
}

impl OnConnect {
    fn session(&self, socket: &Socket) -> Option<Arc<Session>> {
        let query = socket.req_parts().uri.query()?;
        let (_, sid) = query.rsplit_once(['&', '='])?;
        self.sessions.get(sid)
    }

    /// Verifies the client's token, asks the backend and adds the client to its session. Waits at most
    /// for the key that the token was signed with, and for the backend.
    async fn admit(
        &self,
        socket: &Arc<Socket>,
        auth: Option<&Value>,
    ) -> Result<(), ConnectRefusal> {
        let Some(session) = self.session(socket) else {
            return Err(Refusal::new(Code::Unauthenticated, "the session has ended").into());
        };
        let gateway = session.gateway();
        let lease = lease(&session, &self.namespace)?;
        may_present_token(&session)?;
        let _permit = may_wait(&session, auth)?;
        let auth = auth_payload(&session, auth)?;
        let name = self.namespace.name();
        let admission = self.verify(&session, auth.as_ref()).await?;
        let ids = session.ids.of_member(name, gateway.broker.pod());
        let answer = match gateway.admin_of(name) {
            // Neither its name nor its password is for the backend.
            Some(_) => None,
            None => {
                self.ask_backend(&session, &ids.public, &admission.subject, auth.as_ref()).await?
            }
        };
        let client = Client::new(
            gateway,
            &session.clients,
            session.shard,
            ids,
            self.namespace.clone(),
            admission.subject,
            socket,
        );
        if let Some(answer) = answer {
            client.webhooks.set_connect_answer(answer);
        }
        client.lease.put(lease);
        hear_namespace(&client).await;
        if session.clients.add(client.clone()) {
            client.set_expiry(admission.expires);
        } else {
            // The backend has let it in, but the session has ended meanwhile.
            let reason = session.outbox.ending().unwrap_or(Disconnected::TransportError);
            client.report_disconnect(reason);
        }
        Ok(())
    }

    /// Verifies an admin's password or session, or another client's token.
    async fn verify(
        &self,
        session: &Session,
        auth: Option<&Data>,
    ) -> Result<Admission, ConnectRefusal> {
        let (gateway, name) = (session.gateway(), self.namespace.name());
        let admitted = match gateway.admin_of(name) {
            Some(admin) => admin.login.admit(auth).await,
            None => {
                let credentials = credentials(session, auth);
                gateway.authenticator.admit(auth, credentials.as_deref()).await
            }
        };
        Ok(admitted.inspect_err(|refusal| record_refusal(session, name, refusal))?)
    }

    /// Asks the backend about a client that would have this id.
    async fn ask_backend(
        &self,
        session: &Session,
        id: &str,
        subject: &Subject,
        auth: Option<&Data>,
    ) -> Result<Option<Answer>, ConnectRefusal> {
        let newcomer = Newcomer { namespace: &self.namespace, id, subject, auth };
        let answer = webhooks::connect::ask(session.gateway(), &newcomer).await;
        answer.inspect_err(|refusal| {
            record_refusal_of_backend(session, self.namespace.name(), refusal);
        })
    }
}

/// What others publish to a namespace of a pattern is heard before the client knows that it is in.
async fn hear_namespace(client: &Client) {
    if let Some(wait) = client.gateway().broker.hear_namespace(&client.member) {
        wait.await;
    }
}

/// The lease of a namespace of a pattern, which the session took before it asked the engine; `None`
/// for one that is named in the configuration.
///
/// # Errors
/// Where it took none: what it asked for is another namespace for the engine than for the session.
fn lease(session: &Session, namespace: &Namespace) -> Result<Option<NamespaceLease>, Refusal> {
    if session.gateway().namespaces.served().is_fixed(namespace.name()) {
        return Ok(None);
    }
    let taken = session.asked.take().filter(|lease| lease.namespace() == namespace);
    taken.map(Some).ok_or_else(|| {
        let refusal = Refusal::new(Code::BadRequest, "Invalid namespace");
        session.gateway().metrics.connects_refused.inc();
        session.gateway().refused(Rejected::BadPacket, session.log_subject(), &refusal);
        refusal
    })
}

/// The tokens of the first request; in revision 3, the query of the CONNECT is the auth payload, and
/// may have the parameter of `auth.queryParam` too.
fn credentials<'a>(session: &'a Session, auth: Option<&Data>) -> Option<Cow<'a, Credentials>> {
    let first = session.credentials.as_deref().map(Cow::Borrowed);
    if session.outbox.revision() == Revision::V4 {
        return first;
    }
    let name = session.gateway().config.auth.query_param.as_deref();
    match name.and_then(|name| auth?.get(name)) {
        Some(Data::String(token)) => {
            let mut credentials = first.unwrap_or_default().into_owned();
            credentials.query = Some(token.to_string());
            Some(Cow::Owned(credentials))
        }
        _ => first,
    }
}

/// Whether the session may ask for a namespace now.
fn may_present_token(session: &Session) -> Result<(), Refusal> {
    if session.clients.may_present_token() {
        return Ok(());
    }
    let gateway = session.gateway();
    gateway.metrics.connects_refused.inc();
    let refusal = Refusal::new(Code::RateLimited, "too many namespaces at once");
    gateway.refused(Rejected::Events, session.log_subject(), &refusal.message);
    Err(refusal)
}

/// A permit for a CONNECT to wait, whose auth payload may be large.
fn may_wait(session: &Session, auth: Option<&Value>) -> Result<Option<BodyPermit>, Refusal> {
    let bytes = auth.map_or(0, |auth| if let Value::Str(json, _) = auth { json.len() } else { 0 });
    let permit = session.gateway().limits.event(session.clients.origin(), bytes);
    permit.map_err(|limit| {
        session.gateway().metrics.connects_refused.inc();
        session.gateway().refused(limit.reason, session.log_subject(), &limit.explanation);
        Refusal::new(Code::RateLimited, limit.explanation)
    })
}

fn auth_payload(session: &Session, auth: Option<&Value>) -> Result<Option<Data>, Refusal> {
    let Some(Value::Str(json, _)) = auth else { return Ok(None) };
    packet::decode_value(json).map(Some).map_err(|error| {
        session.gateway().refused(Rejected::BadPacket, session.log_subject(), &error);
        session.outbox.close(Disconnected::TransportError, Ending::Finish);
        Refusal::new(Code::BadRequest, "the auth payload is not valid JSON")
    })
}

fn record_refusal(session: &Session, namespace: &str, refusal: &Refusal) {
    let gateway = session.gateway();
    gateway.metrics.connects_refused.inc();
    let reason = match refusal.code {
        Code::Draining => Rejected::Draining,
        Code::Forbidden => Rejected::Forbidden,
        _ => Rejected::Unauthenticated,
    };
    let subject = session.log_subject().in_namespace(namespace);
    gateway.refused(reason, subject, &refusal.message);
}

fn record_refusal_of_backend(session: &Session, namespace: &str, refusal: &ConnectRefusal) {
    let gateway = session.gateway();
    gateway.metrics.connects_refused.inc();
    let subject = session.log_subject().in_namespace(namespace);
    let error: &dyn Display = match refusal {
        ConnectRefusal::Server(refusal) => refusal,
        ConnectRefusal::Backend(_) => &"the backend refused the client",
    };
    gateway.refused(Rejected::Backend, subject, error);
}

/// Ends a client, and its session where the connection is the reason.
struct OnDisconnect {
    client: Arc<Client>,
    /// Of a namespace of a pattern: dropped when the engine has forgotten the client.
    lease: LeaseSlot,
}

impl DisconnectHandler<LocalAdapter, ()> for OnDisconnect {
    fn call_with_defer(
        &self,
        socket: Arc<Socket>,
        reason: DisconnectReason,
        defer: fn(Arc<Socket>),
    ) {
        let outbox = self.client.outbox();
        let ended = match reason {
            DisconnectReason::ServerNSDisconnect => Disconnected::Dismissed,
            _ => Disconnected::Client,
        };
        let clients = self.client.session_clients.upgrade();
        match reason {
            DisconnectReason::ClientNSDisconnect | DisconnectReason::ServerNSDisconnect => {}
            DisconnectReason::HeartbeatTimeout => {
                outbox.close(Disconnected::PingTimeout, Ending::Finish);
            }
            DisconnectReason::PacketParsingError => {
                events::record_bad_packet(&self.client, &"malformed packet");
                outbox.close(Disconnected::TransportError, Ending::Finish);
            }
            // The connection is fine, but the engine cannot read its bytes as messages.
            DisconnectReason::TransportError
                if clients.as_ref().is_some_and(|clients| clients.engine_failed()) =>
            {
                events::record_bad_packet(
                    &self.client,
                    &"the bytes received are not Engine.IO messages",
                );
                outbox.close(Disconnected::TransportError, Ending::Finish);
            }
            DisconnectReason::TransportClose => outbox.close(Disconnected::Client, Ending::Finish),
            _ => outbox.close(Disconnected::TransportError, Ending::Finish),
        }
        if let Some(clients) = clients {
            clients.remove(&self.client, ended);
        }
        client_log::disconnected(&self.client.member, &reason);
        defer(socket);
        drop(self.lease.take());
    }
}
