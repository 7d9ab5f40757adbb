//! The protocol engine: one socketioxide for all shards.

mod handlers;

use std::sync::Arc;

use engineioxide::service::NotFoundService;
use http::Request;
use socketioxide::adapter::LocalAdapter;
use socketioxide::service::SocketIoService;
use socketioxide::{ParserConfig, SocketIo};
use tower::Service;

use super::namespaces::NamespaceHooks;
use super::session::{Session, Sessions};
use super::state::Gateway;
use crate::connection::stream::SessionStream;
use handlers::{NotOffered, SESSION_PARAMETER, connect_handler};
use rookery_policy::Namespace;
use rookery_protocol::Revision;

/// The most attachments that one packet of a client may have.
const MAX_ATTACHMENTS: usize = 10;

/// Packets of the engine's own that may wait for its writer task: a session has few beside the
/// replies to its connects.
const PACKET_BUFFER: usize = 128;

/// The size in bytes of the engine's read buffer, which every idle session keeps. The stream below
/// reads ahead, so that a small one costs no system calls.
const READ_BUFFER: usize = 64;

/// The protocol engine. Cloning is shallow.
#[derive(Clone)]
pub struct Engine {
    service: SocketIoService<NotFoundService, LocalAdapter>,
    sessions: Arc<Sessions>,
}

impl Engine {
    /// The engine that runs these sessions, with the configured namespaces.
    pub fn new(sessions: &Arc<Sessions>) -> Self {
        let config = &sessions.gateway().config;
        let max = config.socketio.max_payload.bytes();
        let parser = ParserConfig::common()
            .max_incoming_binaries(MAX_ATTACHMENTS)
            .max_incoming_binary_buf_size(max);
        let (service, io) = SocketIo::builder()
            .ping_interval(config.socketio.ping_interval.0)
            .ping_timeout(config.socketio.ping_timeout.0)
            .connect_timeout(config.socketio.connect_timeout.0)
            .max_buffer_size(PACKET_BUFFER)
            .ws_read_buffer_size(READ_BUFFER)
            .ws_max_message_size(max)
            .ws_max_frame_size(max)
            .with_parser(parser)
            .build_svc();
        let namespaces = &sessions.gateway().namespaces;
        let served = namespaces.served();
        for namespace in served.fixed().iter().filter_map(|name| served.get(name)) {
            open(&io, sessions, &namespace);
        }
        // In revision 3 the engine connects every client to the root by itself, and ends the session
        // where there is none.
        if !served.is_fixed("/") {
            io.ns("/", NotOffered);
        }
        namespaces.set_hooks(namespace_hooks(io, sessions));
        Engine { service, sessions: sessions.clone() }
    }

    /// The sessions that the engine runs.
    pub fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }

    /// The gateway that the sessions belong to.
    pub fn gateway(&self) -> &Arc<Gateway> {
        self.sessions.gateway()
    }

    /// Starts a session on the caller's runtime, which must be that of the session's shard.
    pub fn start(&self, session: &Arc<Session>) {
        let eio = match session.outbox.revision() {
            Revision::V4 => 4,
            Revision::V3 => 3,
        };
        let uri =
            format!("/?EIO={eio}&transport=websocket&{SESSION_PARAMETER}={}", session.ids.secret);
        let mut request = Request::new(());
        *request.uri_mut() = uri.parse().expect("ids have letters, digits, - and _ only");
        let max = self.gateway().config.socketio.max_payload.bytes();
        let stream = SessionStream::new(session.outbox.clone(), session.clone(), max);
        // The engine accepts the query above, so its response is always Ok.
        drop(self.service.clone().call((stream, request)));
    }
}

/// Accepts clients in a namespace.
fn open(io: &SocketIo, sessions: &Arc<Sessions>, namespace: &Namespace) {
    let handler = connect_handler(sessions.clone(), namespace.clone());
    io.ns(namespace.name().to_string(), handler);
}

/// Opens and closes namespaces of patterns. The sessions hold the hooks, so these hold them weakly.
fn namespace_hooks(io: SocketIo, sessions: &Arc<Sessions>) -> NamespaceHooks {
    let (opening, sessions) = (io.clone(), Arc::downgrade(sessions));
    NamespaceHooks {
        open: Box::new(move |namespace| {
            if let Some(sessions) = sessions.upgrade() {
                open(&opening, &sessions, namespace);
            }
        }),
        close: Box::new(move |namespace| io.delete_ns(&**namespace.name())),
    }
}
