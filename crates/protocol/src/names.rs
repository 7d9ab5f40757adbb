//! Names of events and rooms, and their restrictions.

use std::sync::Arc;

/// The event names that Socket.IO reserves, which cannot be published.
///
/// Source: Socket.IO documentation, "Emit cheatsheet", reserved events.
pub const RESERVED_EVENTS: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// The longest name of a room, in bytes.
pub const MAX_ROOM_BYTES: usize = 255;

/// The name of a room within a namespace. Cloning is shallow.
pub type Room = Arc<str>;
