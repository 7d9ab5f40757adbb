//! The protocol engine: one socketioxide for all shards, and the handlers that it calls.

use std::fmt::Display;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use engineioxide::service::NotFoundService;
use http::Request;
use socketioxide::adapter::LocalAdapter;
use socketioxide::handler::{ConnectHandler, DisconnectHandler, MessageHandler};
use socketioxide::service::SocketIoService;
use socketioxide::socket::{DisconnectReason, Socket};
use socketioxide::{ParserConfig, SocketIo};
use socketioxide_core::Value;
use tower::Service;

use super::Gateway;
use super::client::{Client, Event};
use super::connect::{InTransit, count};
use super::lines::About;
use super::session::Session;
use crate::connection::outbox::Ending;
use crate::connection::stream::SessionStream;
use crate::telemetry::metrics::{Disconnected, Rejected};
use rookery_policy::{Code, Refusal};
use rookery_protocol::Revision;
use rookery_protocol::packet;

/// Attachments that one packet of a client may have.
const ATTACHMENTS: usize = 10;

/// Packets of the engine's own that may wait for its writer task: a session has few beside the
/// answers to its connects.
const BUFFER: usize = 128;

/// The parameter of the engine's requests that names the session. It is the last one.
const SESSION: &str = "session";

/// The size of the engine's read buffer, which every idle session keeps. The stream below reads
/// ahead, so that a small one costs no system calls.
const READ_BUFFER: usize = 64;

/// The protocol engine. Cloning is shallow.
#[derive(Clone)]
pub struct Engine {
    service: SocketIoService<NotFoundService, LocalAdapter>,
}

impl Engine {
    /// The engine of a gateway, with its namespaces.
    pub fn new(gateway: &Arc<Gateway>) -> Self {
        let config = &gateway.config.socketio;
        let max = config.max_payload.bytes();
        let parser = ParserConfig::common()
            .max_incoming_binaries(ATTACHMENTS)
            .max_incoming_binary_buf_size(max);
        let (service, io) = SocketIo::builder()
            .ping_interval(config.ping_interval.0)
            .ping_timeout(config.ping_timeout.0)
            .connect_timeout(config.connect_timeout.0)
            .max_buffer_size(BUFFER)
            .ws_read_buffer_size(READ_BUFFER)
            .ws_max_message_size(max)
            .ws_max_frame_size(max)
            .with_parser(parser)
            .build_svc();
        for namespace in &gateway.config.namespaces {
            let door = Door { gateway: gateway.clone(), namespace: namespace.as_str().into() };
            io.ns(namespace.clone(), door);
        }
        Engine { service }
    }

    /// Starts a session on the runtime of the caller, which must be its shard's.
    pub fn start(&self, session: &Arc<Session>) {
        let eio = match session.outbox.revision() {
            Revision::V4 => 4,
            Revision::V3 => 3,
        };
        let uri = format!("/?EIO={eio}&transport=websocket&{SESSION}={}", session.sid);
        let mut request = Request::new(());
        *request.uri_mut() = uri.parse().expect("ids have letters, digits, - and _ only");
        let max = session.gateway().config.socketio.max_payload.bytes();
        let stream = SessionStream::new(session.outbox.clone(), session.clone(), max);
        // The query above is one that the engine accepts, so its answer is always Ok.
        drop(self.service.clone().call((stream, request)));
    }
}

fn session_of(gateway: &Gateway, socket: &Socket) -> Option<Arc<Session>> {
    let query = socket.req_parts().uri.query()?;
    let (_, sid) = query.rsplit_once(['&', '='])?;
    gateway.sessions.get(sid)
}

/// The way into one namespace.
#[derive(Clone)]
struct Door {
    gateway: Arc<Gateway>,
    namespace: Arc<str>,
}

type Admission = Result<(), Box<dyn Display + Send>>;

impl ConnectHandler<LocalAdapter, ()> for Door {
    fn call(&self, socket: Arc<Socket>, _: Option<Value>) {
        let session = session_of(&self.gateway, &socket);
        let Some(client) = session.and_then(|s| s.client(&self.namespace)) else {
            return;
        };
        socket.on_fallback(Events { client: client.clone() });
        socket.on_disconnect(Gone { client });
    }

