//! An [`EngineRequest`]: an HTTP request of a client, and where it came in.

use std::net::SocketAddr;
use std::sync::Arc;

use http::Request;
use http::header::{COOKIE, HeaderMap, HeaderValue};
use hyper::body::Incoming;

use super::engine_error::EngineError;
use super::response::{EngineResponse, error};
use crate::gateway::engine::Engine;
use crate::gateway::forwarded::{Origin, Source};
use crate::gateway::log_throttles::LogSubject;
use crate::gateway::state::Gateway;
use crate::telemetry::metrics::Rejected;
use rookery_ops::throttle::limited;

/// The header in which proxies report the addresses of clients.
const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// An HTTP request of a client, and where it came in.
pub struct EngineRequest {
    /// The protocol engine, which runs the sessions.
    pub engine: Engine,
    /// The number of the shard that accepted the connection.
    pub shard: usize,
    /// The address of the connection's other end, which may be a proxy.
    pub peer: SocketAddr,
    /// The request itself.
    pub http: Request<Incoming>,
}

impl EngineRequest {
    /// The gateway that the request reached.
    pub fn gateway(&self) -> &Arc<Gateway> {
        self.engine.gateway()
    }

    /// The headers of the request.
    pub fn headers(&self) -> &HeaderMap {
        self.http.headers()
    }

    /// The client's address, behind trusted proxies too, and how it was found.
    pub fn origin(&self) -> Origin {
        let headers = self.headers().get_all(X_FORWARDED_FOR).iter().map(HeaderValue::as_bytes);
        Origin::of(self.peer.ip(), headers, &self.gateway().config.trusted_proxies)
    }

    /// Whether the request carries the ingress's sticky cookie.
    pub fn has_sticky_cookie(&self) -> bool {
        let Some(name) = &self.gateway().config.drain.sticky_cookie else { return false };
        let cookies = self.headers().get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = cookies.flat_map(|cookies| cookies.split(';'));
        pairs.any(|pair| pair.trim().split_once('=').is_some_and(|(key, _)| key == name))
    }

    /// Refuses the request, which is no valid one of Engine.IO, for this reason.
    pub fn refuse(&self, kind: EngineError, problem: &'static str) -> EngineResponse {
        let reason = match kind {
            EngineError::UnknownSid => Rejected::UnknownSession,
            EngineError::Forbidden => Rejected::Forbidden,
            _ => Rejected::BadRequest,
        };
        let subject = LogSubject::address(self.origin().address);
        self.gateway().refused(reason, subject, &problem);
        error(kind)
    }

    /// Logs and counts that a trusted proxy reported an address that cannot be read, if it did.
    pub fn record_unreadable(&self, origin: Origin) {
        let gateway = self.gateway();
        if origin.source == Source::Unreadable {
            gateway.metrics.forwarded_unreadable.inc();
            limited!(
                gateway.log_throttles.forwarded_unreadable,
                warn,
                client = %origin.address,
                "cannot read the X-Forwarded-For of a trusted proxy"
            );
        }
    }
}
