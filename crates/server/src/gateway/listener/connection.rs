//! One [`ClientConnection`] of the clients' listener.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};

use futures_util::FutureExt as _;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::gateway::drain_state::DrainPhase;
use crate::gateway::engine::Engine;
use crate::gateway::http::{EngineRequest, EngineResponse, PendingUpgrade, serve};
use crate::gateway::limits::ConnectionPermit;
use crate::gateway::log_throttles::LogSubject;
use crate::telemetry::metrics::Rejected;
use rookery_ops::keep_alive::{self, Activity, ActivityStream, Ended, KeepAliveHeader, Timeouts};

/// The size in bytes of a connection's read buffer while it speaks HTTP.
const HTTP_BUFFER: usize = 16 << 10;

/// A connection of the clients' listener.
pub struct ClientConnection {
    /// The engine that runs the sessions.
    pub engine: Engine,
    /// The number of the shard that serves the connection.
    pub shard: usize,
    /// The address of the connection's other end, which may be a proxy.
    pub peer: SocketAddr,
    /// Cancelled when the connection ends after the request in progress.
    pub stop: CancellationToken,
}

impl ClientConnection {
    /// Serves the client until it leaves or becomes a WebSocket, which its session goes on with.
    /// `permit` is for as long as it speaks HTTP.
    pub async fn serve(self, socket: TcpStream, permit: ConnectionPermit) {
        let timeouts = self.configure(&socket);
        let activity = Activity::new(Instant::now());
        let pending = PendingUpgrade::default();
        // A broken connection is dropped at the end of this block, without which its upgrade would
        // never fail.
        let ended = {
            let service = service_fn(|request| self.answer(request, &activity, &pending, timeouts));
            let stream = TokioIo::new(ActivityStream::new(socket, activity.clone()));
            let connection = http1::Builder::new()
                .header_read_timeout(None)
                .max_buf_size(HTTP_BUFFER)
                .serve_connection(stream, service)
                .with_upgrades();
            let mut connection = pin!(connection);
            let end = |connection: Pin<&mut _>| {
                http1::UpgradeableConnection::graceful_shutdown(connection);
            };
            keep_alive::run(connection.as_mut(), end, &activity, timeouts, &self.stop).await
        };
        self.record_end(ended);
        drop(permit);
        let upgrade = pending.lock().take();
        if let Some(upgrade) = upgrade {
            upgrade.complete().await;
        }
    }

    fn configure(&self, socket: &TcpStream) -> Timeouts {
        let limits = self.engine.gateway().limits.config();
        // Without TCP_NODELAY a poll's response may wait for the client's delayed acknowledgement.
        let _ = socket.set_nodelay(true);
        // A client that does not read its responses loses its connection.
        let stall = limits.write_stall.0;
        let _ = socket2::SockRef::from(socket).set_tcp_user_timeout(Some(stall));
        Timeouts { head: limits.header_read.0, idle: limits.keep_alive.0 }
    }

    fn answer<'a>(
        &'a self,
        request: Request<Incoming>,
        activity: &Activity,
        pending: &'a PendingUpgrade,
        timeouts: Timeouts,
    ) -> impl Future<Output = Result<EngineResponse, Infallible>> + use<'a> {
        let in_progress = activity.request();
        let header = KeepAliveHeader::of(request.version(), request.headers());
        let Self { engine, shard, peer, .. } = self;
        let engine = engine.clone();
        let request = EngineRequest { engine, shard: *shard, peer: *peer, http: request };
        // hyper drops the future without polling it where the connection ended after the request.
        // Its first step is taken here, so that a session learns that its poll was cancelled.
        let mut answer = Box::pin(serve(request, pending));
        let ready = answer.as_mut().now_or_never();
        async move {
            let mut response = match ready {
                Some(response) => response,
                None => answer.await,
            };
            let status = response.status();
            header.add(status, response.headers_mut(), timeouts.idle, self.is_ending());
            drop(in_progress);
            Ok(response)
        }
    }

    /// Whether the client's next request is to use another connection.
    fn is_ending(&self) -> bool {
        let phase = self.engine.gateway().drain.phase();
        self.stop.is_cancelled() || phase != DrainPhase::Serving
    }

    fn record_end(&self, ended: Ended<hyper::Result<()>>) {
        let client = self.peer.ip();
        let refused = |reason, problem: &str| {
            self.engine.gateway().refused(reason, LogSubject::address(client), &problem);
        };
        match ended {
            Ended::HeadTimeout => refused(
                Rejected::HeaderTimeout,
                "the head of a request did not arrive within limits.headerRead",
            ),
            Ended::Closed(Err(error)) if error.is_parse_too_large() => {
                refused(Rejected::Payload, "the head of a request is too large");
            }
            Ended::Closed(Err(error)) if error.is_parse() => {
                refused(Rejected::BadRequest, "what arrived is no HTTP request");
            }
            Ended::Closed(Err(error)) => tracing::debug!(%client, %error, "connection failed"),
            Ended::Closed(Ok(())) | Ended::Unused => {}
        }
    }
}
