//! Socket.IO packets, to and from text and binary attachments.
//!
//! Source: the Socket.IO protocol, revision 5 (<https://socket.io/docs/v4/socket-io-protocol/>);
//! where it is silent, `socket.io-parser` 4.2. Text here starts at the Socket.IO packet type,
//! without the Engine.IO `4` before it. Revision 4 (Socket.IO 2) has the same form.

use bytes::Bytes;

use crate::data::Data;
use crate::names::RESERVED_EVENTS;

mod args;
mod error;
mod head;
mod json;
mod length;
pub mod msgpack;
mod write;

pub use args::{ArgsError, check_args};
pub use error::{MAX_ATTACHMENTS, PacketError};
pub use head::{PacketHead, PacketType};
pub(crate) use write::Message;

/// A Socket.IO packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Packet {
    /// The namespace, with its leading slash. Clients of Socket.IO 2 may append a query to it in
    /// [`Body::Connect`].
    pub namespace: String,
    /// The acknowledgement's id: an event that has one requests an acknowledgement, which has the
    /// id of its event.
    pub id: Option<u64>,
    /// The content of the packet, by its type.
    pub body: Body,
}

/// The content of a packet.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// A client asks for a namespace, with its auth object, or the server grants it.
    Connect(Option<Data>),
    /// Either side leaves the namespace.
    Disconnect,
    /// An event, with or without binary arguments.
    Event {
        /// The name, which is the first element of the packet's array. A number is taken as text.
        event: String,
        /// The arguments, which follow the name.
        args: Vec<Data>,
    },
    /// The acknowledgement of an event, with its arguments.
    Ack(Vec<Data>),
    /// The server refuses the namespace, with an object or text.
    ConnectError(Data),
}

/// Encodes an event as text, and its binary values in the order of their placeholders.
///
/// With an `id`, the receiver is asked for an acknowledgement. The name is not checked against
/// [`RESERVED_EVENTS`], which stock clients refuse.
pub fn encode_event(
    namespace: &str,
    id: Option<u64>,
    event: &str,
    args: &[Data],
) -> (String, Vec<Bytes>) {
    encode(Message { namespace, id, event: Some(event) }, args)
}

/// Encodes the acknowledgement of the event with `id`.
pub fn encode_ack(namespace: &str, id: u64, args: &[Data]) -> (String, Vec<Bytes>) {
    encode(Message { namespace, id: Some(id), event: None }, args)
}

fn encode(message: Message<'_>, args: &[Data]) -> (String, Vec<Bytes>) {
    let (text, attachments) = message.encode(b"", args.iter().map(Into::into));
    (write::text(text), attachments)
}

/// Encodes a CONNECT: a client's with its auth object, a server's with `{sid}`. Binary values have
/// no form there and are written as `null`.
pub fn encode_connect(namespace: &str, payload: Option<&Data>) -> String {
    write::control(b'0', namespace, payload)
}

/// Encodes a CONNECT_ERROR. Revision 5 expects `{message, data?}`, revision 4 the bare data.
pub fn encode_connect_error(namespace: &str, payload: &Data) -> String {
    write::control(b'4', namespace, Some(payload))
}

/// Encodes a DISCONNECT.
pub fn encode_disconnect(namespace: &str) -> String {
    write::control(b'1', namespace, None)
}

/// The number of binary attachments that complete the packet of this text; 0 for types that have
/// none.
///
/// # Errors
/// See [`PacketHead::parse`].
pub fn announced_attachments(text: &str) -> Result<usize, PacketError> {
    Ok(PacketHead::parse(text)?.attachments)
}

/// Decodes a packet from its text and all of its attachments. Nesting is bounded at 128 levels.
///
/// # Errors
/// Fails wherever a stock server closes the connection; see [`PacketError`].
pub fn decode(text: &str, attachments: &[Bytes]) -> Result<Packet, PacketError> {
    let head = PacketHead::parse(text)?;
    if head.attachments != attachments.len() {
        return Err(PacketError::AttachmentCount {
            announced: head.attachments,
            given: attachments.len(),
        });
    }
    let body = match head.kind {
        PacketType::Event | PacketType::BinaryEvent if !head.payload.is_empty() => {
            let attachments = head.kind.is_binary().then_some(attachments);
            let (event, args) = decode_event(head.payload, attachments)?;
            Body::Event { event, args }
        }
        kind => {
            let payload = match head.payload {
                "" => None,
                text => Some(json::value(text, kind.is_binary().then_some(attachments))?),
            };
            body(kind, payload)?
        }
    };
    Ok(Packet { namespace: head.namespace.to_owned(), id: head.id, body })
}

/// Decodes the name and the arguments of an event from its JSON array and all of its attachments,
/// for callers that have parsed the packet's head. Without `attachments`, placeholders are plain
/// objects.
///
/// # Errors
/// As [`decode`].
pub fn decode_event(
    array: &str,
    attachments: Option<&[Bytes]>,
) -> Result<(String, Vec<Data>), PacketError> {
    let (name, args) = json::event(array, attachments)?;
    if RESERVED_EVENTS.contains(&name.as_str()) {
        return Err(PacketError::Reserved(name));
    }
    Ok((name, args))
}

/// Decodes the arguments of an acknowledgement from its JSON array and all of its attachments, as
/// [`decode_event`].
///
/// # Errors
/// As [`decode`].
pub fn decode_ack(array: &str, attachments: Option<&[Bytes]>) -> Result<Vec<Data>, PacketError> {
    match json::value(array, attachments)? {
        Data::Array(args) => Ok(args),
        _ => Err(PacketError::Payload("an array")),
    }
}

/// Decodes a value without attachments from its JSON, such as the auth object of a CONNECT.
///
/// # Errors
/// Fails if it is not JSON or nests too deep.
pub fn decode_value(text: &str) -> Result<Data, PacketError> {
    json::value(text, None)
}

fn body(kind: PacketType, payload: Option<Data>) -> Result<Body, PacketError> {
    use PacketType as Kind;
    match (kind, payload) {
        (Kind::Connect, payload @ (None | Some(Data::Object(_)))) => Ok(Body::Connect(payload)),
        (Kind::Connect, _) => Err(PacketError::Payload("an object or nothing")),
        (Kind::Disconnect, None) => Ok(Body::Disconnect),
        (Kind::Disconnect, _) => Err(PacketError::Payload("nothing")),
        (Kind::ConnectError, Some(error @ (Data::Object(_) | Data::String(_)))) => {
            Ok(Body::ConnectError(error))
        }
        (Kind::ConnectError, _) => Err(PacketError::Payload("an object or a text")),
        (Kind::Ack | Kind::BinaryAck, Some(Data::Array(args))) => Ok(Body::Ack(args)),
        (Kind::Ack | Kind::BinaryAck, _) => Err(PacketError::Payload("an array")),
        (Kind::Event | Kind::BinaryEvent, _) => Err(PacketError::Payload(json::EVENT)),
    }
}

#[cfg(test)]
mod tests;
