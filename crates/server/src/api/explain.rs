//! `POST /api/explain`: may somebody join or publish, and why.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Shared;
use super::body::{Json, RequestBody};
use super::input::{self, InNamespace};
use super::problem::Problem;
use rookery_policy::Subject;

/// Decides by the rules of the configuration, as for a client.
pub trait Explain: Send + Sync + 'static {
    /// Whether a client with these claims may do `action` (`join` or `publish`) in `room`.
    /// `user` is the claim that names the user, where it is text.
    fn explain(
        &self,
        action: &str,
        room: &str,
        claims: Map<String, Value>,
        user: Option<String>,
    ) -> Explanation;
}

/// A decision, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Explanation {
    /// Whether it is allowed.
    pub allowed: bool,
    /// The pattern of the rule that decided; null where none matched.
    pub rule: Option<String>,
    /// Why, in words.
    pub why: String,
}

/// A question: exactly one of `claims` and `user`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(super) struct ExplainRequest {
    /// The claims of the client's token; an empty object is an anonymous client.
    #[schema(value_type = Option<std::collections::HashMap<String, Value>>)]
    claims: Option<Map<String, Value>>,
    /// Short for claims that hold just this user.
    user: Option<String>,
    /// The room.
    #[schema(required, nullable = false, example = "42:7")]
    room: Option<String>,
    /// What the client would do.
    #[schema(required, nullable = false)]
    action: Option<Action>,
    /// A namespace of the configuration; `/` where it is absent. The rules are the same in all.
    namespace: Option<String>,
}

/// What a client does in a room.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Action {
    /// Joins it.
    Join,
    /// Publishes to it.
    Publish,
}

impl RequestBody for ExplainRequest {}

/// Ask the rules
#[utoipa::path(
    post, path = "/api/explain", tag = "rules", request_body = ExplainRequest,
    params(
        ("namespace" = Option<String>, Query, description = "Instead of `namespace` in the body"),
    ),
    responses((status = 200, description = "The decision", body = Explanation)),
)]
pub(super) async fn explain(
    State(shared): State<Arc<Shared>>,
    InNamespace(query): InNamespace,
    body: Json<ExplainRequest>,
) -> Result<axum::Json<Explanation>, Problem> {
    let request = body.value;
    input::namespace(&shared, request.namespace.as_deref(), &query)?;
    let (claims, user) = who(&shared.api.user_claim, request.claims, request.user)?;
    let room = request.room.ok_or_else(|| Problem::invalid("room", "`room` is required"))?;
    let room = input::room("room", &room)?;
    let action = match request.action {
        Some(Action::Join) => "join",
        Some(Action::Publish) => "publish",
        None => {
            return Err(Problem::invalid("action", "`action` is required: `join` or `publish`"));
        }
    };
    Ok(axum::Json(shared.api.policy.explain(action, &room, claims, user)))
}

fn who(
    user_claim: &str,
    claims: Option<Map<String, Value>>,
    user: Option<String>,
) -> Result<(Map<String, Value>, Option<String>), Problem> {
    match (claims, user) {
        (Some(claims), None) => {
            let user = Subject::user_of(&claims, user_claim);
            Ok((claims, user))
        }
        (None, Some(user)) => {
            let user = input::not_empty("user", user)?;
            let claims = [(user_claim.to_owned(), Value::String(user.clone()))];
            Ok((claims.into_iter().collect(), Some(user)))
        }
        (Some(_), Some(_)) => Err(Problem::invalid("user", "Give `claims` or `user`, not both")),
        (None, None) => Err(Problem::invalid("claims", "`claims` or `user` is required")),
    }
}
