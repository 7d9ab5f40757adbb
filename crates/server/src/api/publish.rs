//! `POST /api/publish`.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use http::{HeaderMap, StatusCode};
use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, SeqAccess};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::body::{Json, RequestBody};
use super::idempotency::{Begin, Claim, MAX_ID_BYTES};
use super::input::{self, InNamespace, Params};
use super::problem::Problem;
use super::{Shared, payload};
use crate::message::{Publication, Source};
use crate::message::{PublishError, Scope};
use crate::telemetry::trace::TraceParent;
use rookery_protocol::Data;
use rookery_protocol::packet::{MAX_ATTACHMENTS, too_many_binaries};
use rookery_protocol::{RESERVED_EVENTS, Room};

/// The most rooms that one publication may name, in `rooms` and in `except`.
const MAX_ROOMS: usize = 1000;

/// A publication to the members of a room, or of several; a member of several gets it once.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(super) struct PublishRequest {
    /// A namespace of the configuration; `/` where it is absent.
    #[schema(example = "/")]
    namespace: Option<String>,
    /// The room, up to 255 bytes, or a member's public id. Either this or `rooms`.
    #[schema(example = "42:7")]
    room: Option<String>,
    /// The rooms, up to 1,000. Either this or `room`.
    #[schema(min_items = 1, max_items = 1000)]
    rooms: Option<Vec<String>>,
    /// A room, or up to 1,000, whose members do not get it; members' public ids too.
    except: Option<OneOrMany>,
    /// The event's name; those that Socket.IO reserves cannot be published.
    #[schema(required, nullable = false, example = "application_event")]
    event: Option<String>,
    /// The event's arguments; none where it is absent. Binary is `{"$binary": "<base64>"}`, at
    /// any depth.
    #[serde(default)]
    #[schema(value_type = Vec<serde_json::Value>, example = json!([{"status": "done"}]))]
    args: Vec<Data>,
    /// Written only to members for whom nothing else waits.
    #[serde(default)]
    volatile: bool,
    /// An idempotency key, up to 200 bytes. The same id in the same namespace within two minutes
    /// is answered the same and delivered once, whatever else the request holds.
    #[schema(min_length = 1, max_length = 200)]
    id: Option<String>,
}

/// A room, or up to 1,000.
#[derive(Debug, ToSchema)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    /// One.
    One(String),
    /// Several, at most 1,000.
    Many(Vec<String>),
}

/// What became of a publication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PublishAnswer {
    /// The id that the request gave, or one made for it.
    #[schema(value_type = String)]
    pub id: Arc<str>,
    /// Whether other instances were told too.
    pub scope: Scope,
    /// How many members on this instance it was addressed to.
    pub members: usize,
}

impl RequestBody for PublishRequest {
    /// The event, the rooms and the base64 of binary need room beside the largest packet.
    fn limit(shared: &Shared) -> usize {
        shared.api.max_payload.saturating_add(1 << 20)
    }
}

/// Publish an event to rooms
///
/// What one HTTP connection publishes to a room arrives in order.
#[utoipa::path(
    post, path = "/api/publish", tag = "publish", request_body = PublishRequest,
    params(("namespace" = Option<String>, Query, description = "Instead of `namespace` in the body")),
    responses(
        (status = 200, description = "Accepted", body = PublishAnswer),
        (status = 503, response = super::openapi::ProblemResponse),
    ),
)]
pub(super) async fn publish(
    State(shared): State<Arc<Shared>>,
    InNamespace(query): InNamespace,
    headers: HeaderMap,
    body: Json<PublishRequest>,
) -> Result<axum::Json<PublishAnswer>, Problem> {
    accept(&shared, body.value, &query, traceparent(&headers)).await.map(axum::Json)
}

/// Checks a request and publishes it, unless its id was published already.
pub(super) async fn accept(
    shared: &Arc<Shared>,
    request: PublishRequest,
    query: &Params,
    traceparent: Option<Arc<str>>,
) -> Result<PublishAnswer, Problem> {
    let idempotent = request.id.is_some();
    let publication = check(shared, request, query, traceparent)?;
    if !idempotent {
        return deliver(shared, publication).await;
    }
    // In a task of its own: when the request is broken off half-way, the claim on the id must
    // still end with the answer, or a repeat would be delivered again.
    let task = shared.api.tasks.spawn(once(shared.clone(), publication));
    task.await.unwrap_or_else(|_| {
        Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "The publication failed; see the log"))
    })
}

/// The `traceparent` header, where there is one and it is well-formed.
///
/// Source: W3C Trace Context, level 2, section 3.2; several headers are none.
pub(super) fn traceparent(headers: &HeaderMap) -> Option<Arc<str>> {
    let mut values = headers.get_all("traceparent").iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    TraceParent::parse(value.to_str().ok()?).map(|parent| parent.to_string().into())
}

async fn once(shared: Arc<Shared>, publication: Publication) -> Result<PublishAnswer, Problem> {
    let begin =
        shared.api.idempotency.begin(publication.namespace.clone(), publication.id.clone()).await;
    let claim: Box<dyn Claim> = match begin {
        Begin::First(claim) => claim,
        Begin::Repeat(answer) => return Ok(answer),
        Begin::Busy => {
            return Err(Problem::unavailable(
                "The first publication with this id has not been answered yet: try again",
            )
            .field("id"));
        }
    };
    let result = deliver(&shared, publication).await;
    match &result {
        Ok(answer) => claim.complete(answer.clone()).await,
        Err(_) => claim.release().await,
    }
    result
}

