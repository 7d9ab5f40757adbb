//! Middleware of every route: authorization, then metrics around it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use tracing::debug;

use super::body;
use super::state::Shared;
use crate::telemetry::metrics::Rejected;
use rookery_ops::throttle::limited;

/// Refuses the requests under `/api` that [`Access`](super::access::Access) does not allow, and
/// adds the [`Caller`](super::access::Caller) to the others.
pub(super) async fn authorize(
    State(shared): State<Arc<Shared>>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    if path != "/api" && !path.starts_with("/api/") {
        return next.run(request).await;
    }
    match shared.api.access.authorize(request.headers()) {
        Ok(caller) => {
            let publisher = caller.0.as_deref();
            debug!(publisher, method = %request.method(), path, "received an API request");
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => {
            let client = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|c| c.0);
            limited!(
                shared.refusals,
                warn,
                client = client.map(tracing::field::display),
                status = problem.status().as_u16(),
                path,
                "refused an API request without a valid key"
            );
            let (head, body) = request.into_parts();
            body::discard(&head.headers, body).await;
            problem.into_response()
        }
    }
}

/// Times and counts every request.
pub(super) async fn observe(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let start = Instant::now();
    let response = next.run(request).await;
    let metrics = &shared.api.metrics;
    metrics.api_seconds.observe(start.elapsed().as_secs_f64());
    match response.status() {
        StatusCode::UNAUTHORIZED => metrics.rejected(Rejected::Unauthenticated),
        StatusCode::FORBIDDEN => metrics.rejected(Rejected::Forbidden),
        StatusCode::PAYLOAD_TOO_LARGE => metrics.rejected(Rejected::Payload),
        StatusCode::TOO_MANY_REQUESTS => metrics.api_overloaded.inc(),
        _ => {}
    }
    debug!(status = response.status().as_u16(), "answered an API request");
    response
}
