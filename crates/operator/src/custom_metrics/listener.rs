//! The API's listener: HTTP/2 and HTTP/1.1 over TLS.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;
use tracing::{debug, warn};

use super::front_proxy::common_name;
use super::routes::ClientCommonName;
use super::tls::Tls;

/// How long a TLS handshake or a request's head may take, how long an idle HTTP/1.1 connection is
/// kept, and any connection whose client has no certificate: such clients only look whether
/// somebody answers, and must not take the places of the API servers.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an HTTP/2 connection may be silent before it is asked for a sign of life, and how
/// long that may take.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PONG_TIMEOUT: Duration = Duration::from_secs(10);

/// Requests at once on an HTTP/2 connection.
const MAX_STREAMS: u32 = 100;

/// Longest head of a request, in bytes.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// Connections at once: each API server has a few. Beyond it, connections wait in the kernel's
/// backlog.
const MAX_CONNECTIONS: usize = 256;

/// How long `accept` rests after an error such as a lack of file descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// How long requests are still taken when it is time to stop: the API server needs a moment to
/// see that this replica is no longer behind the Service.
pub const SHUTDOWN_DELAY: Duration = Duration::from_secs(2);

/// Longest time that requests which are being answered at the end have.
const GRACE_PERIOD: Duration = Duration::from_secs(5);

/// Serves `router` until `shutdown_delay` after `stop` is cancelled, with the newest TLS settings;
/// connections before the first settings are closed. A connection whose client was verified against
/// replaced authorities is closed after its current requests.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    tls: watch::Receiver<Option<Tls>>,
    stop: CancellationToken,
    shutdown_delay: Duration,
) {
    let tasks = TaskTracker::new();
    let closing = CancellationToken::new();
    let close = closing.clone();
    tasks.spawn(async move {
        stop.cancelled().await;
        tokio::time::sleep(shutdown_delay).await;
        close.cancel();
    });
    let abort = CancellationToken::new();
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Some(next) = closing.run_until_cancelled(accept(&listener, &permits)).await {
        let (stream, peer, permit) = match next {
            Ok(next) => next,
            Err(error) => {
                warn!(%error, "cannot accept connections of the metrics API");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
                continue;
            }
        };
        let Some(tls) = tls.borrow().clone() else { continue };
        let (router, closing, abort) = (router.clone(), closing.clone(), abort.clone());
        let executor = TrackedExecutor(tasks.clone());
        tasks.spawn(async move {
            let run = connection(stream, peer, router, tls, executor, closing);
            if let Some(Err(error)) = abort.run_until_cancelled(run).await {
                debug!(%error, client = %peer, "a connection of the metrics API ended");
            }
            drop(permit);
        });
    }
    drop(listener);
    tasks.close();
    if tokio::time::timeout(GRACE_PERIOD, tasks.wait()).await.is_err() {
        abort.cancel();
        tasks.wait().await;
    }
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit =
        permits.clone().acquire_owned().await.expect("this semaphore is never closed: nobody asks");
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, permit))
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    tls: Tls,
    executor: TrackedExecutor,
    closing: CancellationToken,
) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let handshake = TlsAcceptor::from(tls.config).accept(stream);
    let stream = tokio::time::timeout(HEAD_TIMEOUT, handshake).await??;
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let client = client(&stream);
    debug!(%peer, ?client, is_http2, "a connection of the metrics API");
    let is_unknown = client.0.is_none();
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(client.clone());
        let router = router.clone();
        async move { Ok::<_, Infallible>(router.oneshot(request).await.unwrap_or_else(|e| match e {})) }
    });
    let ended = async move {
        tokio::select! {
            () = closing.cancelled() => {}
            () = tokio::time::sleep(HEAD_TIMEOUT), if is_unknown => {}
            () = tls.superseded.cancelled() => {}
        }
    };
    tokio::pin!(ended);
    if is_http2 {
        let connection = http2(executor).serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        tokio::select! {
            result = connection.as_mut() => return Ok(result?),
            () = ended => connection.as_mut().graceful_shutdown(),
        }
        return finish_within_grace(connection).await;
    }
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        result = connection.as_mut() => return Ok(result?),
        () = ended => connection.as_mut().graceful_shutdown(),
    }
    finish_within_grace(connection).await
}

fn http2(executor: TrackedExecutor) -> http2::Builder<TrackedExecutor> {
    let mut builder = http2::Builder::new(executor);
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PONG_TIMEOUT)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD_BYTES as u32);
    builder
}

/// Finishes a connection that is shutting down, within [`GRACE_PERIOD`].
async fn finish_within_grace<E>(
    connection: impl Future<Output = Result<(), E>>,
) -> anyhow::Result<()>
where
    anyhow::Error: From<E>,
{
    match tokio::time::timeout(GRACE_PERIOD, connection).await {
        Ok(ended) => Ok(ended?),
        Err(_) => Ok(()),
    }
}

/// The client certificate's common name, from the handshake.
fn client(stream: &TlsStream<TcpStream>) -> ClientCommonName {
    let certificates = stream.get_ref().1.peer_certificates();
    let first = certificates.and_then(|certificates| certificates.first());
    ClientCommonName(first.and_then(common_name).map(Into::into))
}

/// Runs HTTP/2 streams as tasks of the listener's tracker.
#[derive(Clone)]
struct TrackedExecutor(TaskTracker);

impl<F> hyper::rt::Executor<F> for TrackedExecutor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}

#[cfg(test)]
mod tests;
