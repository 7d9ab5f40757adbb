//! [`Reply`]: what the backend answers with. Pure.

use rookery_protocol::json::parse_json;
use rookery_protocol::packet::check_args;
use rookery_protocol::{Data, MAX_ROOM_BYTES, RESERVED_EVENTS, Room};

/// Events and publications that one reply may have, of each.
pub const MAX_ITEMS: usize = 1000;

/// The message of an `error` without one.
const REFUSED: &str = "refused by the application";

/// What the backend asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    /// Events for the client, in this order.
    pub emit: Vec<Emit>,
    /// Rooms that the client joins.
    pub join: Vec<Room>,
    /// Rooms that the client leaves, before it joins others.
    pub leave: Vec<Room>,
    /// The arguments of the acknowledgement.
    pub ack: Option<Vec<Data>>,
    /// Publications, in this order.
    pub publish: Vec<Publish>,
    /// The client is disconnected from its namespace.
    pub disconnect: bool,
    /// The client or its event is refused: nothing else of the reply is carried out.
    pub error: Option<ReplyError>,
}

/// An event for the client.
#[derive(Clone, Debug, PartialEq)]
pub struct Emit {
    /// The event's name; not one that Socket.IO reserves.
    pub event: String,
    /// The event's arguments.
    pub args: Vec<Data>,
}

/// A publication.
#[derive(Clone, Debug, PartialEq)]
pub struct Publish {
    /// The room whose members get it.
    pub room: Room,
    /// Members of these rooms do not get it; a member's id is a room.
    pub except: Vec<Room>,
    /// The event's name; not one that Socket.IO reserves.
    pub event: String,
    /// The event's arguments.
    pub args: Vec<Data>,
    /// It is for members that can take it at once.
    pub volatile: bool,
    /// It may be compressed.
    pub compress: bool,
}

/// Why the backend refuses.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplyError {
    /// The explanation for people.
    pub message: String,
    /// Whatever the application wants its client to know.
    pub data: Option<Data>,
}

/// Why a reply is not valid: a sentence that names the field and holds nothing of its value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadReply(String);

type Parsed<T> = Result<T, BadReply>;

impl Reply {
    /// Parses the body of a response. An empty body is an empty reply; unknown fields are ignored,
    /// and a field that is `null` counts as absent.
    ///
    /// # Errors
    /// When it is no JSON object, or a field is not what it must be.
    pub fn parse(body: &[u8]) -> Parsed<Self> {
        if body.trim_ascii().is_empty() {
            return Ok(Reply::default());
        }
        let reply = parse_json(body).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            BadReply(format!("the reply is not valid JSON, at line {line}, column {column}"))
        })?;
        if !matches!(reply, Data::Object(_)) {
            return wrong("the reply", "a JSON object");
        }
        let error = field(&reply, "error").map(ReplyError::parse).transpose()?;
        Ok(Reply {
            emit: items(&reply, "emit", Emit::parse)?,
            join: items(&reply, "join", room)?,
            leave: items(&reply, "leave", room)?,
            ack: field(&reply, "ack").map(|ack| args(ack, "ack")).transpose()?,
            publish: items(&reply, "publish", Publish::parse)?,
            disconnect: flag(&reply, "disconnect", "", false)?,
            error,
        })
    }
}

impl Emit {
    fn parse(emit: &Data, at: &str) -> Parsed<Self> {
        Ok(Emit { event: event(emit, at)?, args: event_args(emit, at)? })
    }
}

impl Publish {
    fn parse(publish: &Data, at: &str) -> Parsed<Self> {
        let event = event(publish, at)?;
        let at_room = format!("{at}.room");
        let Some(to) = field(publish, "room") else { return wrong(&at_room, "the name of a room") };
        Ok(Publish {
            room: room(to, &at_room)?,
            except: items_at(publish, "except", &format!("{at}.except"), room)?,
            event,
            args: event_args(publish, at)?,
            volatile: flag(publish, "volatile", &format!("{at}."), false)?,
            compress: flag(publish, "compress", &format!("{at}."), true)?,
        })
    }
}

impl ReplyError {
    fn parse(error: &Data) -> Parsed<Self> {
        let message = match (error, field(error, "message")) {
            (Data::Object(_), None) => REFUSED.to_owned(),
            (Data::Object(_), Some(Data::String(message))) => message.to_string(),
            (Data::Object(_), Some(_)) => return wrong("error.message", "text"),
            (Data::String(message), _) => message.to_string(),
            _ => return wrong("error", "an object with a message"),
        };
        let data = field(error, "data");
        if let Some(data) = data {
            let checked = check_args(std::slice::from_ref(data));
            checked.map_err(|error| BadReply(format!("error.data: {error}")))?;
        }
        Ok(ReplyError { message, data: data.cloned() })
    }
}

fn wrong<T>(at: &str, expected: &str) -> Parsed<T> {
    Err(BadReply(format!("{at} is not {expected}")))
}

/// The value of a field that is neither absent nor `null`.
fn field<'a>(of: &'a Data, name: &str) -> Option<&'a Data> {
    of.get(name).filter(|value| **value != Data::Null)
}

fn items<T>(of: &Data, name: &str, parse: impl Fn(&Data, &str) -> Parsed<T>) -> Parsed<Vec<T>> {
    items_at(of, name, name, parse)
}

fn items_at<T>(
    of: &Data,
    name: &str,
    at: &str,
    parse: impl Fn(&Data, &str) -> Parsed<T>,
) -> Parsed<Vec<T>> {
    match field(of, name) {
        None => Ok(Vec::new()),
        Some(Data::Array(items)) if items.len() > MAX_ITEMS => {
            wrong(at, &format!("a list of at most {MAX_ITEMS}"))
        }
        Some(Data::Array(items)) => {
            let items = items.iter().enumerate();
            items.map(|(i, item)| parse(item, &format!("{at}[{i}]"))).collect()
        }
        Some(_) => wrong(at, "a list"),
    }
}

fn flag(of: &Data, name: &str, at: &str, default: bool) -> Parsed<bool> {
    match field(of, name) {
        None => Ok(default),
        Some(Data::Bool(flag)) => Ok(*flag),
        Some(_) => wrong(&format!("{at}{name}"), "true or false"),
    }
}

fn room(name: &Data, at: &str) -> Parsed<Room> {
    match name {
        Data::String(name) if !name.is_empty() && name.len() <= MAX_ROOM_BYTES => {
            Ok(name.as_str().into())
        }
        _ => wrong(at, &format!("the name of a room, of 1 to {MAX_ROOM_BYTES} bytes")),
    }
}

fn event(of: &Data, at: &str) -> Parsed<String> {
    match field(of, "event") {
        Some(Data::String(event)) if !RESERVED_EVENTS.contains(&event.as_str()) => {
            Ok(event.to_string())
        }
        _ => wrong(&format!("{at}.event"), "the name of an event that Socket.IO does not reserve"),
    }
}

fn event_args(of: &Data, at: &str) -> Parsed<Vec<Data>> {
    let given = field(of, "args").map(|given| args(given, &format!("{at}.args")));
    given.transpose().map(Option::unwrap_or_default)
}

fn args(of: &Data, at: &str) -> Parsed<Vec<Data>> {
    let Data::Array(args) = of else { return wrong(at, "a list") };
    check_args(args).map_err(|error| BadReply(format!("{at}: {error}")))?;
    Ok(args.clone())
}

#[cfg(test)]
mod tests;
