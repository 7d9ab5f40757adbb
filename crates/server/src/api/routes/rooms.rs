//! `GET /api/rooms` and `/api/rooms/{room}`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::access::Caller;
use crate::api::input::RoomPath;
use crate::api::need::Need;
use crate::api::problem::Problem;
use crate::api::query::{NamespaceQuery, PrefixQuery};
use crate::api::state::Shared;
use crate::message::{MemberId, MemberInfo};

/// The rooms of the cluster that have members.
#[derive(Serialize, ToSchema)]
pub(in crate::api) struct RoomList {
    /// The rooms, ordered by name.
    rooms: Vec<OccupiedRoom>,
    /// The ids of the pods that did not answer in time; their members are not counted.
    unanswered: Vec<String>,
}

/// A room that has members.
#[derive(Serialize, ToSchema)]
pub(in crate::api) struct OccupiedRoom {
    /// The room's name.
    #[schema(value_type = String)]
    room: Arc<str>,
    /// The number of members on all instances.
    members: usize,
}

/// The members of a room.
#[derive(Serialize, ToSchema)]
pub(in crate::api) struct RoomMembers {
    /// The room's name.
    #[schema(value_type = String)]
    room: Arc<str>,
    /// The members on all instances.
    members: Vec<Member>,
    /// The ids of the pods that did not answer in time; their members are missing.
    unanswered: Vec<String>,
}

/// A connected client, in one namespace.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct Member {
    /// The member's public id, which is its `socket.id` (but for a client of Socket.IO 2 that polls).
    id: String,
    /// The user that its token names; null without a token.
    user: Option<String>,
    /// The time at which it connected (RFC 3339, UTC); null for members of Node servers.
    #[schema(format = DateTime)]
    connected_at: Option<String>,
    /// The pod's id: the first 8 characters of the member's, after the namespace and `#` that it may
    /// begin with.
    pod: String,
}

/// List the rooms that have members
#[utoipa::path(
    get, path = "/api/rooms", tag = "rooms",
    params(
        ("prefix" = Option<String>, Query, description = "Only rooms whose names start with this prefix"),
        ("namespace" = Option<String>, Query, description = "`/` if absent"),
    ),
    responses((status = 200, description = "The rooms of all instances", body = RoomList)),
)]
pub(in crate::api) async fn list_rooms(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    PrefixQuery(query): PrefixQuery,
) -> Result<Json<RoomList>, Problem> {
    let namespace = shared.namespace(&caller, None, &query)?;
    let prefix = query.get("prefix").unwrap_or("");
    shared.permit(&caller, Need::RoomsFrom(prefix)).map_err(|problem| problem.field("prefix"))?;
    let answer = shared.api.cluster.rooms(&namespace, prefix).await;
    let rooms = answer.rooms.into_iter().map(|(room, members)| OccupiedRoom { room, members });
    Ok(Json(RoomList { rooms: rooms.collect(), unanswered: answer.unanswered }))
}

/// List the members of a room
///
/// The list is empty for a room that does not exist: a room exists while it has members.
#[utoipa::path(
    get, path = "/api/rooms/{room}", tag = "rooms",
    params(
        ("room" = String, Path, description = "The room, percent-encoded"),
        ("namespace" = Option<String>, Query, description = "`/` if absent"),
    ),
    responses((status = 200, description = "The members on all instances", body = RoomMembers)),
)]
pub(in crate::api) async fn list_members(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    RoomPath(room): RoomPath,
    NamespaceQuery(query): NamespaceQuery,
) -> Result<Json<RoomMembers>, Problem> {
    let namespace = shared.namespace(&caller, None, &query)?;
    shared.permit(&caller, Need::Room(&room)).map_err(|problem| problem.field("room"))?;
    let answer = shared.api.cluster.members(&namespace, &room).await;
    let members = answer.members.into_iter().map(Member::from).collect();
    Ok(Json(RoomMembers { room, members, unanswered: answer.unanswered }))
}

impl From<MemberInfo> for Member {
    fn from(info: MemberInfo) -> Self {
        Member {
            pod: pod_of(&info.id),
            id: info.id,
            user: info.user,
            connected_at: info.connected_at.and_then(rfc3339),
        }
    }
}

/// The name of the pod in a member's id.
fn pod_of(id: &str) -> String {
    MemberId::pod_of(id).map_or_else(|| id.chars().take(8).collect(), str::to_owned)
}

/// The time in the format of RFC 3339. `None` outside the years 1970 to 9999: other instances may
/// send any time.
fn rfc3339(time: SystemTime) -> Option<String> {
    const YEAR_10000: Duration = Duration::from_secs(253_402_300_800);
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    (since < YEAR_10000).then(|| humantime::format_rfc3339_millis(time).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_outside_1970_to_9999_are_unknown() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(rfc3339(at(1_700_000_000)).as_deref(), Some("2023-11-14T22:13:20.000Z"));
        assert_eq!(rfc3339(at(253_402_300_799)).as_deref(), Some("9999-12-31T23:59:59.000Z"));
        assert_eq!(rfc3339(at(253_402_300_800)), None);
        assert_eq!(rfc3339(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), None);
    }
}
