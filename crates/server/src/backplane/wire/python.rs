//! Messages of python-socketio's `RedisManager` with `write_only=True`, as JSON: `{method, …}`.
//!
//! Source: python-socketio 5.18, `pubsub_manager.py` (the methods and their fields, `_handle_emit`)
//! and `redis_manager.py` (JSON on one channel). Versions before 5.14 pickle, which is not read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_PAD_INDIFFERENT;
use bytes::Bytes;
use rookery_protocol::msgpack::{MAX_DEPTH, WireError};
use rookery_protocol::packet::check_args;
use rookery_protocol::{Data, Room};

use super::classic::{self, Broadcast, text};
use super::encoding::read_json;
use super::requests::Ask;
use crate::message::Selector;

/// What a message orders.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// An event for clients.
    Emit(Broadcast),
    /// A change of members in a namespace.
    Members {
        /// The namespace.
        namespace: String,
        /// What becomes of them; nobody waits for an answer.
        ask: Ask,
    },
    /// The answer to an acknowledgement, for Python servers alone.
    Callback,
}

/// Reads a message. Never panics, whatever the bytes.
///
/// # Errors
/// See [`WireError`].
pub fn decode(bytes: &[u8]) -> Result<Order, WireError> {
    let message = read_json(bytes, MAX_DEPTH)?;
    let field = |key: &str| message.get(key).cloned().and_then(text);
    let namespace = field("namespace").unwrap_or_else(|| "/".to_owned());
    let member = || field("sid").map(Selector::Member).ok_or(WireError::Shape("no sid"));
    let room = || field("room").map(Room::from).ok_or(WireError::Shape("no room"));
    let ask = match message.get("method").and_then(Data::as_str) {
        Some("emit") => return emit(&message, namespace).map(Order::Emit),
        Some("callback") => return Ok(Order::Callback),
        Some("enter_room") => Ask::Join(member()?, vec![room()?]),
        Some("leave_room") => Ask::Leave(member()?, vec![room()?]),
        Some("close_room") => Ask::Leave(Selector::room(room()?), vec![room()?]),
        Some("disconnect") => Ask::Disconnect(member()?, false),
        _ => return Err(WireError::Shape("unknown method of python-socketio")),
    };
    Ok(Order::Members { namespace, ask })
}

fn emit(message: &Data, namespace: String) -> Result<Broadcast, WireError> {
    let rooms = match message.get("room") {
        None | Some(Data::Null) => Vec::new(),
        Some(room) => match names(room) {
            named if named.is_empty() => return Err(WireError::Shape("room names no room")),
            named => named,
        },
    };
    let args = arguments(message)?;
    check_args(&args).map_err(|_| WireError::Shape("arguments that no client can be sent"))?;
    let field = |key: &str| message.get(key).cloned().and_then(text);
    Ok(Broadcast {
        uid: field("host_id").unwrap_or_default(),
        namespace,
        event: field("event").ok_or(WireError::Shape("no event name"))?,
        args,
        rooms,
        except: message.get("skip_sid").map(names).unwrap_or_default(),
        volatile: false,
        compress: true,
        timeout: None,
        origin: None,
        id: None,
        traceparent: None,
        sequence: None,
    })
}

/// One name, or a list of them.
fn names(of: &Data) -> Vec<Room> {
    match of {
        Data::Array(_) => classic::rooms(Some(of)),
        name => text(name.clone()).map(Room::from).into_iter().collect(),
    }
}

/// The arguments: `data`, or with `binary` its first item, in which the others replace placeholders.
fn arguments(message: &Data) -> Result<Vec<Data>, WireError> {
    let Some(Data::Array(mut data)) = message.get("data").cloned() else {
        return Err(WireError::Shape("data is no list"));
    };
    if message.get("binary") == Some(&Data::Bool(true)) {
        let mut attachments = data.split_off(data.len().min(1)).into_iter();
        let attachments: Vec<Bytes> =
            attachments.by_ref().map(attachment).collect::<Result<_, _>>()?;
        let Some(Data::Array(mut args)) = data.pop() else {
            return Err(WireError::Shape("data holds no arguments"));
        };
        args.iter_mut().try_for_each(|arg| fill_in(arg, &attachments))?;
        data = args;
    }
    // `emit(event)` without data, which a Python server sends without arguments.
    Ok(if data == [Data::Null] { Vec::new() } else { data })
}

fn attachment(base64: Data) -> Result<Bytes, WireError> {
    let bytes = base64.as_str().and_then(|text| STANDARD_PAD_INDIFFERENT.decode(text).ok());
    bytes.map(Bytes::from).ok_or(WireError::Shape("an attachment is no base64"))
}

/// Puts attachments in the place of `{"_placeholder": true, "num": n}`.
fn fill_in(data: &mut Data, attachments: &[Bytes]) -> Result<(), WireError> {
    if data.get("_placeholder") == Some(&Data::Bool(true)) {
        let number = data.get("num").and_then(classic::number);
        let bytes = number.and_then(|n| attachments.get(usize::try_from(n).ok()?));
        *data = Data::Binary(bytes.ok_or(WireError::Shape("an attachment is missing"))?.clone());
        return Ok(());
    }
    match data {
        Data::Array(items) => items.iter_mut().try_for_each(|item| fill_in(item, attachments)),
        Data::Object(entries) => {
            entries.iter_mut().try_for_each(|(_, value)| fill_in(value, attachments))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
