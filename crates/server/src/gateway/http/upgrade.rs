//! WebSockets: sessions that start with one, and the upgrade of sessions that started with polling.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::MissedTickBehavior;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::engine_error::EngineError;
use super::handshake::{new_session, open_packet};
use super::request::EngineRequest;
use super::response::{EngineResponse, error};
use crate::connection::outbox::{Accepted, Outbox};
use crate::gateway::engine::Engine;
use crate::gateway::limits::Permit;
use crate::gateway::session::{NewSession, Session};
use rookery_config::Transport;
use rookery_ops::keep_alive::ActivityStream;
use rookery_protocol::Revision;
use rookery_protocol::encoded::Encoded;
use rookery_protocol::frames::{Agreement, ClientMessages, Message, Opcode, put_frame};

/// How long a client may take from the WebSocket's start to its `5`.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a waiting GET is answered from the client's `2probe` to its `5`, as in Node. The client
/// sends `5` once no GET of its own waits.
const RELEASE_INTERVAL: Duration = Duration::from_millis(100);

/// The longest message of a probe in bytes; those of the protocol have at most six.
const MAX_PROBE: usize = 125;

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
        return error(EngineError::BadRequest);
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
        return error(EngineError::BadRequest);
    }
    let agreement = agreement(&request);
    let Some(response) = switching_protocols(request.headers(), agreement) else {
        session.upgrading.store(false, Ordering::Release);
        return error(EngineError::BadRequest);
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
        if let Some((socket, read)) = socket
            && let Ok(socket) = TcpStream::from_std(socket)
        {
            try_upgrade(&session, socket, read).await;
        }
        session.outbox.set_upgrading(false);
        session.upgrading.store(false, Ordering::Release);
    });
}

async fn try_upgrade(session: &Session, socket: TcpStream, read: Vec<u8>) {
    let client = session.address;
    match tokio::time::timeout(PROBE_TIMEOUT, probe(session, socket, read)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%client, %error, "upgrade to WebSocket failed"),
        Err(_) => tracing::debug!(%client, "upgrade to WebSocket timed out"),
    }
}

/// The probe (Engine.IO protocol, "Upgrade"): `2probe`, `3probe`, `5`. Until `5` the client may not
/// hear this socket, so what is for it goes on by polling.
async fn probe(session: &Session, mut socket: TcpStream, mut read: Vec<u8>) -> io::Result<()> {
    let probed = AtomicBool::new(false);
    let mut messages = ClientMessages::new(MAX_PROBE);
    messages.set_deflate(session.outbox.is_compressed());
    tokio::select! {
        upgraded = exchange(&mut socket, messages, &mut read, &probed) => upgraded?,
        () = release_polls(&session.outbox, &probed) => {
            return Err(io::ErrorKind::NotConnected.into());
        }
    }
    if session.outbox.attach(socket, &read) {
        session.upgraded();
    }
    Ok(())
}

/// Once `probed` is set, answers GETs at an interval. Returns when the session has ended.
async fn release_polls(outbox: &Outbox, probed: &AtomicBool) {
    let mut interval = tokio::time::interval(RELEASE_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let polling = match probed.load(Ordering::Relaxed) {
            true => outbox.release_poll(),
            false => outbox.takes_posts(),
        };
        if !polling {
            return;
        }
    }
}

/// A packet of the client on a socket that is not its transport yet.
enum ProbePacket {
    /// `2probe`
    Probe,
    /// `5`
    Upgrade,
}

/// Answers probes until the client's `5`; the bytes that follow it stay in `read`. As in Node, a
/// client need not probe before (socket.io-client-csharp does not), and may probe again.
async fn exchange(
    socket: &mut TcpStream,
    mut messages: ClientMessages,
    read: &mut Vec<u8>,
    probed: &AtomicBool,
) -> io::Result<()> {
    while let ProbePacket::Probe = next_packet(socket, &mut messages, read).await? {
        let mut answer = Vec::new();
        put_frame(&mut answer, Opcode::Text, b"3probe");
        socket.write_all(&answer).await?;
        probed.store(true, Ordering::Relaxed);
    }
    Ok(())
}

/// Reads the next packet; the bytes that follow it stay in `read`.
///
/// # Errors
/// When it is another packet than those that an upgrade consists of.
async fn next_packet(
    socket: &mut TcpStream,
    messages: &mut ClientMessages,
    read: &mut Vec<u8>,
) -> io::Result<ProbePacket> {
    let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    loop {
        let mut rest = &mut read[..];
        let message = messages.next(&mut rest).map_err(|e| invalid(&e.to_string()))?;
        let unread = rest.len();
        let taken = match &message {
            Some(message) => {
                Taken::of(message).ok_or_else(|| invalid("unexpected packet in a probe"))?
            }
            None => Taken::Nothing,
        };
        read.drain(..read.len() - unread);
        match taken {
            Taken::Packet(packet) => return Ok(packet),
            Taken::Pong(pong) => socket.write_all(&pong).await?,
            Taken::Ignored => {}
            Taken::Nothing if socket.read_buf(read).await? == 0 => {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Taken::Nothing => {}
        }
    }
}

/// What a socket that is not its session's transport yet has sent.
enum Taken {
    /// A packet.
    Packet(ProbePacket),
    /// A ping, and the frame that answers it.
    Pong(Vec<u8>),
    /// A pong.
    Ignored,
    /// No whole message.
    Nothing,
}

impl Taken {
    /// `None`: an upgrade has no such message.
    fn of(message: &Message<'_>) -> Option<Self> {
        Some(match (message.opcode, &*message.payload) {
            (Opcode::Text, b"2probe") => Taken::Packet(ProbePacket::Probe),
            // Node looks at the type alone.
            (Opcode::Text, [b'5', ..]) => Taken::Packet(ProbePacket::Upgrade),
            (Opcode::Ping, payload) => {
                let mut pong = Vec::new();
                put_frame(&mut pong, Opcode::Pong, payload);
                Taken::Pong(pong)
            }
            (Opcode::Pong, _) => Taken::Ignored,
            _ => return None,
        })
    }
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
