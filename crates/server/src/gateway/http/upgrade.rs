//! WebSockets: sessions that start with one, and the upgrade of sessions that started with polling.

mod probe;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::engine_error::EngineError;
use super::handshake::{new_session, open_packet};
use super::request::EngineRequest;
use super::response::EngineResponse;
use crate::connection::outbox::Accepted;
use crate::gateway::engine::Engine;
use crate::gateway::limits::Permit;
use crate::gateway::session::{NewSession, Session};
use crate::telemetry::metrics::Rejected;
use probe::{ProbeError, probe};
use rookery_config::Transport;
use rookery_ops::keep_alive::ActivityStream;
use rookery_protocol::Revision;
use rookery_protocol::encoded::Encoded;
use rookery_protocol::frames::Agreement;

/// Why a request for a WebSocket is refused.
const NO_HANDSHAKE: &str = "the WebSocket handshake is not valid";

/// The upgrade of a connection whose 101 is being written; set by the request that asks for it.
pub type PendingUpgrade = Mutex<Option<Upgrade>>;

/// What a connection is for once it is a WebSocket.
pub struct Upgrade {
    on: OnUpgrade,
    to: Target,
}

enum Target {
    /// A session that starts with it.
    New(Engine, NewSession),
    /// A session that started with polling.
    Polling(Arc<Session>),
}

impl Upgrade {
    /// Hands the socket to its session. To be called on the connection's shard, after the HTTP
    /// connection is dropped, so that it waits for nothing: the socket is there, or it is broken.
    pub async fn complete(self) {
        let socket = upgraded(self.on).await;
        match self.to {
            Target::New(engine, new) => {
                let Some((socket, read)) = socket else { return };
                let session = engine.sessions().open(new);
                let open = open_packet(&session, Transport::Websocket);
                session.outbox.send(Arc::new(Encoded::engine(open.as_bytes())));
                session.outbox.attach(socket, &read);
                engine.start(&session);
            }
            Target::Polling(session) => move_session(session, socket),
        }
    }
}

/// Opens a session that starts with a WebSocket.
pub fn open_websocket(
    mut request: EngineRequest,
    revision: Revision,
    base64: bool,
    permit: Permit,
    pending: &PendingUpgrade,
) -> EngineResponse {
    let agreement = agreement(&request);
    let Some(response) = switching_protocols(request.headers(), agreement) else {
        return request.refuse(EngineError::BadRequest, NO_HANDSHAKE);
    };
    let on = hyper::upgrade::on(&mut request.http);
    let accepted = Accepted { binary: !base64, compressed: agreement.is_some() };
    let new = new_session(&request, revision, accepted, Transport::Websocket, permit);
    *pending.lock() = Some(Upgrade { on, to: Target::New(request.engine, new) });
    response
}

/// Tries to move a session from polling to a WebSocket. Polling goes on until that succeeds.
pub fn upgrade_session(
    mut request: EngineRequest,
    session: Arc<Session>,
    base64: bool,
    pending: &PendingUpgrade,
) -> EngineResponse {
    if !session.outbox.is_polling() || session.upgrading.swap(true, Ordering::AcqRel) {
        let problem = "a session that has upgraded, or is upgrading, asks for another upgrade";
        return request.refuse(EngineError::BadRequest, problem);
    }
    let agreement = agreement(&request);
    let Some(response) = switching_protocols(request.headers(), agreement) else {
        session.upgrading.store(false, Ordering::Release);
        return request.refuse(EngineError::BadRequest, NO_HANDSHAKE);
    };
    // The socket's own request says what it takes, as in Node's server.
    let accepted = Accepted { binary: !base64, compressed: agreement.is_some() };
    session.outbox.set_accepted(accepted);
    let on = hyper::upgrade::on(&mut request.http);
    *pending.lock() = Some(Upgrade { on, to: Target::Polling(session) });
    response
}

/// Goes on with the upgrade on the session's shard; another one may have accepted the connection.
fn move_session(session: Arc<Session>, socket: Option<(TcpStream, Vec<u8>)>) {
    let socket = socket.and_then(|(socket, read)| Some((socket.into_std().ok()?, read)));
    let gateway = session.gateway().clone();
    session.outbox.set_upgrading(true);
    gateway.shards[session.shard].spawn(async move {
        let mut failed = None;
        if let Some((socket, read)) = socket
            && let Ok(socket) = TcpStream::from_std(socket)
        {
            failed = try_upgrade(&session, socket, read).await;
        }
        session.outbox.set_upgrading(false);
        session.upgrading.store(false, Ordering::Release);
        drop(session);
        if let Some((error, socket)) = failed {
            error.close(socket).await;
        }
    });
}

/// Waits until the client has upgraded. An upgrade that fails is counted and logged, and the socket
/// given back, to be closed.
async fn try_upgrade(
    session: &Session,
    mut socket: TcpStream,
    mut read: Vec<u8>,
) -> Option<(ProbeError, TcpStream)> {
    if let Err(error) = probe(&session.outbox, &mut socket, &mut read).await {
        if !matches!(error, ProbeError::Ended) {
            session.gateway().refused(Rejected::Upgrade, session.log_subject(), &error);
        }
        return Some((error, socket));
    }
    if session.outbox.attach(socket, &read) {
        session.upgraded();
    }
    None
}

/// The socket of an upgraded connection, and what was already read from it; `None` if the
/// connection broke.
async fn upgraded(upgrade: OnUpgrade) -> Option<(TcpStream, Vec<u8>)> {
    let upgraded = upgrade.await.ok()?;
    let parts = upgraded.downcast::<TokioIo<ActivityStream<TcpStream>>>().ok()?;
    Some((parts.io.into_inner().into_inner(), parts.read_buf.to_vec()))
}

/// What is agreed to of the extensions that a request offers. A header that is no text offers nothing.
fn agreement(request: &EngineRequest) -> Option<Agreement> {
    request.gateway().config.socketio.per_message_deflate?;
    let offers = request.headers().get_all(header::SEC_WEBSOCKET_EXTENSIONS);
    Agreement::of_offers(offers.iter().filter_map(|value| value.to_str().ok()))
}

/// The 101 for a WebSocket handshake (RFC 6455, section 4.2.2); `None` where the request is not a
/// valid one.
fn switching_protocols(
    headers: &HeaderMap,
    agreement: Option<Agreement>,
) -> Option<EngineResponse> {
    let version = headers.get(header::SEC_WEBSOCKET_VERSION)?;
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?;
    if version != "13" {
        return None;
    }
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok()?;
    let mut response = Response::new(Full::<Bytes>::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let response_headers = response.headers_mut();
    response_headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    response_headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    response_headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(agreement) = agreement {
        let agreed = HeaderValue::from_static(agreement.header());
        response_headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, agreed);
    }
    Some(response)
}
