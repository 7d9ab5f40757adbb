//! The HTTP API for publishers, on the internal listener.
//!
//! [`router`] is the whole of it; what it needs of the rest of the process it takes as traits in
//! [`ApiState`]. Its own description is served at `/api/openapi.json`, made from the handlers.

pub mod auth;
mod batch;
mod body;
pub mod explain;
pub mod idempotency;
mod input;
mod latency;
mod members;
pub mod openapi;
mod payload;
pub mod problem;
pub mod publish;
mod rooms;
pub mod status;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use http::StatusCode;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::broker::{ClusterQueries, Publisher};
use crate::telemetry::metrics::{Metrics, Rejected};
use auth::Access;
use body::BodyBudget;
use explain::Explain;
use idempotency::IdempotencyStore;
use problem::Problem;
use rookery_ops::throttle::Throttle;

/// Memory for the bodies of all requests that are being answered, in KiB: 16 batches of the
/// largest size. What does not fit is answered with 429.
const BODY_BUDGET: u32 = 256 << 10;

/// What the HTTP API needs of the rest of the process. Cloning is shallow.
#[derive(Clone)]
pub struct ApiState {
    /// Takes the publications.
    pub publisher: Arc<dyn Publisher>,
    /// Asks the members of every instance.
    pub cluster: Arc<dyn ClusterQueries>,
    /// Decides what `explain` tells.
    pub policy: Arc<dyn Explain>,
    /// Remembers the answers to publications with an id.
    pub idempotency: Arc<dyn IdempotencyStore>,
    /// Who is let in.
    pub access: Access,
    /// The namespaces of the configuration.
    pub namespaces: Vec<Arc<str>>,
    /// The claim that names the user, for `explain`.
    pub user_claim: Arc<str>,
    /// Knows what this instance is doing.
    pub status: Arc<dyn status::InstanceStatus>,
    /// `socketio.maxPayload` in bytes: the largest packet that a publication may become.
    pub max_payload: usize,
    /// Where requests are counted and timed.
    pub metrics: Arc<Metrics>,
    /// Owns the publications that must be finished although their request was broken off.
    pub tasks: TaskTracker,
}

/// The routes under `/api`, and a 404 in the API's form for everything that no route has.
pub fn router(state: ApiState) -> Router {
    limited(state, BODY_BUDGET)
}

fn limited(api: ApiState, body_budget: u32) -> Router {
    let bodies = BodyBudget::new(body_budget);
    let throttle = || Throttle::new(&api.metrics.log_lines_suppressed);
    let (refusals, moves) = (throttle(), throttle());
    let shared = Arc::new(Shared { api, bodies, refusals, moves });
    openapi::routes()
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(shared.clone(), auth::check))
        .layer(from_fn_with_state(shared.clone(), observe))
        .with_state(shared)
}

/// The state of the handlers.
pub(crate) struct Shared {
    api: ApiState,
    bodies: BodyBudget,
    refusals: Throttle,
    /// Of the lines about joins and leaves that publishers order.
    moves: Throttle,
}

/// The middleware that times and counts every request.
async fn observe(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
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

async fn not_found(request: Request) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        format!("Nothing is at {}: /api/openapi.json lists the routes", request.uri().path()),
    )
}

async fn method_not_allowed(request: Request) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{} is not possible here: see the header Allow", request.method()),
    )
}

#[cfg(test)]
mod tests;
