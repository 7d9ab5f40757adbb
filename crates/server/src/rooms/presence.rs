//! Presence: who is in a room, as its members are told.
//!
//! A member that joins a room with presence holds a [`Lease`](registry::Lease) in the
//! [`PresenceRegistry`](registry::PresenceRegistry), which knows the occupants on this instance. A
//! [`RoomView`](view::RoomView) joins them with those of other instances, and says who joined and
//! left. Shards hold the [`Roster`](occupant::Roster) of each of their rooms, from which a join is
//! answered.

pub mod occupant;
pub mod registry;
pub mod view;
