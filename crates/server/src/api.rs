//! The HTTP API for publishers, on the internal listener.
//!
//! [`router`] builds it from an [`ApiState`]. `routes` has the handlers;
//! [`openapi`] lists them and derives their description, served at `/api/openapi.json`.
//! Imports go one way: `problem`, `answer`, `need`, `scopes`, `random` and `uninterrupted`, then `body`, `input`,
//! `query`, `access`, `host`, `cluster`, `idempotency` and `instance_status`, then `state`, then `routes`, then `openapi`.

pub mod access;
pub mod answer;
mod body;
pub mod cluster;
pub mod host;
pub mod idempotency;
mod input;
pub mod instance_status;
mod middleware;
mod need;
pub mod openapi;
pub mod problem;
mod query;
mod random;
mod routes;
mod scopes;
mod state;
mod uninterrupted;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use http::StatusCode;

use body::BodyBudget;
use middleware::Guarded;
use problem::Problem;
use state::Shared;

pub use state::ApiState;

/// Memory for the bodies of all requests in progress, in KiB: 16 batches of the largest size. A
/// request that does not fit is answered with 429.
const BODY_BUDGET: u32 = 256 << 10;

/// The routes under `/api`, and a 404 problem document for every other path.
pub fn router(state: ApiState) -> Router {
    router_with_budget(state, BODY_BUDGET)
}

fn router_with_budget(api: ApiState, body_budget: u32) -> Router {
    let description = openapi::document().to_json();
    let description = description.expect("the description has only text and numbers");
    let shared = Shared::new(api, BodyBudget::new(body_budget), description.into());
    let shared = Arc::new(shared);
    let routes = openapi::routes()
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(shared.clone());
    Router::new().fallback(middleware::answer).with_state(Arc::new(Guarded { shared, routes }))
}

async fn not_found(request: Request) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        format!("There is no route {}: see /api/openapi.json for the routes", request.uri().path()),
    )
}

async fn method_not_allowed(request: Request) -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{} is not allowed here: see the header Allow", request.method()),
    )
}

#[cfg(test)]
mod tests;
