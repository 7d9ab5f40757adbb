//! The commands to Redis that ended.

use crate::backplane::presence::PresenceError;
use crate::message::RoomKey;
use crate::rooms::hooks::record::Record;
use crate::rooms::hooks::room::{RecordWrite, Survey};

/// A command that ended.
pub(super) enum Done {
    /// About a room.
    Room(RoomKey, Box<RoomDone>),
    /// About an instance's list of rooms.
    List(Result<ListDone, PresenceError>),
    /// Occupants of an instance that is gone were removed.
    Removed(Result<u64, PresenceError>),
}

/// A step of a room that ended.
pub(super) enum RoomDone {
    Held(Result<bool, PresenceError>),
    Loaded(Result<Option<Record>, PresenceError>),
    Surveyed(Result<Survey, PresenceError>),
    Written(RecordWrite, Result<Option<Record>, PresenceError>),
    Cleared(Vec<u64>, Result<(), PresenceError>),
}

/// What came of a command about a list.
pub(super) enum ListDone {
    /// The instances that have lists.
    Announced(Vec<String>),
    /// Some rooms of an instance that is gone are in this one's list; none: it had no more.
    Taken(String, Vec<RoomKey>),
}
