//! The internal listener, which serves publishers, probes and scrapes over HTTP/1.1 and, with prior
//! knowledge, HTTP/2.

mod connection;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::keep_alive::Timeouts;
use crate::throttle::{Throttle, limited};
use connection::{Connection, StreamExecutor};

/// How long a client may take to send a request's head.
pub const HEADER_READ: Duration = Duration::from_secs(10);

/// How long a connection is kept between two requests. The pools of clients and proxies keep theirs
/// for up to 90 s (Go, Traefik) and must be the ones that close.
pub const KEEP_ALIVE: Duration = Duration::from_secs(120);

/// The most connections that are open at once. Further ones wait in the kernel's backlog.
pub const MAX_CONNECTIONS: usize = 4096;

/// The pause after an error of `accept`, such as a lack of file descriptors, which would otherwise
/// recur at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` until `shutdown` is cancelled; then accepts no new connections, gives requests in
/// progress `grace` to complete, and closes the remaining connections. Handlers can extract the
/// peer's address as `ConnectInfo<SocketAddr>`; an IPv4-mapped one is IPv4.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: CancellationToken,
    grace: Duration,
) {
    let tasks = TaskTracker::new();
    let abort = CancellationToken::new();
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let accept_errors = Throttle::default();
    loop {
        let (stream, peer, permit) = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            next = accept(&listener, &permits) => match next {
                Ok(next) => next,
                Err(error) => {
                    limited!(accept_errors, warn, %error, "cannot accept a connection on the internal listener");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let connection = Connection {
            peer,
            router: router.clone(),
            executor: StreamExecutor { tasks: tasks.clone(), abort: abort.clone() },
            shutdown: shutdown.clone(),
            timeouts: Timeouts { head: HEADER_READ, idle: KEEP_ALIVE },
        };
        let abort = abort.clone();
        tasks.spawn(async move {
            abort.run_until_cancelled(connection.serve(stream)).await;
            drop(permit);
        });
    }
    drop(listener);
    tasks.close();
    if tokio::time::timeout(grace, tasks.wait()).await.is_err() {
        abort.cancel();
        tasks.wait().await;
    }
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = permits.clone().acquire_owned().await.expect("the semaphore is never closed");
    let (stream, mut peer) = listener.accept().await?;
    peer.set_ip(peer.ip().to_canonical());
    Ok((stream, peer, permit))
}

#[cfg(test)]
mod tests;
