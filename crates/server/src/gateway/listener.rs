//! The clients' listener: one socket, whose connections are dealt to the shards.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::Gateway;
use super::engine::Engine;
use super::http::{Call, serve};
use super::lines::About;
use crate::telemetry::metrics::Rejected;
use rookery_ops::throttle::limited;

/// How long to wait after the process ran out of files, before connections are accepted again.
const BREATH: Duration = Duration::from_millis(50);

/// The size of a connection's read buffer while it speaks HTTP.
const HTTP_BUFFER: usize = 16 << 10;

/// Accepts connections until `stop`, and deals them to the shards in turn.
pub async fn accept(
    listener: TcpListener,
    gateway: Arc<Gateway>,
    engine: Engine,
    stop: CancellationToken,
) {
    let shards = gateway.shards.len();
    let mut next = 0;
    loop {
        let accepted = match stop.run_until_cancelled(listener.accept()).await {
            None => return,
            Some(accepted) => accepted,
        };
        match accepted.and_then(|(socket, peer)| Ok((socket.into_std()?, peer))) {
            Ok((socket, peer)) => {
                let seat = &gateway.shards[next];
                let (gateway, engine) = (gateway.clone(), engine.clone());
                let (shard, stop) = (next, stop.clone());
                let connection = async move {
                    if let Ok(socket) = TcpStream::from_std(socket) {
                        serve_connection(socket, peer, shard, gateway, engine, stop).await;
                    }
                };
                seat.around.tracker.spawn_on(connection, &seat.runtime);
                next = (next + 1) % shards;
            }
            Err(error) => {
                limited!(gateway.lines.accept, warn, %error, "cannot accept a connection");
                if !is_the_client_s(&error) {
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
    }
}

fn is_the_client_s(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn serve_connection(
    socket: TcpStream,
    peer: SocketAddr,
    shard: usize,
    gateway: Arc<Gateway>,
    engine: Engine,
    stop: CancellationToken,
) {
    // Without it a poll's answer may wait for the client's delayed acknowledgement.
    let _ = socket.set_nodelay(true);
    // What does not read its answers does not keep its connection.
    let stall = gateway.limits.config().write_stall.0;
    let _ = socket2::SockRef::from(&socket).set_tcp_user_timeout(Some(stall));
    let served = AtomicBool::new(false);
    let service = service_fn(|request| {
        served.store(true, Ordering::Relaxed);
        let (gateway, engine) = (gateway.clone(), engine.clone());
        let call = Call { gateway, engine, shard, peer, request };
        async move { Ok::<_, Infallible>(serve(call).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(gateway.limits.config().header_read.0)
        .max_buf_size(HTTP_BUFFER)
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        let client = peer.ip().to_canonical();
        // A connection that was kept alive and then idle ends by the same timeout.
        if error.is_timeout() && !served.load(Ordering::Relaxed) {
            gateway.refused(Rejected::HeaderTimeout, About::address(client), &error);
        } else {
            tracing::debug!(%client, %error, "a connection broke off");
        }
    }
}
