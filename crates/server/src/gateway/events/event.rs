//! An [`Event`] of a client.

use rookery_protocol::Data;

/// An event as the client sent it.
pub struct Event {
    /// The event's name.
    pub name: String,
    /// The event's arguments.
    pub args: Vec<Data>,
    /// The id of the acknowledgement that the client asked for.
    pub ack: Option<u64>,
}
