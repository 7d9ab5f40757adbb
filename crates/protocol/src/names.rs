//! Names of events and rooms, and which of them are allowed.

use std::sync::Arc;

/// Event names that Socket.IO reserves for itself; nobody may publish them.
///
/// Source: Socket.IO documentation, "Emit cheatsheet", reserved events.
pub const RESERVED_EVENTS: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// The longest room name, in bytes.
pub const MAX_ROOM_BYTES: usize = 255;

/// The name of a room within a namespace. Cloning is shallow.
pub type Room = Arc<str>;
