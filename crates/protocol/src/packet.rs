//! Socket.IO packets: an event or an answer with its arguments, to and from text and attachments.
//!
//! Source: the Socket.IO protocol, revision 5 (<https://socket.io/docs/v4/socket-io-protocol/>);
//! where it is silent, `socket.io-parser` 4.2. Text here starts at the Socket.IO packet type:
//! the Engine.IO `4` before it is the transport's. Revision 4 (Socket.IO 2) writes the same.

use bytes::Bytes;

use crate::Data;
use crate::RESERVED_EVENTS;

mod parse;
mod write;

/// The most attachments of one packet, as `socket.io-parser` has it.
pub const MAX_ATTACHMENTS: usize = 10;

/// A Socket.IO packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Packet {
    /// The namespace, with its leading slash. Clients of Socket.IO 2 may append a query to it in
    /// [`Body::Connect`].
    pub namespace: String,
    /// The acknowledgement's id: an event that has one wants an answer, an answer has the event's.
    pub id: Option<u64>,
    /// What it says.
    pub body: Body,
}

/// What a packet says.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// A client asks for a namespace (with its auth object), or the server grants it.
    Connect(Option<Data>),
    /// Either side leaves the namespace.
    Disconnect,
    /// An event, with or without binary arguments.
    Event {
        /// Its name: the first element of what was sent. A number is taken as text.
        event: String,
        /// Its arguments, after the name.
        args: Vec<Data>,
    },
    /// The answer to an event that had an id.
    Ack(Vec<Data>),
    /// The server refuses the namespace: an object or a text.
    ConnectError(Data),
}

/// Why text and attachments are no packet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// The first character is none of the packet types 0 to 6.
    #[error("unknown packet type")]
    UnknownType,
    /// The number of attachments, the namespace or the id is malformed.
    #[error("malformed packet header: {0}")]
    Header(&'static str),
    /// More attachments than [`MAX_ATTACHMENTS`].
    #[error("more than {MAX_ATTACHMENTS} attachments")]
    TooManyAttachments,
    /// The number of attachments given is not the number announced.
    #[error("{announced} attachments announced, {given} given")]
    AttachmentCount {
        /// What the text said.
        announced: usize,
        /// What came with it.
        given: usize,
    },
    /// A placeholder has no number, or one that no attachment has.
    #[error("a placeholder points at no attachment")]
    Placeholder,
    /// The payload is not JSON, nests too deeply, or has a number out of range.
    #[error("the payload is not JSON: {0}")]
    Json(String),
    /// The payload is JSON, but not what this packet type carries.
    #[error("the payload does not fit the packet: expected {0}")]
    Payload(&'static str),
    /// The event's name belongs to Socket.IO itself.
    #[error("`{0}` is a reserved event name")]
    Reserved(String),
}

impl PacketError {
    /// A short name for logs and counters.
    pub fn label(&self) -> &'static str {
        match self {
            PacketError::UnknownType => "unknown_type",
            PacketError::Header(_) => "header",
            PacketError::TooManyAttachments | PacketError::AttachmentCount { .. } => "attachments",
            PacketError::Placeholder => "placeholder",
            PacketError::Json(_) => "json",
            PacketError::Payload(_) => "payload",
            PacketError::Reserved(_) => "reserved",
        }
    }
}

/// An event as text, and its binary values in the order of their placeholders.
///
/// With `id` the receiver is asked for an answer. The name is not checked against
/// [`RESERVED_EVENTS`]; stock clients refuse those.
pub fn encode_event(
    namespace: &str,
    id: Option<u64>,
    event: &str,
    args: &[Data],
) -> (String, Vec<Bytes>) {
    let mut text = String::new();
    let attachments = write_event(&mut text, namespace, id, event, args);
    (text, attachments)
}

/// As [`encode_event`], appended to `out`: for a caller that has the transport's prefix there.
pub fn write_event(
    out: &mut String,
    namespace: &str,
    id: Option<u64>,
    event: &str,
    args: &[Data],
) -> Vec<Bytes> {
    write::message(out, ('2', '5'), namespace, id, Some(event), args)
}

