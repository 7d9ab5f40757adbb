//! The [`Selector`] of members, and what others may know of a member.

use std::time::SystemTime;

use rookery_protocol::Room;

/// Chooses members of one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// No member.
    Nobody,
    /// The member with this public id.
    Member(String),
    /// Every member of this user.
    User(String),
    /// Members of any of `rooms` (empty: of the whole namespace) that are in none of `except`.
    /// A member's public id counts as a room that holds just that member.
    Rooms {
        /// The rooms whose members are selected; empty: the whole namespace.
        rooms: Vec<Room>,
        /// The rooms whose members are left out.
        except: Vec<Room>,
    },
}

impl Selector {
    /// The members of one room.
    pub fn room(room: impl Into<Room>) -> Self {
        Selector::Rooms { rooms: vec![room.into()], except: Vec::new() }
    }
}

/// What others may know of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberInfo {
    /// The id that others may see, by which they address it.
    pub id: String,
    /// Its user, where it presented a token.
    pub user: Option<String>,
    /// When it connected to the namespace. Unknown for members of Node servers.
    pub connected_at: Option<SystemTime>,
    /// The rooms it is in.
    pub rooms: Vec<Room>,
}
