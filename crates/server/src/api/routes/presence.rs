//! `GET /api/rooms/{room}/presence`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::access::Caller;
use crate::api::input::RoomPath;
use crate::api::need::Need;
use crate::api::problem::{Problem, ProblemResponse};
use crate::api::query::NamespaceQuery;
use crate::api::state::Shared;
use crate::message::{RoomKey, Scope};
use crate::rooms::presence::occupant::{Occupant, OccupantKey};

/// Who is in a room with presence.
#[derive(Serialize, ToSchema)]
pub(in crate::api) struct RoomPresence {
    /// The room's name.
    #[schema(value_type = String)]
    room: Arc<str>,
    /// How many users there are; with `presence: member`, members.
    count: usize,
    /// Who they are, ordered by name; absent where they are more than `presence.max`.
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<Vec<PresentMember>>,
    /// `cluster`, or `local` where Redis did not tell who is on other instances.
    scope: Scope,
}

/// Somebody who is in a room.
#[derive(Serialize, ToSchema)]
pub(in crate::api) struct PresentMember {
    /// The member's public id; absent for a user, who may have several.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// The user; absent without a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// What `presenceInfo` of the room's rule gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<serde_json::Value>,
}

/// List who is in a room with presence
///
/// Users, each once, or with `presence: member` members, as the room's members are told.
#[utoipa::path(
    get, path = "/api/rooms/{room}/presence", tag = "rooms",
    params(
        ("room" = String, Path, description = "The room, percent-encoded"),
        ("namespace" = Option<String>, Query, description = "`/` if absent"),
    ),
    responses(
        (status = 200, description = "Who is there, on all instances", body = RoomPresence),
        (status = 404, response = ProblemResponse),
    ),
)]
pub(in crate::api) async fn room_presence(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    RoomPath(room): RoomPath,
    NamespaceQuery(query): NamespaceQuery,
) -> Result<Json<RoomPresence>, Problem> {
    let namespace = shared.namespace(&caller, None, &query)?;
    shared.permit(&caller, Need::Room(&room)).map_err(|problem| problem.field("room"))?;
    if !shared.api.rules.load().has_presence(&room) {
        let detail = "The rule for this room has no presence: write `presence: true` into it";
        return Err(Problem::new(StatusCode::NOT_FOUND, detail).field("room"));
    }
    let key = RoomKey { namespace, room: room.clone() };
    let answer = shared.api.cluster.presence(&key).await;
    let members = answer.roster.occupants.map(|occupants| {
        occupants.iter().map(|occupant| PresentMember::from(&**occupant)).collect()
    });
    let (count, scope) = (answer.roster.count, answer.scope);
    Ok(Json(RoomPresence { room, count, members, scope }))
}

impl From<&Occupant> for PresentMember {
    fn from(occupant: &Occupant) -> Self {
        let id = match &occupant.key {
            OccupantKey::Member(id) => Some(id.to_string()),
            OccupantKey::User(_) => None,
        };
        let user = occupant.user.as_deref().map(str::to_owned);
        PresentMember { id, user, info: occupant.info.clone() }
    }
}
