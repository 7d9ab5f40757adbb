//! [`Action`]: what a client event asks for.

use rookery_protocol::Room;

use crate::room_list::RoomList;

/// What a client event asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// To become a member of a room.
    Join {
        /// The room to join.
        room: Room,
    },
    /// To end a membership. Leaving a room that the client is not in succeeds.
    Leave {
        /// The room to leave.
        room: Room,
    },
    /// To become a member of several rooms.
    JoinAll {
        /// The rooms to join.
        rooms: RoomList,
    },
    /// To end several memberships.
    LeaveAll {
        /// The rooms to leave.
        rooms: RoomList,
    },
    /// To publish to a room, of which the client need not be a member. The arguments are those of
    /// [`Request::take_args`](crate::Request::take_args).
    Publish {
        /// The room to publish to.
        room: Room,
        /// The name of the event that members receive; never a reserved name.
        event: String,
        /// Whether the publication skips its own publisher.
        except_sender: bool,
    },
}
