//! The internal listener: HTTP/1.1 for publishers, probes and scrapes.

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
use tracing::{debug, warn};

/// How long a request's head may take, and how long an idle connection is kept.
pub const HEADER_READ: Duration = Duration::from_secs(10);

/// Connections at once. Beyond it, connections wait in the kernel's backlog.
pub const MAX_CONNECTIONS: usize = 4096;

/// How long `accept` rests after an error such as a lack of file descriptors, which would
/// otherwise come again at once.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Answers requests with `router` until `shutdown` is cancelled; then takes no new connection,
/// lets the requests that are being answered end within `grace`, and closes what is left.
/// Handlers find the peer's address as `ConnectInfo<SocketAddr>`.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: CancellationToken,
    grace: Duration,
) {
    let tasks = TaskTracker::new();
    let abort = CancellationToken::new();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let (stream, peer, place) = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            next = accept(&listener, &places) => match next {
                Ok(next) => next,
                Err(error) => {
                    warn!(%error, "cannot accept connections on the internal listener");
                    tokio::time::sleep(ACCEPT_REST).await;
                    continue;
                }
            },
        };
        let (router, shutdown, abort) = (router.clone(), shutdown.clone(), abort.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = connection(stream, peer, router, shutdown) => {}
                () = abort.cancelled() => {}
            }
            drop(place);
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
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place =
        places.clone().acquire_owned().await.expect("this semaphore is never closed: nobody asks");
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, place))
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    shutdown: CancellationToken,
) {
    // Without this, answers on a kept-alive connection may wait for the peer's delayed ACK.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, %peer, "a connection of the internal listener broke off");
        return;
    }
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        let router = router.clone();
        async move { Ok::<_, Infallible>(router.oneshot(request).await.unwrap_or_else(|e| match e {})) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ)
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
        debug!(%error, %peer, "a connection of the internal listener ended");
    }
}
