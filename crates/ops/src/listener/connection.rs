//! One [`Connection`] of the internal listener.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use tracing::debug;

use crate::keep_alive::{self, Activity, ActivityStream, Ended, KeepAliveHeader, Timeouts};

/// What an HTTP/2 client with prior knowledge sends first.
///
/// Source: RFC 9113, section 3.4.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The most requests in progress on an HTTP/2 connection; a client holds back further ones. RFC
/// 9113, section 6.5.2, recommends at least 100, and each costs a task.
const MAX_STREAMS: u32 = 100;

/// The bytes that an HTTP/2 client may send before a handler reads them, on a stream and on the
/// whole connection: enough for 100 MB/s at a round trip of a millisecond.
const STREAM_WINDOW: u32 = 128 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;

/// How long an HTTP/2 connection may be silent before the client is sent a ping, and how long the
/// client may take to answer it before the connection is closed.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PONG_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection of the internal listener.
pub(super) struct Connection {
    /// The address of the client.
    pub(super) peer: SocketAddr,
    /// Answers the requests.
    pub(super) router: Router,
    /// Runs the streams of HTTP/2.
    pub(super) executor: StreamExecutor,
    /// Cancelled when the connection ends after the requests in progress.
    pub(super) shutdown: CancellationToken,
    /// How long the client may take to send a request's head, and how long the connection may be
    /// without a request.
    pub(super) timeouts: Timeouts,
}

impl Connection {
    /// Serves the client until it leaves, is idle for too long, or the listener shuts down.
    pub(super) async fn serve(self, mut stream: TcpStream) {
        let (peer, accepted) = (self.peer, Instant::now());
        let start = async {
            // Without this, answers on a kept-alive connection may wait for the peer's delayed ACK.
            stream.set_nodelay(true)?;
            read_start(&mut stream).await
        };
        let start = tokio::select! {
            start = tokio::time::timeout(self.timeouts.head, start) => start,
            () = self.shutdown.cancelled() => return,
        };
        let result = match start {
            Ok(Ok(start)) => {
                let is_http2 = start == PREFACE;
                let (read, write) = stream.into_split();
                let stream = tokio::io::join(io::Cursor::new(start).chain(read), write);
                match is_http2 {
                    true => self.http2(stream).await,
                    false => self.http1(stream, Activity::new(accepted)).await,
                }
            }
            Ok(Err(error)) => Err(error.into()),
            Err(elapsed) => Err(elapsed.into()),
        };
        if let Err(error) = result {
            debug!(%error, client = %peer, "a connection to the internal listener failed");
        }
    }

    async fn http1(self, stream: impl Stream, activity: Activity) -> Result<(), ConnectionError> {
        let service = service_fn(|request: Request<Incoming>| {
            let in_progress = activity.request();
            let header = KeepAliveHeader::of(request.version(), request.headers());
            let answered = answer(self.router.clone(), self.peer, request);
            let (idle, shutdown) = (self.timeouts.idle, &self.shutdown);
            async move {
                let mut answer = answered.await?;
                let status = answer.status();
                header.add(status, answer.headers_mut(), idle, shutdown.is_cancelled());
                drop(in_progress);
                Ok::<_, Infallible>(answer)
            }
        });
        let stream = TokioIo::new(ActivityStream::new(stream, activity.clone()));
        let mut connection =
            pin!(http1::Builder::new().header_read_timeout(None).serve_connection(stream, service));
        let end = |connection: Pin<&mut _>| http1::Connection::graceful_shutdown(connection);
        match keep_alive::run(connection.as_mut(), end, &activity, self.timeouts, &self.shutdown)
            .await
        {
            Ended::Closed(result) => Ok(result?),
            Ended::HeadTimeout => Err("the head of a request did not arrive in time".into()),
            Ended::Unused => Ok(()),
        }
    }

    async fn http2(self, stream: impl Stream) -> Result<(), ConnectionError> {
        let requests = Arc::new(AtomicU64::new(0));
        let service = service_fn(|request| {
            requests.fetch_add(1, Ordering::Relaxed);
            // Counts the request as in progress until it is dropped.
            let in_progress = requests.clone();
            let answered = answer(self.router.clone(), self.peer, request);
            async move {
                let answer = answered.await;
                drop(in_progress);
                answer
            }
        });
        let connection = http2::Builder::new(self.executor)
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PONG_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        let end = async {
            tokio::select! {
                () = self.shutdown.cancelled() => {}
                () = idle(&requests, self.timeouts.idle) => {}
            }
        };
        run(connection, end).await
    }
}

/// Resolves when there was no request for `timeout`, or up to twice as long. `requests` counts
/// those that began, and is shared by those in progress.
async fn idle(requests: &Arc<AtomicU64>, timeout: Duration) {
    let mut seen = None;
    loop {
        let began = requests.load(Ordering::Relaxed);
        if seen == Some(began) && Arc::strong_count(requests) == 1 {
            return;
        }
        seen = Some(began);
        tokio::time::sleep(timeout).await;
    }
}

/// Why a connection failed.
type ConnectionError = Box<dyn std::error::Error + Send + Sync>;

/// Both directions of a connection.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for T {}

/// Reads as many bytes as tell HTTP/2 from HTTP/1.1: all of [`PREFACE`], or some that differ.
async fn read_start(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut start = Vec::with_capacity(PREFACE.len());
    while start.len() < PREFACE.len() && PREFACE.starts_with(&start) {
        let missing = (PREFACE.len() - start.len()) as u64;
        if (&mut *stream).take(missing).read_buf(&mut start).await? == 0 {
            break;
        }
    }
    Ok(start)
}

async fn answer(
    router: Router,
    peer: SocketAddr,
    mut request: Request<Incoming>,
) -> Result<Response, Infallible> {
    request.extensions_mut().insert(ConnectInfo(peer));
    router.oneshot(request).await
}

/// Runs an HTTP/2 connection until it ends; after `end`, it finishes the requests in progress.
async fn run<C>(connection: C, end: impl Future<Output = ()>) -> Result<(), ConnectionError>
where
    C: GracefulConnection,
    ConnectionError: From<C::Error>,
{
    tokio::pin!(connection);
    tokio::select! {
        result = connection.as_mut() => return Ok(result?),
        () = end => connection.as_mut().graceful_shutdown(),
    }
    Ok(connection.await?)
}

/// Runs the streams of HTTP/2 connections as tasks of the listener. Cloning is shallow.
#[derive(Clone)]
pub(super) struct StreamExecutor {
    /// The tasks that the listener waits for.
    pub(super) tasks: TaskTracker,
    /// Cancelled when the streams in progress must end.
    pub(super) abort: CancellationToken,
}

impl<F> hyper::rt::Executor<F> for StreamExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let abort = self.abort.clone();
        self.tasks.spawn(async move {
            abort.run_until_cancelled(stream).await;
        });
    }
}
