//! The clients' listener: accepts connections and assigns them to the shards in turn.

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::drain_state::DrainPhase;
use super::engine::Engine;
use super::forwarded::Origin;
use super::http::{EngineRequest, PendingUpgrade, serve};
use super::limits::ConnectionPermit;
use super::log_throttles::LogSubject;
use super::state::Gateway;
use crate::telemetry::metrics::Rejected;
use rookery_ops::keep_alive::{self, Activity, ActivityStream, Ended, KeepAliveHeader, Timeouts};
use rookery_ops::throttle::limited;

/// How long to wait before accepting again after the process ran out of file descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// The answer to a connection that a limit refuses.
const CONNECTION_REFUSED: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\
    retry-after: 5\r\ncontent-length: 0\r\n\r\n";

/// The size in bytes of a connection's read buffer while it speaks HTTP.
const HTTP_BUFFER: usize = 16 << 10;

/// Accepts connections until `stop` and assigns them to the shards in turn.
pub async fn accept(listener: TcpListener, engine: Engine, stop: CancellationToken) {
    let gateway = engine.gateway().clone();
    let mut next = 0;
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted.and_then(|(socket, peer)| Ok((socket.into_std()?, peer))) {
            Ok((socket, mut peer)) => {
                peer.set_ip(peer.ip().to_canonical());
                let Some(permit) = admit(&gateway, &socket, peer) else { continue };
                let (engine, shard, stop) = (engine.clone(), next, stop.clone());
                gateway.shards[shard].spawn(async move {
                    if let Ok(socket) = TcpStream::from_std(socket) {
                        serve_connection(socket, peer, shard, engine, stop, permit).await;
                    }
                });
                next = (next + 1) % gateway.shards.len();
            }
            Err(error) => {
                let throttle = &gateway.log_throttles.accept_errors;
                limited!(throttle, warn, %error, "cannot accept a connection");
                if !is_client_error(&error) {
                    stop.run_until_cancelled(tokio::time::sleep(ACCEPT_BACKOFF)).await;
                }
            }
        }
    }
}

/// A permit for a connection; without one, it is told so as far as its buffer takes it, and closed.
fn admit(
    gateway: &Gateway,
    mut socket: &std::net::TcpStream,
    peer: SocketAddr,
) -> Option<ConnectionPermit> {
    let origin = Origin::of(peer.ip(), std::iter::empty(), &gateway.config.trusted_proxies);
    let limit = match gateway.limits.acquire_connection(origin) {
        Ok(permit) => return Some(permit),
        Err(limit) => limit,
    };
    gateway.refused(limit.reason, LogSubject::address(peer.ip()), &limit.explanation);
    // Best effort: the client may be gone already.
    let _ = socket.write(CONNECTION_REFUSED);
    None
}

fn is_client_error(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn serve_connection(
    socket: TcpStream,
    peer: SocketAddr,
    shard: usize,
    engine: Engine,
    stop: CancellationToken,
    permit: ConnectionPermit,
) {
    let gateway = engine.gateway();
    // Without TCP_NODELAY a poll's response may wait for the client's delayed acknowledgement.
    let _ = socket.set_nodelay(true);
    let limits = gateway.limits.config();
    // A client that does not read its responses loses its connection.
    let stall = limits.write_stall.0;
    let timeouts = Timeouts { head: limits.header_read.0, idle: limits.keep_alive.0 };
    drop(limits);
    let _ = socket2::SockRef::from(&socket).set_tcp_user_timeout(Some(stall));
    let activity = Activity::new(Instant::now());
    let pending = PendingUpgrade::default();
    let service = service_fn(|request: Request<Incoming>| {
        let in_progress = activity.request();
        let header = KeepAliveHeader::of(request.version(), request.headers());
        let request = EngineRequest { engine: engine.clone(), shard, peer, http: request };
        let (pending, stop) = (&pending, &stop);
        async move {
            let mut response = serve(request, pending).await;
            let is_ending = stop.is_cancelled() || gateway.drain.phase() != DrainPhase::Serving;
            header.add(response.status(), response.headers_mut(), timeouts.idle, is_ending);
            drop(in_progress);
            Ok::<_, Infallible>(response)
        }
    });
    // A broken connection is dropped at the end of this block, without which its upgrade would
    // never fail.
    let ended = {
        let stream = TokioIo::new(ActivityStream::new(socket, activity.clone()));
        let mut connection = pin!(
            http1::Builder::new()
                .header_read_timeout(None)
                .max_buf_size(HTTP_BUFFER)
                .serve_connection(stream, service)
                .with_upgrades()
        );
        let end =
            |connection: Pin<&mut _>| http1::UpgradeableConnection::graceful_shutdown(connection);
        keep_alive::run(connection.as_mut(), end, &activity, timeouts, &stop).await
    };
    record_end(gateway, peer, ended);
    drop(permit);
    let upgrade = pending.lock().take();
    if let Some(upgrade) = upgrade {
        upgrade.complete().await;
    }
}

fn record_end(gateway: &Gateway, peer: SocketAddr, ended: Ended<hyper::Result<()>>) {
    let client = peer.ip();
    match ended {
        Ended::HeadTimeout => gateway.refused(
            Rejected::HeaderTimeout,
            LogSubject::address(client),
            &"the head of a request did not arrive within limits.headerRead",
        ),
        Ended::Closed(Err(error)) => tracing::debug!(%client, %error, "connection failed"),
        Ended::Closed(Ok(())) | Ended::Unused => {}
    }
}
