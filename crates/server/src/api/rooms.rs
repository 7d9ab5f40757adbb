//! `GET /api/rooms` and `/api/rooms/{room}`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Shared;
use super::input::{self, InNamespace, RoomInPath, WithPrefix};
use super::problem::Problem;
use crate::message::MemberInfo;

/// The occupied rooms of the cluster.
#[derive(Serialize, ToSchema)]
pub(super) struct RoomList {
    /// The rooms, by name.
    rooms: Vec<OccupiedRoom>,
    /// The pods that did not answer in time; their members are not counted.
    unanswered: Vec<String>,
}

/// A room that has members.
#[derive(Serialize, ToSchema)]
pub(super) struct OccupiedRoom {
    /// Its name.
    #[schema(value_type = String)]
    room: Arc<str>,
    /// How many members it has, on every instance.
    members: usize,
}

/// The members of a room.
#[derive(Serialize, ToSchema)]
pub(super) struct RoomMembers {
    /// The room's name.
    #[schema(value_type = String)]
    room: Arc<str>,
    /// Its members, on every instance.
    members: Vec<Member>,
    /// The pods that did not answer in time; their members are missing.
    unanswered: Vec<String>,
}

/// A connected client, in one namespace.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Member {
    /// Its public id.
    id: String,
    /// Its user; null without a token.
    user: Option<String>,
    /// When it connected (RFC 3339, UTC); null for members of Node servers.
    #[schema(format = DateTime)]
    connected_at: Option<String>,
    /// The first 8 characters of the id, which name the pod.
    pod: String,
}

/// List the occupied rooms
#[utoipa::path(
    get, path = "/api/rooms", tag = "rooms",
    params(
        ("prefix" = Option<String>, Query, description = "Only rooms whose names start with this"),
        ("namespace" = Option<String>, Query, description = "`/` where it is absent"),
    ),
    responses((status = 200, description = "The rooms of every instance", body = RoomList)),
)]
pub(super) async fn list_rooms(
    State(shared): State<Arc<Shared>>,
    WithPrefix(query): WithPrefix,
) -> Result<Json<RoomList>, Problem> {
    let namespace = input::namespace(&shared, None, &query)?;
    let prefix = query.get("prefix").unwrap_or("");
    let answer = shared.api.cluster.rooms(&namespace, prefix).await;
    let rooms = answer.rooms.into_iter().map(|(room, members)| OccupiedRoom { room, members });
    Ok(Json(RoomList { rooms: rooms.collect(), unanswered: answer.unanswered }))
}

/// List the members of a room
///
/// A room that nobody is in has no members.
#[utoipa::path(
    get, path = "/api/rooms/{room}", tag = "rooms",
    params(
        ("room" = String, Path, description = "The room, percent-encoded"),
        ("namespace" = Option<String>, Query, description = "`/` where it is absent"),
    ),
    responses((status = 200, description = "The members on every instance", body = RoomMembers)),
)]
pub(super) async fn list_members(
    State(shared): State<Arc<Shared>>,
    RoomInPath(room): RoomInPath,
    InNamespace(query): InNamespace,
) -> Result<Json<RoomMembers>, Problem> {
    let namespace = input::namespace(&shared, None, &query)?;
    let answer = shared.api.cluster.members(&namespace, &room).await;
    let members = answer.members.into_iter().map(Member::from).collect();
    Ok(Json(RoomMembers { room, members, unanswered: answer.unanswered }))
}

impl From<MemberInfo> for Member {
    fn from(info: MemberInfo) -> Self {
        Member {
            pod: info.id.chars().take(8).collect(),
            id: info.id,
            user: info.user,
            connected_at: info.connected_at.and_then(rfc3339),
        }
    }
}

/// The time as RFC 3339 writes it, which ends with the year 9999. Other instances say what they
/// like: a time outside it is as good as unknown.
fn rfc3339(time: SystemTime) -> Option<String> {
    const YEAR_10000: Duration = Duration::from_secs(253_402_300_800);
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    (since < YEAR_10000).then(|| humantime::format_rfc3339_millis(time).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_and_absurd_ones_unknown() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(rfc3339(at(1_700_000_000)).as_deref(), Some("2023-11-14T22:13:20.000Z"));
        assert_eq!(rfc3339(at(253_402_300_799)).as_deref(), Some("9999-12-31T23:59:59.000Z"));
        assert_eq!(rfc3339(at(253_402_300_800)), None);
        assert_eq!(rfc3339(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), None);
    }
}
