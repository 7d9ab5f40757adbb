//! `POST /api/rooms/{room}/join`, `/api/rooms/{room}/leave` and `/api/disconnect`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::Shared;
use super::auth::Caller;
use super::body::{Json, RequestBody};
use super::input::{self, InNamespace, RoomInPath};
use super::problem::Problem;
use crate::broker::Matched;
use crate::message::Selector;
use rookery_ops::throttle::{Throttle, limited};

/// Chooses members: exactly one of `user` and `member`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(super) struct MembershipRequest {
    /// Every connected client of this user.
    user: Option<String>,
    /// The member with this public id.
    member: Option<String>,
    /// A namespace of the configuration; `/` where it is absent.
    namespace: Option<String>,
}

/// Chooses members: exactly one of `user`, `member` and `room`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(super) struct DisconnectRequest {
    /// Every connected client of this user.
    user: Option<String>,
    /// The member with this public id.
    member: Option<String>,
    /// Every member of this room.
    room: Option<String>,
    /// A namespace of the configuration; `/` where it is absent.
    namespace: Option<String>,
}

impl RequestBody for MembershipRequest {}

impl RequestBody for DisconnectRequest {}

/// Make members join a room
///
/// The room's rules are not asked: the backend decides. Nobody selected is no error.
#[utoipa::path(
    post, path = "/api/rooms/{room}/join", tag = "members", request_body = MembershipRequest,
    params(
        ("room" = String, Path, description = "The room, percent-encoded"),
        ("namespace" = Option<String>, Query, description = "Instead of `namespace` in the body"),
    ),
    responses((status = 200, description = "How many are in the room now", body = Matched)),
)]
pub(super) async fn join_room(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    RoomInPath(room): RoomInPath,
    InNamespace(query): InNamespace,
    body: Json<MembershipRequest>,
) -> Result<axum::Json<Matched>, Problem> {
    let request = body.value;
    let namespace = input::namespace(&shared, request.namespace.as_deref(), &query)?;
    let of = selector([("user", request.user), ("member", request.member)])?;
    let matched = shared.api.cluster.join(&namespace, &of, std::slice::from_ref(&room)).await;
    Order { what: "join", caller, namespace: &namespace, of: &of, room: Some(&room) }
        .tell(&matched, Some(&shared.moves));
    Ok(axum::Json(matched))
}

/// Make members leave a room
///
/// Nobody selected is no error; nor is a member that is not in the room.
#[utoipa::path(
    post, path = "/api/rooms/{room}/leave", tag = "members", request_body = MembershipRequest,
    params(
        ("room" = String, Path, description = "The room, percent-encoded"),
        ("namespace" = Option<String>, Query, description = "Instead of `namespace` in the body"),
    ),
    responses((status = 200, description = "How many were selected", body = Matched)),
)]
pub(super) async fn leave_room(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    RoomInPath(room): RoomInPath,
    InNamespace(query): InNamespace,
    body: Json<MembershipRequest>,
) -> Result<axum::Json<Matched>, Problem> {
    let request = body.value;
    let namespace = input::namespace(&shared, request.namespace.as_deref(), &query)?;
    let of = selector([("user", request.user), ("member", request.member)])?;
    let matched = shared.api.cluster.leave(&namespace, &of, std::slice::from_ref(&room)).await;
    Order { what: "leave", caller, namespace: &namespace, of: &of, room: Some(&room) }
        .tell(&matched, Some(&shared.moves));
    Ok(axum::Json(matched))
}

/// Dismiss members
///
/// Their clients are told so, and do not come back by themselves. Nobody selected is no error.
#[utoipa::path(
    post, path = "/api/disconnect", tag = "members", request_body = DisconnectRequest,
    params(
        ("namespace" = Option<String>, Query, description = "Instead of `namespace` in the body"),
    ),
    responses((status = 200, description = "How many were selected", body = Matched)),
)]
pub(super) async fn disconnect(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    InNamespace(query): InNamespace,
    body: Json<DisconnectRequest>,
) -> Result<axum::Json<Matched>, Problem> {
    let request = body.value;
    let namespace = input::namespace(&shared, request.namespace.as_deref(), &query)?;
    let of =
        selector([("user", request.user), ("member", request.member), ("room", request.room)])?;
    let matched = shared.api.cluster.disconnect(&namespace, &of).await;
    Order { what: "disconnect", caller, namespace: &namespace, of: &of, room: None }
        .tell(&matched, None);
    Ok(axum::Json(matched))
}

/// What a publisher had done to members: the log keeps who it was.
struct Order<'a> {
    what: &'static str,
    caller: Caller,
    namespace: &'a str,
    of: &'a Selector,
    room: Option<&'a str>,
}

impl Order<'_> {
    /// `throttle`: where backends order it for every client that comes.
    fn tell(self, matched: &Matched, throttle: Option<&Throttle>) {
        let (mut member, mut user, mut room) = (None, None, self.room);
        match self.of {
            Selector::Member(id) => member = Some(&**id),
            Selector::User(name) => user = Some(&**name),
            Selector::Rooms { rooms, .. } => room = rooms.first().map(|room| &**room),
        }
        // One of its own lets the line through.
        let unlimited = Throttle::default();
        limited!(
            throttle.unwrap_or(&unlimited),
            info,
            publisher = self.caller.0.as_deref(),
            order = self.what,
            namespace = self.namespace,
            member,
            user,
            room,
            matched = matched.matched,
            "an order of the HTTP API was carried out"
        );
    }
}

/// The one that is given, of `user`, `member` and `room`.
fn selector<const N: usize>(
    candidates: [(&'static str, Option<String>); N],
) -> Result<Selector, Problem> {
    let names = candidates.each_ref().map(|(name, _)| format!("`{name}`")).join(", ");
    let mut given = candidates.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let (name, value) = given.next().ok_or_else(|| {
        Problem::new(http::StatusCode::BAD_REQUEST, format!("One of {names} is required"))
            .field("user")
            .code("bad_request")
    })?;
    if let Some((second, _)) = given.next() {
        let detail = format!("Give one of {names}, not both `{name}` and `{second}`");
        return Err(Problem::invalid(second, detail));
    }
    match name {
        "room" => input::room("room", &value).map(Selector::room),
        "user" => input::not_empty("user", value).map(Selector::User),
        _ => input::not_empty("member", value).map(Selector::Member),
    }
}
