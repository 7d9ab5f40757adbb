//! `GET /api/status`: the state of the instance that answers.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use crate::api::instance_status::Status;
use crate::api::state::Shared;

/// Get the state of this instance
///
/// For people and their tools; `/metrics` has more, for Prometheus.
#[utoipa::path(
    get, path = "/api/status", tag = "instance",
    responses((status = 200, description = "The instance that answers", body = Status)),
)]
pub(in crate::api) async fn status(State(shared): State<Arc<Shared>>) -> Json<Status> {
    Json((shared.api.status)())
}
