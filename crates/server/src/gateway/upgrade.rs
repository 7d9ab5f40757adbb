//! WebSockets: the HTTP upgrade, and Engine.IO's own upgrade from polling.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::handshake::{credentials, open_packet};
use super::http::{Answer, Call, error};
use super::limits::Slot;
use super::query::EngineError;
use super::session::Session;
use rookery_config::Transport;
use rookery_protocol::Revision;
use rookery_protocol::encoded::Encoded;
use rookery_protocol::frames::{Opcode, parse_client_frame, put_frame};

/// How long a client may take from the 101 to its `5`.
const PROBE: Duration = Duration::from_secs(10);

/// The longest frame of a probe; those of the protocol have at most six characters.
const PROBE_FRAME: usize = 125;

/// Opens a session that starts with a WebSocket.
pub fn fresh(mut call: Call, revision: Revision, slot: Slot) -> Answer {
    let Some(answer) = switching(call.request.headers()) else {
        return error(EngineError::BadRequest);
    };
    let upgrade = hyper::upgrade::on(&mut call.request);
    let seat = &call.gateway.shards[call.shard];
    let tracker = seat.around.tracker.clone();
    let start = async move {
        let Some((socket, read)) = upgraded(upgrade).await else { return };
        let gateway = &call.gateway;
        let credentials = credentials(gateway, call.request.headers(), call.request.uri());
        let session =
            Session::open(gateway, call.shard, revision, Transport::Websocket, credentials, slot);
        let open = open_packet(gateway, &session, Transport::Websocket);
        session.outbox.send(Arc::new(Encoded::engine(open.as_bytes())));
        session.outbox.attach(socket, &read);
        call.engine.start(&session);
    };
    tracker.spawn(start);
    answer
}

/// Tries a WebSocket beside the polling of a session.
pub fn existing(mut call: Call, session: Arc<Session>) -> Answer {
    if !session.outbox.is_polling() || session.upgrading.swap(true, Ordering::AcqRel) {
        return error(EngineError::BadRequest);
    }
    let Some(answer) = switching(call.request.headers()) else {
        session.upgrading.store(false, Ordering::Release);
        return error(EngineError::BadRequest);
    };
    let upgrade = hyper::upgrade::on(&mut call.request);
    let here = call.gateway.shards[call.shard].around.tracker.clone();
    here.spawn(async move {
        let moved = match upgraded(upgrade).await {
            Some((socket, read)) => socket.into_std().ok().map(|socket| (socket, read)),
            None => None,
        };
        let seat = &call.gateway.shards[session.shard];
        let probed = session.clone();
        let there = async move {
            if let Some((socket, read)) = moved
                && let Ok(socket) = TcpStream::from_std(socket)
            {
                // A try that fails has changed nothing: polling goes on.
                let client = probed.address;
                match tokio::time::timeout(PROBE, probe(&probed, socket, read)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::debug!(%client, %error, "an upgrade broke off"),
                    Err(_) => tracing::debug!(%client, "an upgrade was not completed in time"),
                }
            }
            probed.outbox.probe(false);
            probed.upgrading.store(false, Ordering::Release);
        };
        seat.around.tracker.spawn_on(there, &seat.runtime);
    });
    answer
}

/// The probe (Engine.IO protocol, "Upgrade"): `2probe`, `3probe`, `5`.
async fn probe(session: &Session, mut socket: TcpStream, mut read: Vec<u8>) -> io::Result<()> {
    expect(&mut socket, &mut read, b"2probe").await?;
    if !session.outbox.probe(true) {
        return Err(io::ErrorKind::NotConnected.into());
    }
    let mut answer = Vec::new();
    put_frame(&mut answer, Opcode::Text, b"3probe");
    socket.write_all(&answer).await?;
    expect(&mut socket, &mut read, b"5").await?;
    if session.outbox.attach(socket, &read) {
        session.upgraded();
    }
    Ok(())
}

/// Reads the next message, which must be `text`; what follows it stays in `read`.
async fn expect(socket: &mut TcpStream, read: &mut Vec<u8>, text: &[u8]) -> io::Result<()> {
    let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    loop {
        let parsed = parse_client_frame(read, PROBE_FRAME);
        let Some((frame, used)) = parsed.map_err(|e| invalid(&e.to_string()))? else {
            if socket.read_buf(read).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            continue;
        };
        read.drain(..used);
        match frame.opcode {
            Opcode::Text if frame.fin && frame.payload == text => return Ok(()),
            Opcode::Ping => {
                let mut pong = Vec::new();
                put_frame(&mut pong, Opcode::Pong, &frame.payload);
                socket.write_all(&pong).await?;
            }
            Opcode::Pong => {}
            _ => return Err(invalid("not the expected packet of a probe")),
        }
    }
}

/// The socket under an upgraded connection, and what was read of it already.
async fn upgraded(upgrade: OnUpgrade) -> Option<(TcpStream, Vec<u8>)> {
    let upgraded = upgrade.await.ok()?;
    let parts = upgraded.downcast::<TokioIo<TcpStream>>().ok()?;
    Some((parts.io.into_inner(), parts.read_buf.to_vec()))
}

/// The 101 for a WebSocket handshake (RFC 6455, section 4.2.2); `None` where it is none.
fn switching(headers: &HeaderMap) -> Option<Answer> {
    let version = headers.get(header::SEC_WEBSOCKET_VERSION)?;
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?;
    if version != "13" {
        return None;
    }
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok()?;
    let mut answer = Response::new(Full::<Bytes>::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answer_headers = answer.headers_mut();
    answer_headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    answer_headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    answer_headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Some(answer)
}
