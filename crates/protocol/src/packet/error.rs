//! [`PacketError`]: why text and attachments are not a packet.

use crate::msgpack::WireError;

/// The most attachments of one packet, as in `socket.io-parser`.
pub const MAX_ATTACHMENTS: usize = 10;

/// Why text and attachments are not a packet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// The first character is none of the packet types 0 to 6.
    #[error("unknown packet type")]
    UnknownType,
    /// The number of attachments is malformed.
    #[error("malformed packet header: {0}")]
    Header(&'static str),
    /// The head announces more than [`MAX_ATTACHMENTS`] attachments.
    #[error("more than {MAX_ATTACHMENTS} attachments")]
    TooManyAttachments,
    /// The number of attachments given differs from the number announced.
    #[error("{announced} attachments announced, {given} given")]
    AttachmentCount {
        /// The number in the packet's head.
        announced: usize,
        /// The number of attachments that came with the text.
        given: usize,
    },
    /// Another packet comes before all attachments of one that announced them.
    #[error("expected an attachment, found another packet")]
    AttachmentExpected,
    /// The attachments of a packet are together longer than the limit.
    #[error("the attachments are longer than the limit")]
    AttachmentsTooLong,
    /// An attachment that came as text is not base64.
    #[error("an attachment is not base64")]
    Base64,
    /// A placeholder has no number, or the number of no attachment.
    #[error("a placeholder points at no attachment")]
    Placeholder,
    /// The payload is not JSON, nests too deep, or has a number out of range.
    #[error("the payload is not JSON: {0}")]
    Json(String),
    /// The payload is JSON, but not of the form that the packet's type requires.
    #[error("the payload does not fit the packet: expected {0}")]
    Payload(&'static str),
    /// The bytes are not the MessagePack of a packet.
    #[error("the packet is not MessagePack: {0}")]
    Msgpack(WireError),
    /// A packet came as text, where clients write packets in MessagePack.
    #[error("the packet is text, but `socketio.parser` is msgpack")]
    Text,
    /// Socket.IO reserves the event's name.
    #[error("`{0}` is a reserved event name")]
    Reserved(String),
}

impl PacketError {
    /// A short name of the error, for logs and metrics.
    pub fn label(&self) -> &'static str {
        match self {
            PacketError::UnknownType => "unknown_type",
            PacketError::Header(_) => "header",
            PacketError::TooManyAttachments
            | PacketError::AttachmentCount { .. }
            | PacketError::AttachmentExpected
            | PacketError::AttachmentsTooLong
            | PacketError::Base64 => "attachments",
            PacketError::Placeholder => "placeholder",
            PacketError::Json(_) => "json",
            PacketError::Payload(_) => "payload",
            PacketError::Msgpack(_) | PacketError::Text => "msgpack",
            PacketError::Reserved(_) => "reserved",
        }
    }
}
