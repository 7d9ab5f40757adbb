//! The API's listener: HTTP/2 and HTTP/1.1 over TLS.

mod places;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;
use tracing::{debug, warn};

use self::places::Places;
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

/// Why a connection was closed that did nothing wrong.
const EVICTED: &str = "newer connections needed its place";

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
    let places = Places::new();
    while let Some(next) = closing.run_until_cancelled(listener.accept()).await {
        let (stream, peer) = match next {
            Ok(next) => next,
            Err(error) => {
                warn!(%error, "cannot accept connections of the metrics API");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
                continue;
            }
        };
        let Some(tls) = tls.borrow().clone() else { continue };
        let connection = Connection {
            peer,
            router: router.clone(),
            places: places.clone(),
            executor: TrackedExecutor(tasks.clone()),
            closing: closing.clone(),
        };
        let abort = abort.clone();
        tasks.spawn(async move {
            let run = connection.serve(stream, tls);
            if let Some(Err(error)) = abort.run_until_cancelled(run).await {
                debug!(%error, client = %peer, "a connection of the metrics API ended");
            }
        });
    }
    drop(listener);
    tasks.close();
    if tokio::time::timeout(GRACE_PERIOD, tasks.wait()).await.is_err() {
        abort.cancel();
        tasks.wait().await;
    }
}

/// One connection of the listener.
struct Connection {
    peer: SocketAddr,
    router: Router,
    places: Places,
    executor: TrackedExecutor,
    /// Cancelled when the listener closes.
    closing: CancellationToken,
}

impl Connection {
    /// Serves the client until it leaves, or the connection must end.
    async fn serve(self, stream: TcpStream, tls: Tls) -> anyhow::Result<()> {
        stream.set_nodelay(true)?;
        let place = self.places.enter(self.peer.ip());
        let superseded = tls.superseded.clone();
        let handshake = async {
            let handshake = TlsAcceptor::from(tls.config.clone()).accept(stream);
            tokio::time::timeout(HEAD_TIMEOUT, handshake).await?
        };
        let stream = place.evicted.run_until_cancelled(handshake).await.context(EVICTED)??;
        let client = client(&stream);
        let is_known = tls.admits(client.0.as_deref());
        debug!(peer = %self.peer, ?client, is_known, "a connection of the metrics API");
        let ended = async {
            tokio::select! {
                () = self.closing.cancelled() => {}
                () = tokio::time::sleep(HEAD_TIMEOUT), if !is_known => {}
                () = superseded.cancelled() => {}
            }
        };
        let answering = answer(stream, client, self.router, self.executor, ended);
        if is_known {
            let _known = self.places.known().context("too many connections of API servers")?;
            drop(place);
            return answering.await;
        }
        place.evicted.run_until_cancelled(answering).await.context(EVICTED)?
    }
}

/// Answers the requests of a connection until it ends; after `ended`, those in progress.
async fn answer(
    stream: TlsStream<TcpStream>,
    client: ClientCommonName,
    router: Router,
    executor: TrackedExecutor,
    ended: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(client.clone());
        let router = router.clone();
        async move { Ok::<_, Infallible>(router.oneshot(request).await.unwrap_or_else(|e| match e {})) }
    });
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
