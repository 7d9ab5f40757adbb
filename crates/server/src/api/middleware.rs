//! Around every route: authorization, metrics and the log.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::handler::Handler as _;
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode};
use tower::ServiceExt as _;
use tracing::debug;

use super::body;
use super::need::Need;
use super::problem::Problem;
use super::routes::publish;
use super::scopes;
use super::state::Shared;
use crate::telemetry::metrics::Rejected;
use rookery_ops::throttle::limited;

/// The routes, and what is checked and counted around them. Not layers of the routes: axum copies
/// each layer for each request.
pub(super) struct Guarded {
    pub(super) shared: Arc<Shared>,
    pub(super) routes: Router,
}

/// Answers a request, and times and counts it.
pub(super) async fn answer(State(api): State<Arc<Guarded>>, mut request: Request) -> Response {
    let start = Instant::now();
    let response = match authorize(&api.shared, &mut request) {
        // The route that is called most, without looking for it.
        Ok(()) if request.method() == Method::POST && request.uri().path() == "/api/publish" => {
            publish::publish.call(request, api.shared.clone()).await
        }
        Ok(()) => api.routes.clone().oneshot(request).await.unwrap_or_else(|never| match never {}),
        Err(problem) => refuse(request, problem).await,
    };
    let metrics = &api.shared.api.metrics;
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

/// Checks a request under `/api` against [`Access`](super::access::Access) and the scope of its
/// route, and adds the [`Caller`](super::access::Caller) to it.
fn authorize(shared: &Shared, request: &mut Request) -> Result<(), Problem> {
    let path = request.uri().path();
    if path != "/api" && !path.starts_with("/api/") {
        return Ok(());
    }
    let caller = match shared.api.access.authorize(request.headers()) {
        Ok(caller) => caller,
        Err(problem) => {
            log_refusal(shared, request, &problem);
            return Err(problem);
        }
    };
    debug!(publisher = caller.name(), method = %request.method(), path, "received an API request");
    if let Some(Some(scope)) = scopes::required(path) {
        shared.permit(&caller, Need::Scope(scope))?;
    }
    request.extensions_mut().insert(caller);
    Ok(())
}

fn log_refusal(shared: &Shared, request: &Request, problem: &Problem) {
    let client = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|c| c.0);
    limited!(
        shared.refusals,
        warn,
        client = client.map(tracing::field::display),
        status = problem.status().as_u16(),
        path = request.uri().path(),
        "refused an API request without a valid key"
    );
}

async fn refuse(request: Request, problem: Problem) -> Response {
    let (head, body) = request.into_parts();
    body::discard(&head.headers, body).await;
    problem.into_response()
}