    fn call_middleware<'a>(
        &'a self,
        socket: Arc<Socket>,
        auth: &'a Option<Value>,
    ) -> Pin<Box<dyn Future<Output = Admission> + Send + 'a>> {
        Box::pin(async move {
            let Some(session) = session_of(&self.gateway, &socket) else {
                let refusal = Refusal::new(Code::Unauthenticated, "the session is gone");
                return Err(Box::new(InTransit(refusal)) as Box<dyn Display + Send>);
            };
            let gateway = session.gateway();
            if !session.may_connect() {
                gateway.metrics.connects_refused.inc();
                let refusal = Refusal::new(Code::RateLimited, "too many namespaces at once");
                gateway.refused(Rejected::Events, session.about(), &refusal.message);
                return Err(Box::new(InTransit(refusal)) as Box<dyn Display + Send>);
            }
            let auth = match auth {
                Some(Value::Str(json, _)) => match packet::decode_value(json) {
                    Ok(auth) => Some(auth),
                    Err(error) => {
                        gateway.refused(Rejected::BadPacket, session.about(), &error);
                        session.outbox.close(Disconnected::TransportError, Ending::Finish);
                        let refusal = Refusal::new(Code::BadRequest, "the auth payload is no JSON");
                        return Err(Box::new(InTransit(refusal)) as Box<dyn Display + Send>);
                    }
                },
                _ => None,
            };
            let admitted =
                gateway.authenticator.admit(auth.as_ref(), session.credentials.as_deref()).await;
            let admitted = admitted.map_err(|refusal| {
                count(gateway, &refusal, session.about().in_namespace(&self.namespace));
                Box::new(InTransit(refusal)) as Box<dyn Display + Send>
            })?;
            let namespace = self.namespace.clone();
            let client = Client::new(&session, namespace, admitted.subject, &socket);
            if session.accept(client.clone()) {
                client.set_expiry(admitted.expires);
            }
            Ok(())
        })
    }
}

/// Takes a client's events, in their order.
struct Events {
    client: Arc<Client>,
}

impl MessageHandler<LocalAdapter, ()> for Events {
    fn call(&self, _: Arc<Socket>, value: Value, ack: Option<i64>) {
        let Value::Str(array, attachments) = value else { return };
        let attachments: Option<Vec<Bytes>> = attachments.map(|a| a.into_iter().collect());
        match packet::decode_event(&array, attachments.as_deref()) {
            Ok((name, args)) => {
                let ack = ack.and_then(|id| u64::try_from(id).ok());
                self.client.receive(Event { name, args, ack });
            }
            Err(error) => {
                let gateway = self.client.gateway();
                gateway.refused(Rejected::BadPacket, About::member(&self.client), &error);
                self.client.outbox().close(Disconnected::TransportError, Ending::Finish);
            }
        }
    }
}

/// Hears of a client's end in one namespace.
struct Gone {
    client: Arc<Client>,
}

impl Gone {
    fn refused(&self, why: &dyn Display) {
        let gateway = self.client.gateway();
        gateway.refused(Rejected::BadPacket, About::member(&self.client), why);
    }
}

impl DisconnectHandler<LocalAdapter, ()> for Gone {
    fn call_with_defer(
        &self,
        socket: Arc<Socket>,
        reason: DisconnectReason,
        defer: fn(Arc<Socket>),
    ) {
        let outbox = self.client.outbox();
        match reason {
            DisconnectReason::ClientNSDisconnect | DisconnectReason::ServerNSDisconnect => {}
            DisconnectReason::HeartbeatTimeout => {
                outbox.close(Disconnected::PingTimeout, Ending::Finish);
            }
            DisconnectReason::PacketParsingError => {
                self.refused(&"a packet was not understood");
                outbox.close(Disconnected::TransportError, Ending::Finish);
            }
            // Not the connection's error but its bytes': no text, or no messages.
            DisconnectReason::TransportError
                if self.client.session.upgrade().is_some_and(|session| session.gave_up()) =>
            {
                self.refused(&"the bytes are no messages");
                outbox.close(Disconnected::TransportError, Ending::Finish);
            }
            DisconnectReason::TransportClose => outbox.close(Disconnected::Client, Ending::Finish),
            _ => outbox.close(Disconnected::TransportError, Ending::Finish),
        }
        if let Some(session) = self.client.session.upgrade() {
            session.leave(&self.client);
        }
        self.client.tell_of_end(&reason);
        defer(socket);
    }
}