async fn deliver(shared: &Shared, publication: Publication) -> Result<PublishAnswer, Problem> {
    let id = publication.id.clone();
    match shared.api.publisher.publish(publication).await {
        Ok(receipt) => Ok(PublishAnswer { id, scope: receipt.scope, members: receipt.members }),
        Err(error @ PublishError::RedisDown) => {
            let detail = format!("Nothing was delivered: {error}. Try again");
            Err(Problem::unavailable(detail).code("not_connected_to_redis"))
        }
    }
}

fn check(
    shared: &Shared,
    request: PublishRequest,
    query: &Params,
    traceparent: Option<Arc<str>>,
) -> Result<Publication, Problem> {
    let namespace = input::namespace(shared, request.namespace.as_deref(), query)?;
    let rooms = targets(request.room, request.rooms)?;
    let except = match request.except {
        None => Vec::new(),
        Some(OneOrMany::One(name)) => vec![input::room("except", &name)?],
        Some(OneOrMany::Many(names)) => several("except", &names)?,
    };
    let event = event(request.event)?;
    if let Some(path) = payload::ambiguous(&request.args) {
        let detail = "Beside binary, an object cannot have `_placeholder: true`: Socket.IO \
                      marks binary with it";
        return Err(Problem::invalid(path, detail));
    }
    if too_many_binaries(&request.args) {
        let detail = format!("More than {MAX_ATTACHMENTS} binary values: clients refuse those");
        return Err(Problem::invalid("args", detail));
    }
    if payload::wire_size(&namespace, &event, &request.args) > shared.api.max_payload {
        let limit = shared.api.max_payload;
        return Err(Problem::too_large("An event with its arguments (socketio.maxPayload)", limit)
            .field("args"));
    }
    Ok(Publication {
        id: id(request.id)?,
        namespace,
        rooms,
        except,
        event,
        args: request.args,
        volatile: request.volatile,
        source: Source::Api,
        accepted: Instant::now(),
        traceparent,
    })
}

fn targets(room: Option<String>, rooms: Option<Vec<String>>) -> Result<Vec<Room>, Problem> {
    match (room, rooms) {
        (Some(room), None) => Ok(vec![input::room("room", &room)?]),
        (None, Some(rooms)) if rooms.is_empty() => {
            Err(Problem::invalid("rooms", "Name at least one room").code("room_invalid"))
        }
        (None, Some(rooms)) => several("rooms", &rooms),
        (Some(_), Some(_)) => Err(Problem::invalid("rooms", "Give `room` or `rooms`, not both")),
        (None, None) => Err(Problem::invalid("room", "`room` or `rooms` is required")),
    }
}

fn several(field: &str, names: &[String]) -> Result<Vec<Room>, Problem> {
    if names.len() > MAX_ROOMS {
        let detail = format!("At most {MAX_ROOMS} rooms fit in one publication");
        return Err(Problem::invalid(field, detail));
    }
    let names = names.iter().enumerate();
    names.map(|(i, name)| input::room(&format!("{field}[{i}]"), name)).collect()
}

fn event(event: Option<String>) -> Result<String, Problem> {
    let event = event.ok_or_else(|| Problem::invalid("event", "`event` is required"))?;
    if RESERVED_EVENTS.contains(&event.as_str()) {
        let detail = format!("Socket.IO keeps the event `{event}` for itself: choose another name");
        return Err(Problem::invalid("event", detail));
    }
    input::not_empty("event", event)
}

fn id(given: Option<String>) -> Result<Arc<str>, Problem> {
    match given {
        None => {
            let mut random = [0; 16];
            getrandom::fill(&mut random).map_err(|error| {
                Problem::unavailable(format!("The system gives no random numbers: {error}"))
            })?;
            Ok(format!("{:032x}", u128::from_be_bytes(random)).into())
        }
        Some(id) if id.len() > MAX_ID_BYTES => {
            Err(Problem::invalid("id", format!("An id may have at most {MAX_ID_BYTES} bytes")))
        }
        Some(id) => Ok(input::not_empty("id", id)?.into()),
    }
}

/// By hand, because `untagged` would lose which element is wrong.
impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Texts;

        impl<'de> de::Visitor<'de> for Texts {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a string or an array of strings")
            }

            fn visit_str<E>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany::One(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<OneOrMany, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(OneOrMany::Many)
            }
        }

        d.deserialize_any(Texts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_traceparent_is_kept_and_of_two_none() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let mut headers = HeaderMap::new();
        assert_eq!(traceparent(&headers), None);
        headers.append("traceparent", good.parse().unwrap());
        assert_eq!(traceparent(&headers).as_deref(), Some(good));
        headers.append("traceparent", good.parse().unwrap());
        assert_eq!(traceparent(&headers), None);
        headers.insert("traceparent", "00-4bf92f35-00f067aa0ba902b7-01".parse().unwrap());
        assert_eq!(traceparent(&headers), None);
    }
}
