//! The [`Parser`]: the form in which clients and server write Socket.IO packets.

/// The form of Socket.IO packets, which client and server must agree on beforehand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Parser {
    /// Text with attachments, as `socket.io-parser` writes it.
    #[default]
    Json,
    /// MessagePack, as `socket.io-msgpack-parser` writes it: one binary message a packet.
    Msgpack,
}