/// The answer to the event that had `id`, as text, and its attachments.
pub fn encode_ack(namespace: &str, id: u64, args: &[Data]) -> (String, Vec<Bytes>) {
    let mut text = String::new();
    let attachments = write_ack(&mut text, namespace, id, args);
    (text, attachments)
}

/// As [`encode_ack`], appended to `out`.
pub fn write_ack(out: &mut String, namespace: &str, id: u64, args: &[Data]) -> Vec<Bytes> {
    write::message(out, ('3', '6'), namespace, Some(id), None, args)
}

/// A CONNECT: a client's with its auth object, a server's with `{sid}`. Binary values in it have
/// no form here and are written as `null`.
pub fn encode_connect(namespace: &str, payload: Option<&Data>) -> String {
    write::control('0', namespace, payload)
}

/// A CONNECT_ERROR. Revision 5 expects `{message, data?}`, revision 4 the bare data.
pub fn encode_connect_error(namespace: &str, payload: &Data) -> String {
    write::control('4', namespace, Some(payload))
}

/// Whether these arguments have more binary values than a packet may have attachments: stock
/// clients close their connection on such a packet.
pub fn too_many_binaries(args: &[Data]) -> bool {
    args.iter().map(Data::binaries).sum::<usize>() > MAX_ATTACHMENTS
}

/// A DISCONNECT.
pub fn encode_disconnect(namespace: &str) -> String {
    write::control('1', namespace, None)
}

/// How many binary frames follow this text before the packet is whole: 0 for plain packets.
///
/// # Errors
/// When the type is unknown, or the number malformed or above [`MAX_ATTACHMENTS`].
pub fn announced_attachments(text: &str) -> Result<usize, PacketError> {
    Ok(parse::header(text)?.attachments)
}

/// A packet from its text and all of its attachments.
///
/// # Errors
/// Whatever a stock server closes the connection for; see [`PacketError`]. Nesting is bounded (128 levels).
pub fn decode(text: &str, attachments: &[Bytes]) -> Result<Packet, PacketError> {
    let header = parse::header(text)?;
    if header.attachments != attachments.len() {
        return Err(PacketError::AttachmentCount {
            announced: header.attachments,
            given: attachments.len(),
        });
    }
    let payload = match header.payload {
        "" => None,
        json => Some(parse::json(json, header.kind.is_binary().then_some(attachments))?),
    };
    let body = body(header.kind, payload)?;
    Ok(Packet { namespace: header.namespace.to_owned(), id: header.id, body })
}

/// The name and the arguments of an event, from its JSON array and all of its attachments:
/// for a caller whose engine has read the rest of the packet.
///
/// # Errors
/// As [`decode`].
pub fn decode_event(
    array: &str,
    attachments: Option<&[Bytes]>,
) -> Result<(String, Vec<Data>), PacketError> {
    let items = match parse::json(array, attachments)? {
        Data::Array(items) => items,
        _ => return Err(PacketError::Payload("an array that starts with the event's name")),
    };
    match event(items)? {
        Body::Event { event, args } => Ok((event, args)),
        _ => Err(PacketError::Payload("an event")),
    }
}

/// A value from its JSON, without attachments, such as the auth object of a connect.
///
/// # Errors
/// When it is no JSON, or nested too deeply.
pub fn decode_value(json: &str) -> Result<Data, PacketError> {
    parse::json(json, None)
}

fn body(kind: parse::Kind, payload: Option<Data>) -> Result<Body, PacketError> {
    use parse::Kind;
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
        (Kind::Event | Kind::BinaryEvent, Some(Data::Array(items))) => event(items),
        (Kind::Event | Kind::BinaryEvent, _) => {
            Err(PacketError::Payload("an array that starts with the event's name"))
        }
    }
}

fn event(mut items: Vec<Data>) -> Result<Body, PacketError> {
    let name = match items.first_mut() {
        Some(Data::String(name)) => std::mem::take(name),
        Some(Data::Number(number)) => number.to_string(),
        _ => return Err(PacketError::Payload("an array that starts with the event's name")),
    };
    if RESERVED_EVENTS.contains(&name.as_str()) {
        return Err(PacketError::Reserved(name));
    }
    items.remove(0);
    Ok(Body::Event { event: name, args: items })
}

#[cfg(test)]
mod tests;
