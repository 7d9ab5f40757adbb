//! The clients' listener: accepts connections and assigns them to the shards in turn.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::engine::Engine;
use super::http::{EngineRequest, PendingUpgrade, serve};
use super::log_throttles::LogSubject;
use super::state::Gateway;
use crate::telemetry::metrics::Rejected;
use rookery_ops::throttle::limited;

/// How long to wait before accepting again after the process ran out of file descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// The size in bytes of a connection's read buffer while it speaks HTTP.
const HTTP_BUFFER: usize = 16 << 10;

/// Accepts connections until `stop` and assigns them to the shards in turn.
pub async fn accept(listener: TcpListener, engine: Engine, stop: CancellationToken) {
    let gateway = engine.gateway().clone();
    let mut next = 0;
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted.and_then(|(socket, peer)| Ok((socket.into_std()?, peer))) {
            Ok((socket, peer)) => {
                let (engine, shard, stop) = (engine.clone(), next, stop.clone());
                gateway.shards[shard].spawn(async move {
                    if let Ok(socket) = TcpStream::from_std(socket) {
                        serve_connection(socket, peer, shard, engine, stop).await;
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
) {
    let gateway = engine.gateway();
    // Without TCP_NODELAY a poll's response may wait for the client's delayed acknowledgement.
    let _ = socket.set_nodelay(true);
    // A client that does not read its responses loses its connection.
    let stall = gateway.limits.config().write_stall.0;
    let _ = socket2::SockRef::from(&socket).set_tcp_user_timeout(Some(stall));
    let served = AtomicBool::new(false);
    let pending = PendingUpgrade::default();
    let service = service_fn(|request| {
        served.store(true, Ordering::Relaxed);
        let request = EngineRequest { engine: engine.clone(), shard, peer, http: request };
        let response = started(serve(request, &pending));
        async move { Ok::<_, Infallible>(response.await) }
    });
    let header_read = gateway.limits.config().header_read.0;
    // A broken connection is dropped at the end of this block, without which its upgrade would
    // never fail.
    let ended = {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(header_read)
            .max_buf_size(HTTP_BUFFER)
            .serve_connection(TokioIo::new(socket), service)
            .with_upgrades();
        tokio::pin!(connection);
        tokio::select! {
            ended = &mut connection => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    if let Err(error) = ended {
        log_error(gateway, peer, &error, served.load(Ordering::Relaxed));
    }
    let upgrade = pending.lock().take();
    if let Some(upgrade) = upgrade {
        upgrade.complete().await;
    }
}

/// Takes the first step of an answer at once. hyper drops an answer without polling it where the
/// connection ended right after its request, and a session must learn that its poll was cancelled.
fn started<T>(answer: impl Future<Output = T>) -> impl Future<Output = T> {
    let mut answer = Box::pin(answer);
    let ready = answer.as_mut().now_or_never();
    async move {
        match ready {
            Some(ready) => ready,
            None => answer.await,
        }
    }
}

/// `served`: the connection has carried a request. One that was kept alive and then idle ends by
/// the same timeout as one that never sent its headers, but is not refused.
fn log_error(gateway: &Gateway, peer: SocketAddr, error: &hyper::Error, served: bool) {
    let client = peer.ip().to_canonical();
    if error.is_timeout() && !served {
        gateway.refused(Rejected::HeaderTimeout, LogSubject::address(client), error);
    } else {
        tracing::debug!(%client, %error, "connection failed");
    }
}
