//! `GET /api/latency` and `/api/rooms/{room}/latency`: how long the rooms' members waited.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::Shared;
use super::input::{self, InScope, Params, Ranked, RoomInPath};
use super::problem::Problem;
use crate::message::Scope;
use crate::rooms::waits::{Place, RoomFigures, SortBy, WaitsQuery};
use crate::telemetry::latency::histogram::Histogram;
use crate::telemetry::latency::{Summary, summary};

/// How many rooms are listed where `limit` says nothing.
const LIMIT: usize = 50;

/// The largest `limit`.
const MAX_LIMIT: usize = 1000;

/// The rooms that come first.
#[derive(Serialize, ToSchema)]
pub(super) struct LatencyList {
    /// The rooms, the first one first.
    rooms: Vec<RoomWaits>,
    /// How many pods answered.
    pods: usize,
    /// The pods that did not answer in time; their members and deliveries are missing.
    unanswered: Vec<String>,
}

/// The last minute of a room. Times are in seconds.
#[derive(Serialize, ToSchema)]
pub(super) struct RoomWaits {
    /// Its name.
    #[schema(value_type = String)]
    room: Arc<str>,
    /// Its namespace.
    #[schema(value_type = String)]
    namespace: Arc<str>,
    /// How many members it has; those on Node servers are not counted.
    members: usize,
    /// Deliveries per second.
    rate: f64,
    /// Half of the deliveries took at most this long; null where none was measured.
    p50: Option<f64>,
    /// 99 of 100 deliveries took at most this long; null where none was measured.
    p99: Option<f64>,
    /// The longest; null where none was measured.
    max: Option<f64>,
    /// How many deliveries were measured.
    count: u64,
    /// How many of them fell into each bucket.
    buckets: Vec<Bucket>,
}

/// A bucket of a histogram.
#[derive(Serialize, ToSchema)]
pub(super) struct Bucket {
    /// Its upper bound in seconds; null: it has none.
    le: Option<f64>,
    /// How many deliveries took at most that long, and longer than the bound before.
    count: u64,
}

/// The latency of a room: from the acceptance of a publication to the moment that the kernel had
/// its bytes for one recipient. In seconds.
#[derive(Serialize, ToSchema)]
pub(super) struct RoomLatency {
    /// The room's name.
    #[schema(value_type = String)]
    room: Arc<str>,
    /// Half of the deliveries took at most this long.
    p50: f64,
    /// 99 of 100 deliveries took at most this long.
    p99: f64,
    /// The longest.
    max: f64,
    /// How many deliveries were measured.
    count: u64,
    /// The pods that did not answer in time; their deliveries are missing.
    unanswered: Vec<String>,
}

/// Rank the rooms by latency, rate or members
///
/// By how long the deliveries of the last minute took, by how many there were, or by members. A
/// room without deliveries is listed only by its members. Node servers are not asked.
#[utoipa::path(
    get, path = "/api/latency", tag = "rooms",
    params(
        ("namespace" = Option<String>, Query, description = "All namespaces where it is absent"),
        ("sort" = inline(Option<SortBy>), Query, description = "The largest first; `p99` where absent"),
        ("limit" = Option<usize>, Query, description = "How many rooms, 1 to 1000; 50 where absent"),
        ("scope" = Option<Scope>, Query, description = "`local`: the instance that answers, alone"),
    ),
    responses((status = 200, description = "The rooms that come first", body = LatencyList)),
)]
pub(super) async fn list_latencies(
    State(shared): State<Arc<Shared>>,
    Ranked(query): Ranked,
) -> Result<Json<LatencyList>, Problem> {
    let namespaces = match query.get("namespace") {
        Some(_) => vec![input::namespace(&shared, None, &query)?],
        None => shared.api.namespaces.clone(),
    };
    let (sort, limit) = (sort(&query)?, limit(&query)?);
    let wanted = WaitsQuery { namespaces, sort, limit, scope: scope(&query)? };
    let answer = shared.api.cluster.busiest(&wanted).await;
    let rooms = answer.rooms.into_iter().map(RoomWaits::from).collect();
    Ok(Json(LatencyList { rooms, pods: answer.pods, unanswered: answer.unanswered }))
}

