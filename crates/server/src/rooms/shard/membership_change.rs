//! The [`MembershipChange`] that a join or leave came to.

/// What a join or leave came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MembershipChange {
    /// It is made.
    Done,
    /// The member would be in more rooms than `limits.roomsPerClient`; nothing changed.
    TooManyRooms,
}
