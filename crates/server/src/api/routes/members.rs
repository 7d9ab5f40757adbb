//! `POST /api/rooms/{room}/join`, `/api/rooms/{room}/leave` and `/api/disconnect`.

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::api::access::Caller;
use crate::api::body::{JsonBody, RequestBody};
use crate::api::input::{self, RoomPath};
use crate::api::need::Need;
use crate::api::problem::Problem;
use crate::api::query::NamespaceQuery;
use crate::api::state::Shared;
use crate::broker::Matched;
use crate::message::Selector;
use rookery_ops::throttle::{Throttle, limited};

/// Selects members by exactly one of `user` and `member`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(in crate::api) struct MembershipRequest {
    /// All members whose token names this user.
    user: Option<String>,
    /// The member with this public id.
    member: Option<String>,
    /// A configured namespace; `/` if absent.
    namespace: Option<String>,
}

/// Selects members by exactly one of `user`, `member` and `room`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(in crate::api) struct DisconnectRequest {
    /// All members whose token names this user.
    user: Option<String>,
    /// The member with this public id.
    member: Option<String>,
    /// All members of this room.
    room: Option<String>,
    /// The configured namespace whose members are selected; `/` if absent.
    namespace: Option<String>,
    /// `true`: the clients' connections are closed, so they leave every namespace. `false`: they
    /// leave this namespace only and stay connected to their others, as with Node's
    /// `disconnectSockets(false)`.
    #[serde(default = "closes")]
    #[schema(default = true)]
    close: bool,
}

fn closes() -> bool {
    true
}

impl RequestBody for MembershipRequest {}

impl RequestBody for DisconnectRequest {}

/// Make members join a room
///
/// The room rules do not apply: the backend decides. It is not an error if nobody is selected.
#[utoipa::path(
    post, path = "/api/rooms/{room}/join", tag = "members", request_body = MembershipRequest,
    params(
        ("room" = String, Path, description = "The room, percent-encoded"),
        ("namespace" = Option<String>, Query, description = "Instead of `namespace` in the body"),
    ),
    responses((status = 200, description = "How many members were selected; they are in the room now", body = Matched)),
)]
pub(in crate::api) async fn join_room(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    RoomPath(room): RoomPath,
    NamespaceQuery(query): NamespaceQuery,
    body: JsonBody<MembershipRequest>,
) -> Result<axum::Json<Matched>, Problem> {
    let request = body.value;
    let namespace = shared.namespace(&caller, request.namespace.as_deref(), &query)?;
    shared.permit(&caller, Need::Room(&room)).map_err(|problem| problem.field("room"))?;
    let members = selector([("user", request.user), ("member", request.member)])?;
    let matched = shared.api.cluster.join(&namespace, &members, std::slice::from_ref(&room)).await;
    MembershipChange {
        order: "join",
        caller,
        namespace: &namespace,
        members: &members,
        room: Some(&room),
    }
    .log(&matched, Some(&shared.moves));
    Ok(axum::Json(matched))
}

/// Make members leave a room
///
/// It is not an error if nobody is selected, or if a member is not in the room.
#[utoipa::path(
    post, path = "/api/rooms/{room}/leave", tag = "members", request_body = MembershipRequest,
    params(
        ("room" = String, Path, description = "The room, percent-encoded"),
        ("namespace" = Option<String>, Query, description = "Instead of `namespace` in the body"),
    ),
    responses((status = 200, description = "How many members were selected", body = Matched)),
)]
pub(in crate::api) async fn leave_room(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    RoomPath(room): RoomPath,
    NamespaceQuery(query): NamespaceQuery,
    body: JsonBody<MembershipRequest>,
) -> Result<axum::Json<Matched>, Problem> {
    let request = body.value;
    let namespace = shared.namespace(&caller, request.namespace.as_deref(), &query)?;
    shared.permit(&caller, Need::Room(&room)).map_err(|problem| problem.field("room"))?;
    let members = selector([("user", request.user), ("member", request.member)])?;
    let matched = shared.api.cluster.leave(&namespace, &members, std::slice::from_ref(&room)).await;
    MembershipChange {
        order: "leave",
        caller,
        namespace: &namespace,
        members: &members,
        room: Some(&room),
    }
    .log(&matched, Some(&shared.moves));
    Ok(axum::Json(matched))
}

/// Disconnect members
///
/// Closes the connections of the selected members, and with them their memberships in every
/// namespace; with `"close": false` they leave the selected namespace only. Their clients are told
/// so, and do not reconnect by themselves. It is not an error if nobody is selected.
#[utoipa::path(
    post, path = "/api/disconnect", tag = "members", request_body = DisconnectRequest,
    params(
        ("namespace" = Option<String>, Query, description = "Instead of `namespace` in the body"),
    ),
    responses((status = 200, description = "How many members were selected", body = Matched)),
)]
pub(in crate::api) async fn disconnect(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    NamespaceQuery(query): NamespaceQuery,
    body: JsonBody<DisconnectRequest>,
) -> Result<axum::Json<Matched>, Problem> {
    let request = body.value;
    let namespace = shared.namespace(&caller, request.namespace.as_deref(), &query)?;
    let members =
        selector([("user", request.user), ("member", request.member), ("room", request.room)])?;
    permit_disconnect(&shared, &caller, &members, request.close)?;
    let matched = shared.api.cluster.disconnect(&namespace, &members, request.close).await;
    MembershipChange {
        order: "disconnect",
        caller,
        namespace: &namespace,
        members: &members,
        room: None,
    }
    .log(&matched, None);
    Ok(axum::Json(matched))
}

/// Checks that the caller's key is for the rooms and the namespaces that the members are in.
fn permit_disconnect(
    shared: &Shared,
    caller: &Caller,
    members: &Selector,
    close: bool,
) -> Result<(), Problem> {
    if close {
        let permitted = shared.permit(caller, Need::WholeConnection);
        permitted.map_err(|problem| problem.field("close"))?;
    }
    match members {
        Selector::Rooms { rooms, .. } if !rooms.is_empty() => rooms.iter().try_for_each(|room| {
            shared.permit(caller, Need::Room(room)).map_err(|problem| problem.field("room"))
        }),
        _ => shared.permit(caller, Need::AllRooms),
    }
}

/// A change that a publisher made to members, for the log.
struct MembershipChange<'a> {
    /// `join`, `leave` or `disconnect`.
    order: &'static str,
    caller: Caller,
    namespace: &'a str,
    members: &'a Selector,
    room: Option<&'a str>,
}

impl MembershipChange<'_> {
    /// Writes the line, throttled if a throttle is given: backends may join every client that
    /// connects.
    fn log(self, matched: &Matched, throttle: Option<&Throttle>) {
        let (mut member, mut user, mut room) = (None, None, self.room);
        match self.members {
            Selector::Nobody => {}
            Selector::Member(id) => member = Some(&**id),
            Selector::User(name) => user = Some(&**name),
            Selector::Rooms { rooms, .. } => room = rooms.first().map(|room| &**room),
        }
        // A new throttle never suppresses its first line.
        let unlimited = Throttle::default();
        limited!(
            throttle.unwrap_or(&unlimited),
            info,
            publisher = self.caller.name(),
            order = self.order,
            namespace = self.namespace,
            member,
            user,
            room,
            matched = matched.matched,
            "a publisher moved or disconnected members"
        );
    }
}

/// The selector for the one candidate that is given.
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
