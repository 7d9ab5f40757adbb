//! The internal listener, which serves publishers, probes and scrapes over HTTP/1.1.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tracing::debug;

use crate::throttle::{Throttle, limited};

/// How long a client may take to send a request's head, and how long an idle connection is kept.
pub const HEADER_READ: Duration = Duration::from_secs(10);

/// The most connections that are open at once. Further ones wait in the kernel's backlog.
pub const MAX_CONNECTIONS: usize = 4096;

/// The pause after an error of `accept`, such as a lack of file descriptors, which would otherwise
/// recur at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` until `shutdown` is cancelled; then accepts no new connections, gives requests in
/// progress `grace` to complete, and closes the remaining connections. Handlers can extract the
/// peer's address as `ConnectInfo<SocketAddr>`.
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
        let (router, shutdown, abort) = (router.clone(), shutdown.clone(), abort.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = connection(stream, peer, router, shutdown, HEADER_READ) => {}
                () = abort.cancelled() => {}
            }
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
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, permit))
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    shutdown: CancellationToken,
    header_read: Duration,
) {
    // Without this, answers on a kept-alive connection may wait for the peer's delayed ACK.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, client = %peer, "a connection to the internal listener failed");
        return;
    }
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        let router = router.clone();
        async move { Ok::<_, Infallible>(router.oneshot(request).await.unwrap_or_else(|e| match e {})) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_read)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        debug!(%error, client = %peer, "a connection to the internal listener failed");
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;

    use super::*;

    async fn bound() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[tokio::test]
    async fn a_connection_whose_head_takes_too_long_is_closed() {
        let (listener, address) = bound().await;
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: ").await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let soon = Duration::from_millis(50);
        connection(stream, peer, Router::new(), CancellationToken::new(), soon).await;
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty());
    }

    #[tokio::test]
    async fn handlers_know_the_peer_and_idle_connections_do_not_delay_shutdown() {
        let (listener, address) = bound().await;
        let router = Router::new().route(
            "/",
            get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }),
        );
        let stop = CancellationToken::new();
        let grace = Duration::from_secs(3600);
        let server = tokio::spawn(serve(listener, router, stop.clone(), grace));
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut start = [0; 15];
        client.read_exact(&mut start).await.unwrap();
        assert_eq!(&start, b"HTTP/1.1 200 OK");
        stop.cancel();
        server.await.unwrap();
        let mut rest = String::new();
        client.read_to_string(&mut rest).await.unwrap();
        assert!(rest.ends_with(&client.local_addr().unwrap().to_string()), "{rest}");
    }

    #[tokio::test]
    async fn connections_are_closed_when_the_grace_period_ends() {
        let (listener, address) = bound().await;
        let asked = Arc::new(Notify::new());
        let asking = asked.clone();
        let never = move || async move {
            asking.notify_one();
            std::future::pending::<()>().await;
        };
        let router = Router::new().route("/", get(never));
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(listener, router, stop.clone(), Duration::ZERO));
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        asked.notified().await;
        stop.cancel();
        server.await.unwrap();
        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
    }
}
