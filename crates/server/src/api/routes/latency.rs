//! `GET /api/latency` and `/api/rooms/{room}/latency`: delivery latency over the last minute.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::access::Caller;
use crate::api::input::RoomPath;
use crate::api::need::Need;
use crate::api::problem::{Problem, ProblemResponse};
use crate::api::query::{Params, RankingQuery, ScopeQuery};
use crate::api::state::Shared;
use crate::message::RoomKey;
use crate::message::Scope;
use crate::rooms::ranking::{RankedNamespaces, RoomFigures, RoomRankingQuery, SortBy};
use crate::telemetry::latency::histogram::Histogram;
use crate::telemetry::latency::{Summary, summary};

/// The number of rooms that are listed without a `limit`.
const DEFAULT_LIMIT: usize = 50;

/// The largest `limit`.
const MAX_LIMIT: usize = 1000;

/// A ranking of rooms.
#[derive(Serialize, ToSchema)]
pub(in crate::api) struct LatencyList {
    /// The rooms, the highest rank first.
    rooms: Vec<RankedRoom>,
    /// The number of pods that answered.
    pods: usize,
    /// The ids of the pods that did not answer in time; their members and deliveries are missing.
    unanswered: Vec<String>,
}

/// The deliveries of a room over the last minute. Times are in seconds.
#[derive(Serialize, ToSchema)]
pub(in crate::api) struct RankedRoom {
    /// The room's name.
    #[schema(value_type = String)]
    room: Arc<str>,
    /// The namespace, with its leading slash.
    #[schema(value_type = String)]
    namespace: Arc<str>,
    /// The number of members; those on Node servers are not counted.
    members: usize,
    /// Deliveries per second.
    rate: f64,
    /// Half of the deliveries took at most this long; null if none was measured.
    p50: Option<f64>,
    /// 99 % of the deliveries took at most this long; null if none was measured.
    p99: Option<f64>,
    /// The longest delivery; null if none was measured.
    max: Option<f64>,
    /// The number of measured deliveries.
    count: u64,
    /// The histogram of the measured deliveries, by increasing bound.
    buckets: Vec<Bucket>,
}

/// A bucket of a histogram.
#[derive(Serialize, ToSchema)]
pub(in crate::api) struct Bucket {
    /// The upper bound in seconds; null for the last bucket, which has none.
    le: Option<f64>,
    /// The number of deliveries up to this bound and above the previous one.
    count: u64,
}

/// The delivery latency of a room over the last minute, in seconds: the time from the acceptance
/// of a publication until the kernel has its bytes for one recipient.
#[derive(Serialize, ToSchema)]
pub(in crate::api) struct RoomLatency {
    /// The room's name.
    #[schema(value_type = String)]
    room: Arc<str>,
    /// Half of the deliveries took at most this long.
    p50: f64,
    /// 99 % of the deliveries took at most this long.
    p99: f64,
    /// The longest delivery.
    max: f64,
    /// The number of measured deliveries.
    count: u64,
    /// The ids of the pods that did not answer in time; their deliveries are missing.
    unanswered: Vec<String>,
}

/// Rank rooms by latency, rate or members
///
/// Latency and rate are those of the last minute. A room without deliveries is listed only in the
/// ranking by members. Node servers are not asked.
#[utoipa::path(
    get, path = "/api/latency", tag = "rooms",
    params(
        ("namespace" = Option<String>, Query, description = "All namespaces if absent"),
        ("sort" = inline(Option<SortBy>), Query, description = "The largest first; `p99` if absent"),
        ("limit" = Option<usize>, Query, description = "The number of rooms, 1 to 1000; 50 if absent"),
        ("scope" = Option<Scope>, Query, description = "`local` is the instance that answers; `cluster`, all of them, if absent"),
    ),
    responses((status = 200, description = "The ranking", body = LatencyList)),
)]
pub(in crate::api) async fn list_latencies(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    RankingQuery(query): RankingQuery,
) -> Result<Json<LatencyList>, Problem> {
    let namespaces = match query.get("namespace") {
        Some(_) => RankedNamespaces::Named(vec![shared.namespace(&caller, None, &query)?]),
        None => {
            let permitted = shared.permit(&caller, Need::AllNamespaces);
            permitted.map_err(|problem| problem.field("namespace"))?;
            // Without patterns, those of other instances that this one does not offer are left out.
            match shared.api.namespaces.patterns() {
                [] => RankedNamespaces::Named(shared.api.namespaces.fixed().to_vec()),
                _ => RankedNamespaces::All,
            }
        }
    };
    shared.permit(&caller, Need::AllRooms)?;
    let (sort, limit) = (sort(&query)?, limit(&query)?);
    let ranking = RoomRankingQuery { namespaces, sort, limit, scope: scope(&query)? };
    let answer = shared.api.cluster.rank_rooms(&ranking).await;
    let rooms = answer.rooms.into_iter().map(RankedRoom::from).collect();
    Ok(Json(LatencyList { rooms, pods: answer.pods, unanswered: answer.unanswered }))
}

