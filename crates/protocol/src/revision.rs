//! The [`Revision`] of the Engine.IO protocol.

/// The revision of the Engine.IO protocol that a session speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revision {
    /// Engine.IO 3: clients of Socket.IO 2.
    V3,
    /// Engine.IO 4: clients of Socket.IO 3 and 4.
    V4,
}
