//! [`PublishRequest`]: the body of a publish request, and its checks.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, SeqAccess};
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use super::context::PublishContext;
use super::payload;
use crate::api::body::RequestBody;
use crate::api::idempotency::MAX_ID_BYTES;
use crate::api::input;
use crate::api::need::Need;
use crate::api::problem::Problem;
use crate::api::random::RandomSource;
use crate::api::state::Shared;
use crate::message::{Publication, Source};
use rookery_config::units::Period;
use rookery_protocol::packet::{self, ArgsError, MAX_ATTACHMENTS};
use rookery_protocol::{Data, MAX_DEPTH, RESERVED_EVENTS, Room};

/// The most rooms in `rooms`, and in `except`.
const MAX_ROOMS: usize = 1000;

/// How long acknowledgements are waited for unless the request says it.
const DEFAULT_ACK_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest time that acknowledgements are waited for.
const MAX_ACK_TIMEOUT: Duration = Duration::from_secs(60);

/// An event for the members of one or more rooms. A member of several rooms gets it once.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
pub(in crate::api) struct PublishRequest {
    /// A configured namespace; `/` if absent.
    #[schema(example = "/")]
    namespace: Option<String>,
    /// The room, up to 255 bytes, or a member's id. Give either this or `rooms`.
    #[schema(example = "42:7")]
    room: Option<String>,
    /// Up to 1,000 rooms. Give either this or `room`.
    #[schema(min_items = 1, max_items = 1000)]
    rooms: Option<Vec<String>>,
    /// One room, or up to 1,000, whose members do not get the event; members' ids are allowed.
    except: Option<OneOrMany>,
    /// The event's name. The names that Socket.IO reserves cannot be published.
    #[schema(required, nullable = false, example = "application_event")]
    event: Option<String>,
    /// The event's arguments; none if absent. Binary is `{"$binary": "<base64>"}`, at any depth.
    #[serde(default)]
    #[schema(value_type = Vec<serde_json::Value>, example = json!([{"status": "done"}]))]
    args: Vec<Data>,
    /// Deliver only to members with an empty outbox.
    #[serde(default)]
    volatile: bool,
    /// `false`: the event is not compressed, also for members with compressed messages
    /// (`socketio.perMessageDeflate`); `true` if absent.
    compress: Option<bool>,
    /// Ask every recipient to acknowledge the event, and answer with what they say. Not with `id`, nor
    /// in a batch.
    #[serde(default)]
    ack: bool,
    /// How long to wait for acknowledgements: milliseconds, or a text such as `10s`; at most a
    /// minute, 5 s if absent.
    #[schema(value_type = Option<u64>, example = 5000)]
    timeout: Option<AckTimeout>,
    /// An idempotency key, up to 200 bytes. A request that repeats an id in the same namespace
    /// within two minutes gets the first answer and is not delivered again, whatever else it
    /// holds. The ids of API keys with different names are apart.
    #[schema(min_length = 1, max_length = 200)]
    id: Option<String>,
}

/// Milliseconds, or a text such as `10s`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged, expecting = "expected milliseconds, or a duration such as \"10s\"")]
enum AckTimeout {
    Milliseconds(u64),
    Period(Period),
}

/// One room, or up to 1,000.
#[derive(Debug, ToSchema)]
#[serde(untagged)]
pub(in crate::api) enum OneOrMany {
    /// One room.
    One(String),
    /// Up to 1,000 rooms.
    Many(Vec<String>),
}

impl RequestBody for PublishRequest {
    /// The largest packet, and 1 MiB for the event, the rooms and the overhead of base64.
    fn limit(max_payload: usize) -> usize {
        max_payload.saturating_add(1 << 20)
    }
}

impl PublishRequest {
    /// Whether a repeat of this request must not be delivered again.
    pub(in crate::api) fn is_idempotent(&self) -> bool {
        self.id.is_some()
    }

    /// How long to wait for acknowledgements, if this request asks for them.
    ///
    /// # Errors
    /// 400, naming the field that does not fit.
    pub(in crate::api) fn acks_within(&self) -> Result<Option<Duration>, Problem> {
        let timeout = match self.timeout {
            None => DEFAULT_ACK_TIMEOUT,
            Some(_) if !self.ack => {
                let detail =
                    "`timeout` is for acknowledgements: set `ack` to true, or leave it out";
                return Err(Problem::invalid("timeout", detail));
            }
            Some(AckTimeout::Milliseconds(n)) => Duration::from_millis(n),
            Some(AckTimeout::Period(period)) => period.0,
        };
        if timeout.is_zero() || timeout > MAX_ACK_TIMEOUT {
            let detail = format!("Wait for 1 ms to {} s", MAX_ACK_TIMEOUT.as_secs());
            return Err(Problem::invalid("timeout", detail));
        }
        if self.ack && self.id.is_some() {
            let detail =
                "An event with `ack` cannot have an `id`: its acknowledgements are not kept";
            return Err(Problem::invalid("id", detail));
        }
        Ok(self.ack.then_some(timeout))
    }