/// Get the delivery latency of a room
///
/// Over the last minute, on all instances unless `scope` is `local`. Times are in seconds.
#[utoipa::path(
    get, path = "/api/rooms/{room}/latency", tag = "rooms",
    params(
        ("room" = String, Path, description = "The room, percent-encoded"),
        ("namespace" = Option<String>, Query, description = "`/` if absent"),
        ("scope" = Option<Scope>, Query, description = "`local` is the instance that answers; `cluster`, all of them, if absent"),
    ),
    responses(
        (status = 200, description = "The deliveries of the last minute", body = RoomLatency),
        (status = 404, response = ProblemResponse),
    ),
)]
pub(in crate::api) async fn room_latency(
    State(shared): State<Arc<Shared>>,
    caller: Caller,
    RoomPath(room): RoomPath,
    ScopeQuery(query): ScopeQuery,
) -> Result<Json<RoomLatency>, Problem> {
    let namespace = shared.namespace(&caller, None, &query)?;
    shared.permit(&caller, Need::Room(&room)).map_err(|problem| problem.field("room"))?;
    let key = RoomKey { namespace, room };
    let answer = shared.api.cluster.room_latency(&key, scope(&query)?).await;
    let unanswered = answer.unanswered;
    match answer.rooms.first().and_then(|room| measured(&room.latency)) {
        Some(Summary { p50, p99, max, count }) => Ok(Json(RoomLatency {
            room: key.room,
            p50: p50.as_secs_f64(),
            p99: p99.as_secs_f64(),
            max: max.as_secs_f64(),
            count,
            unanswered,
        })),
        None => Err(Problem::new(StatusCode::NOT_FOUND, no_deliveries(&key.room, &unanswered))
            .field("room")),
    }
}

fn no_deliveries(room: &str, unanswered: &[String]) -> String {
    let mut text = format!("No deliveries to room `{room}` were measured in the last minute");
    if !unanswered.is_empty() {
        text.push_str(&format!("; no answer from {}", unanswered.join(", ")));
    }
    text
}

fn sort(query: &Params) -> Result<SortBy, Problem> {
    match query.get("sort") {
        None | Some("p99") => Ok(SortBy::P99),
        Some("rate") => Ok(SortBy::Rate),
        Some("members") => Ok(SortBy::Members),
        Some(_) => Err(Problem::invalid("sort", "`sort` must be `p99`, `rate` or `members`")),
    }
}

fn limit(query: &Params) -> Result<usize, Problem> {
    let Some(text) = query.get("limit") else { return Ok(DEFAULT_LIMIT) };
    let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| {
        Problem::invalid("limit", format!("`limit` must be a number from 1 to {MAX_LIMIT}"))
    })
}

fn scope(query: &Params) -> Result<Scope, Problem> {
    match query.get("scope") {
        None | Some("cluster") => Ok(Scope::Cluster),
        Some("local") => Ok(Scope::Local),
        Some(_) => Err(Problem::invalid("scope", "`scope` must be `cluster` or `local`")),
    }
}

fn measured(latency: &Histogram) -> Option<Summary> {
    (latency.count() > 0).then(|| summary(latency))
}

impl From<RoomFigures> for RankedRoom {
    fn from(room: RoomFigures) -> Self {
        let summary = measured(&room.latency);
        let seconds = |time: fn(&Summary) -> Duration| Some(time(summary.as_ref()?).as_secs_f64());
        let bounds = room.latency.exposed().map(|(bound, _)| Some(bound.as_secs_f64()));
        let buckets = bounds.chain([None]).zip(room.latency.counts());
        RankedRoom {
            members: room.members,
            rate: room.rate(),
            p50: seconds(|summary| summary.p50),
            p99: seconds(|summary| summary.p99),
            max: seconds(|summary| summary.max),
            count: room.latency.count(),
            buckets: buckets.map(|(le, count)| Bucket { le, count: *count }).collect(),
            room: room.key.room,
            namespace: room.key.namespace,
        }
    }
}