/// Tell the delivery latency of a room
///
/// Of the last minute, over all instances, in seconds.
#[utoipa::path(
    get, path = "/api/rooms/{room}/latency", tag = "rooms",
    params(
        ("room" = String, Path, description = "The room, percent-encoded"),
        ("namespace" = Option<String>, Query, description = "`/` where it is absent"),
        ("scope" = Option<Scope>, Query, description = "`local`: the instance that answers, alone"),
    ),
    responses(
        (status = 200, description = "The last minute's deliveries", body = RoomLatency),
        (status = 404, response = super::openapi::ProblemResponse),
    ),
)]
pub(super) async fn room_latency(
    State(shared): State<Arc<Shared>>,
    RoomInPath(room): RoomInPath,
    InScope(query): InScope,
) -> Result<Json<RoomLatency>, Problem> {
    let namespace = input::namespace(&shared, None, &query)?;
    let place = Place { namespace, room };
    let answer = shared.api.cluster.waits(&place, scope(&query)?).await;
    let unanswered = answer.unanswered;
    match answer.rooms.first().and_then(|room| measured(&room.waits)) {
        Some(Summary { p50, p99, max, count }) => Ok(Json(RoomLatency {
            room: place.room,
            p50: p50.as_secs_f64(),
            p99: p99.as_secs_f64(),
            max: max.as_secs_f64(),
            count,
            unanswered,
        })),
        None => Err(Problem::new(StatusCode::NOT_FOUND, no_delivery(&place.room, &unanswered))
            .field("room")),
    }
}

fn no_delivery(room: &str, unanswered: &[String]) -> String {
    let mut text = format!("No delivery to room `{room}` was measured in the last minute");
    if !unanswered.is_empty() {
        text.push_str(&format!("; not answered: {}", unanswered.join(", ")));
    }
    text
}

fn sort(query: &Params) -> Result<SortBy, Problem> {
    match query.get("sort") {
        None | Some("p99") => Ok(SortBy::P99),
        Some("rate") => Ok(SortBy::Rate),
        Some("members") => Ok(SortBy::Members),
        Some(_) => Err(Problem::invalid("sort", "`sort` is `p99`, `rate` or `members`")),
    }
}

fn limit(query: &Params) -> Result<usize, Problem> {
    let Some(text) = query.get("limit") else { return Ok(LIMIT) };
    let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    let wrong = || Problem::invalid("limit", format!("`limit` is a number from 1 to {MAX_LIMIT}"));
    limit.ok_or_else(wrong)
}

fn scope(query: &Params) -> Result<Scope, Problem> {
    match query.get("scope") {
        None | Some("cluster") => Ok(Scope::Cluster),
        Some("local") => Ok(Scope::Local),
        Some(_) => Err(Problem::invalid("scope", "`scope` is `cluster` or `local`")),
    }
}

fn measured(waits: &Histogram) -> Option<Summary> {
    (waits.count() > 0).then(|| summary(waits))
}

impl From<RoomFigures> for RoomWaits {
    fn from(room: RoomFigures) -> Self {
        let figures = measured(&room.waits);
        let seconds = |time: fn(&Summary) -> Duration| Some(time(figures.as_ref()?).as_secs_f64());
        let bounds = room.waits.exposed().map(|(bound, _)| Some(bound.as_secs_f64()));
        let buckets = bounds.chain([None]).zip(room.waits.counts());
        RoomWaits {
            members: room.members,
            rate: room.rate(),
            p50: seconds(|figures| figures.p50),
            p99: seconds(|figures| figures.p99),
            max: seconds(|figures| figures.max),
            count: room.waits.count(),
            buckets: buckets.map(|(le, count)| Bucket { le, count: *count }).collect(),
            room: room.place.room,
            namespace: room.place.namespace,
        }
    }
}