    /// The publication that this request describes, accepted now.
    ///
    /// # Errors
    /// 400, 403 or 413, naming the field.
    pub(super) fn into_publication(
        self,
        shared: &Shared,
        context: &PublishContext,
    ) -> Result<Publication, Problem> {
        let PublishContext { caller, query, traceparent } = context;
        let namespace = shared.namespace(caller, self.namespace.as_deref(), query)?;
        let is_list = self.rooms.is_some();
        let rooms = targets(self.room, self.rooms)?;
        for (i, room) in rooms.iter().enumerate() {
            shared.permit(caller, Need::Room(room)).map_err(|problem| {
                problem.field(if is_list { format!("rooms[{i}]") } else { "room".to_owned() })
            })?;
        }
        let except = match self.except {
            None => Vec::new(),
            Some(OneOrMany::One(name)) => vec![input::room("except", &name)?],
            Some(OneOrMany::Many(names)) => several("except", &names)?,
        };
        let event = event(self.event)?;
        check_args(&namespace, &event, &self.args, shared.api.max_payload)?;
        Ok(Publication {
            id: id(self.id, &shared.random)?.into(),
            namespace,
            rooms: rooms.into(),
            except: except.into(),
            event,
            args: self.args.into(),
            volatile: self.volatile,
            compress: self.compress.unwrap_or(true),
            source: Source::Api,
            address: None,
            accepted: Instant::now(),
            traceparent: traceparent.clone(),
        })
    }
}

fn check_args(
    namespace: &str,
    event: &str,
    args: &[Data],
    max_payload: usize,
) -> Result<(), Problem> {
    if let Some(path) = payload::ambiguous_placeholder(args) {
        let detail = "Next to binary, an object cannot contain `_placeholder: true`: Socket.IO \
                      uses it to mark binary";
        return Err(Problem::invalid(path, detail));
    }
    packet::check_args(args).map_err(|error| {
        let detail = match error {
            ArgsError::TooManyBinaries => {
                format!("Clients refuse events with more than {MAX_ATTACHMENTS} binary values")
            }
            ArgsError::TooDeep => {
                format!("An argument may nest {MAX_DEPTH} levels of arrays and objects")
            }
        };
        Problem::invalid("args", detail)
    })?;
    if payload::wire_size(namespace, event, args) > max_payload {
        let what = "An event with its arguments (socketio.maxPayload)";
        return Err(Problem::too_large(what, max_payload).field("args"));
    }
    Ok(())
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
        let detail = format!("A publication is limited to {MAX_ROOMS} rooms");
        return Err(Problem::invalid(field, detail));
    }
    let names = names.iter().enumerate();
    names.map(|(i, name)| input::room(&format!("{field}[{i}]"), name)).collect()
}

fn event(event: Option<String>) -> Result<String, Problem> {
    let event = event.ok_or_else(|| Problem::invalid("event", "`event` is required"))?;
    if RESERVED_EVENTS.contains(&event.as_str()) {
        let detail = format!("Socket.IO reserves the event `{event}`: choose another name");
        return Err(Problem::invalid("event", detail));
    }
    input::not_empty("event", event)
}

fn id(given: Option<String>, random: &RandomSource) -> Result<Arc<str>, Problem> {
    match given {
        None => {
            let number = random.next().map_err(|error| {
                Problem::unavailable(format!("The system has no random numbers: {error}"))
            })?;
            Ok(format!("{number:032x}").into())
        }
        Some(id) if id.len() > MAX_ID_BYTES => {
            Err(Problem::invalid("id", format!("An id is limited to {MAX_ID_BYTES} bytes")))
        }
        Some(id) => Ok(input::not_empty("id", id)?.into()),
    }
}

/// Written by hand: `untagged` would lose the path of the invalid element.
impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Names;

        impl<'de> de::Visitor<'de> for Names {
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

        d.deserialize_any(Names)
    }
}
