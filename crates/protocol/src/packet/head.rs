//! [`PacketHead`]: what comes before the JSON of a packet.

use super::error::{MAX_ATTACHMENTS, PacketError};

/// A packet's type, in the order of its digits (Socket.IO protocol, revision 5, "Packet encoding").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketType {
    /// 0: a client asks for a namespace, or the server grants it.
    Connect,
    /// 1: either side leaves the namespace.
    Disconnect,
    /// 2: an event without attachments.
    Event,
    /// 3: the acknowledgement of an event, without attachments.
    Ack,
    /// 4: the server refuses the namespace.
    ConnectError,
    /// 5: an event with attachments.
    BinaryEvent,
    /// 6: the acknowledgement of an event, with attachments.
    BinaryAck,
}

impl PacketType {
    fn from_digit(digit: u8) -> Option<Self> {
        Some(match digit {
            b'0' => PacketType::Connect,
            b'1' => PacketType::Disconnect,
            b'2' => PacketType::Event,
            b'3' => PacketType::Ack,
            b'4' => PacketType::ConnectError,
            b'5' => PacketType::BinaryEvent,
            b'6' => PacketType::BinaryAck,
            _ => return None,
        })
    }

    /// Whether it is an event or an acknowledgement.
    pub fn is_event(self) -> bool {
        matches!(self, PacketType::Event | PacketType::Ack) || self.is_binary()
    }

    /// Whether attachments follow packets of this type.
    pub fn is_binary(self) -> bool {
        matches!(self, PacketType::BinaryEvent | PacketType::BinaryAck)
    }
}

/// The head of a packet: `<type>[<attachments>-][/<namespace>,][<id>]`, and the JSON after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketHead<'a> {
    /// The packet's type.
    pub kind: PacketType,
    /// The number of binary attachments that follow the text, at most [`MAX_ATTACHMENTS`]; 0 for
    /// types that have none.
    pub attachments: usize,
    /// The namespace with its leading slash; `/` if the packet names none. Clients of Socket.IO 2
    /// may append a query to it.
    pub namespace: &'a str,
    /// The acknowledgement's id, if the packet has one. An id that does not fit into 64 bits is
    /// taken for none, so the event is handled and gets no acknowledgement: `socket.io-parser`
    /// accepts it too, and answers with a rounded id, which the client does not know.
    pub id: Option<u64>,
    /// The JSON after the head; empty if there is none. It has not been parsed.
    pub payload: &'a str,
}

impl<'a> PacketHead<'a> {
    /// Takes the query off the namespace, which clients of Socket.IO 2 append to it (`/admin?a=b`):
    /// the namespace is what comes before it, as in Node's server for Engine.IO 3.
    pub fn split_query(&mut self) -> Option<&'a str> {
        let (namespace, query) = self.namespace.split_once('?')?;
        self.namespace = namespace;
        Some(query)
    }

    /// Splits a packet's text, which starts at the Socket.IO packet type, into head and JSON.
    ///
    /// # Errors
    /// Fails if the type is unknown, the number of attachments is malformed, or there are more than
    /// [`MAX_ATTACHMENTS`].
    pub fn parse(text: &'a str) -> Result<Self, PacketError> {
        let digit = text.bytes().next();
        let kind = digit.and_then(PacketType::from_digit).ok_or(PacketError::UnknownType)?;
        let mut rest = &text[1..];
        let mut attachments = 0;
        if kind.is_binary() {
            let (count, after) = digits(rest);
            rest = after
                .strip_prefix('-')
                .filter(|_| !count.is_empty())
                .ok_or(PacketError::Header("expected the number of attachments and `-`"))?;
            attachments = count
                .parse()
                .ok()
                .filter(|n| *n <= MAX_ATTACHMENTS)
                .ok_or(PacketError::TooManyAttachments)?;
        }
        let mut namespace = "/";
        if rest.starts_with('/') {
            (namespace, rest) = rest.split_once(',').unwrap_or((rest, ""));
        }
        let (id, payload) = digits(rest);
        // Only digits, so it fails for the empty text and for an id that is too large.
        let id = id.parse().ok();
        Ok(PacketHead { kind, attachments, namespace, id, payload })
    }
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}
