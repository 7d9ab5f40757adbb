//! `POST /api/explain`: whether a client may join or publish, and why.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::api::access::Caller;
use crate::api::body::{JsonBody, RequestBody};
use crate::api::input;
use crate::api::need::Need;
use crate::api::problem::Problem;
use crate::api::query::NamespaceQuery;
use crate::api::state::Shared;
use rookery_policy::{Decision, Permission, Subject};

/// A decision of the room rules.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct Explanation {
    /// Whether the action is allowed.
    allowed: bool,
    /// The pattern of the rule that decided; null if no rule matched.
    #[schema(value_type = Option<String>)]
    rule: Option<Arc<str>>,
    /// The reason, in words.
    why: String,
}

/// A client, given by exactly one of `claims` and `user`, and what it would do.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(in crate::api) struct ExplainRequest {
    /// The claims of the client's token; an empty object is an anonymous client.
    #[schema(value_type = Option<std::collections::HashMap<String, Value>>)]
    claims: Option<Map<String, Value>>,
    /// Shorthand for claims that hold only this user.
    user: Option<String>,
    /// The name of the room, up to 255 bytes.
    #[schema(required, nullable = false, example = "42:7")]
    room: Option<String>,
    /// What the client would do.
    #[schema(required, nullable = false)]
    action: Option<Action>,
    /// A namespace that clients may connect to; `/` if absent.
    namespace: Option<String>,
}

/// What the client would do in the room.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Action {
    /// Join it.
    Join,
    /// Publish to it.
    Publish,
}

impl RequestBody for ExplainRequest {}

/// Explain a decision of the room rules
#[utoipa::path(
    post, path = "/api/explain", tag = "rules", request_body = ExplainRequest,
    params(
        ("namespace" = Option<String>, Query, description = "Instead of `namespace` in the body"),
    ),
    responses((status = 200, description = "The decision", body = Explanation)),
)]
pub(in crate::api) async fn explain(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    NamespaceQuery(query): NamespaceQuery,
    body: JsonBody<ExplainRequest>,
) -> Result<axum::Json<Explanation>, Problem> {
    let request = body.value;
    let namespace = request.namespace.as_deref();
    let namespace = shared.namespace_with_params(&caller, namespace, &query)?;
    let subject = subject(&shared.api.user_claim, request.claims, request.user)?;
    let room = request.room.ok_or_else(|| Problem::invalid("room", "`room` is required"))?;
    let room = input::room("room", &room)?;
    shared.permit(&caller, Need::Room(&room)).map_err(|problem| problem.field("room"))?;
    let permission = match request.action {
        Some(Action::Join) => Permission::Join,
        Some(Action::Publish) => Permission::Publish,
        None => {
            return Err(Problem::invalid("action", "`action` is required: `join` or `publish`"));
        }
    };
    let rules = shared.api.rules.load();
    Ok(axum::Json(rules.decide(permission, &namespace, &room, &subject).into()))
}

fn subject(
    user_claim: &str,
    claims: Option<Map<String, Value>>,
    user: Option<String>,
) -> Result<Subject, Problem> {
    match (claims, user) {
        (Some(claims), None) => Ok(Subject::from_claims(Arc::new(claims), user_claim)),
        (None, Some(user)) => {
            let user = input::not_empty("user", user)?;
            let claims = Map::from_iter([(user_claim.to_owned(), Value::String(user.clone()))]);
            Ok(Subject::new(Some(user), Arc::new(claims)))
        }
        (Some(_), Some(_)) => Err(Problem::invalid("user", "Give `claims` or `user`, not both")),
        (None, None) => Err(Problem::invalid("claims", "`claims` or `user` is required")),
    }
}

impl From<Decision<'_>> for Explanation {
    fn from(decision: Decision<'_>) -> Self {
        let Decision { allowed, rule, reason } = decision;
        Explanation { allowed, rule: rule.map(Into::into), why: reason.to_string() }
    }
}
