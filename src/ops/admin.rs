//! The routes for machines that look after an instance: `/metrics`, `/livez`, `/readyz`.
//! They need no API key.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use prometheus::{Encoder, TextEncoder};

use super::readiness::Readiness;

/// The routes, to be merged with the HTTP API's on the internal listener.
///
/// `/livez` is 200 as long as requests are answered at all; `/readyz` is 200, or 503 with a line
/// for each reason; `/metrics` is the Prometheus text format, version 0.0.4.
pub fn router(registry: prometheus::Registry, readiness: Readiness) -> Router {
    Router::new()
        .route("/metrics", get(scrape))
        .with_state(registry)
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(readiness)
}

async fn scrape(State(registry): State<prometheus::Registry>) -> Response {
    let mut text = Vec::new();
    match TextEncoder::new().encode(&registry.gather(), &mut text) {
        Ok(()) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn ready(State(readiness): State<Readiness>) -> Response {
    let reasons = readiness.reasons();
    if reasons.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n").into_response()
}
