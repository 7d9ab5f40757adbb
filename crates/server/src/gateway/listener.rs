//! The clients' listener: accepts connections and assigns them to the shards in turn.

mod connection;

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::engine::Engine;
use super::forwarded::Origin;
use super::http::expired_cookies;
use super::limits::ConnectionPermit;
use super::log_throttles::LogSubject;
use super::state::Gateway;
use connection::ClientConnection;
use rookery_config::Config;
use rookery_ops::throttle::limited;

/// How long to wait before accepting again after the process ran out of file descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// The answer to a connection that a limit refuses, without the cookies that it expires.
const CONNECTION_REFUSED: &str = "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\
    retry-after: 5\r\ncontent-length: 0\r\n";

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
                        let connection = ClientConnection { engine, shard, peer, stop };
                        connection.serve(socket, permit).await;
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
    let _ = socket.write(connection_refused(&gateway.config).as_bytes());
    None
}

/// The answer to a connection that a limit refuses. Where there is a sticky cookie the peer is an
/// ingress, and the client's next request may reach another instance.
fn connection_refused(config: &Config) -> String {
    let mut answer = CONNECTION_REFUSED.to_owned();
    for cookie in expired_cookies(config) {
        answer.push_str(&format!("set-cookie: {cookie}\r\n"));
    }
    answer.push_str("\r\n");
    answer
}

fn is_client_error(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
