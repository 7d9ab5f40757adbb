//! The routes `/metrics`, `/livez` and `/readyz`, which need no API key.

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use percent_encoding::percent_decode_str;
use prometheus::proto::MetricFamily;
use prometheus::{Encoder, TextEncoder};

use crate::readiness::Readiness;

/// The routes, to be merged with those of the HTTP API on the internal listener.
///
/// `/livez` answers 200 as long as the instance answers at all; `/readyz` answers 200, or 503 with
/// a line for each reason; notes follow in both. `/metrics` answers in the Prometheus text format,
/// version 0.0.4, with all metric families or, with one or more `?name[]=FAMILY`, with those alone.
///
/// `gather` returns the families with the given names, or all if no name is given.
pub fn router(
    gather: impl Fn(&[String]) -> Vec<MetricFamily> + Clone + Send + Sync + 'static,
    readiness: Readiness,
) -> Router {
    let scrape = move |RawQuery(query): RawQuery| async move {
        encode(&gather(&names(query.as_deref().unwrap_or_default())))
    };
    Router::new()
        .route("/metrics", get(scrape))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(readiness)
}

fn encode(families: &[MetricFamily]) -> Response {
    let mut text = Vec::new();
    match TextEncoder::new().encode(families, &mut text) {
        Ok(()) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// The values of the query's `name[]`, whose brackets may be percent-encoded.
fn names(query: &str) -> Vec<String> {
    let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| decoded(key) == "name[]").map(|(_, value)| decoded(value)).collect()
}

async fn ready(State(readiness): State<Readiness>) -> Response {
    let (mut lines, notes) = (readiness.reasons(), readiness.notes());
    let status = match lines.is_empty() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    if lines.is_empty() {
        lines.push("ready".to_owned());
    }
    lines.extend(notes);
    (status, lines.join("\n") + "\n").into_response()
}
