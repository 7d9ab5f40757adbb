//! Fan-out: from a publication to the members of its rooms, on this instance and the others.

pub mod cluster;
pub mod redis;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::future::BoxFuture;

use crate::publication::{Publication, Room};

/// Chooses members of one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// The member with this public id.
    Member(String),
    /// Every member of this user.
    User(String),
    /// Members of any of `rooms` (empty: of the whole namespace) that are in none of `except`.
    /// A member's public id counts as a room that holds just that member.
    Rooms {
        /// Target rooms.
        rooms: Vec<Room>,
        /// Excepted rooms.
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
    /// Its public id: 20 characters, of which the first 8 name the pod.
    pub id: String,
    /// Its user, where it presented a token.
    pub user: Option<String>,
    /// When it connected to the namespace. Unknown for members of Node servers.
    pub connected_at: Option<SystemTime>,
    /// The rooms it is in.
    pub rooms: Vec<Room>,
}

/// The members on this instance, as the HTTP API and other instances' requests reach them.
///
/// Every call is answered by all shards; the futures wait for them, never for Redis.
pub trait LocalMembers: Send + Sync + 'static {
    /// Delivers to the members here; the future gives how many there were.
    fn deliver(&self, publication: Arc<Publication>) -> BoxFuture<'_, usize>;

    /// Delivers to the members here without waiting. False: the shards' queues are full and
    /// nothing was delivered; the caller counts the loss.
    fn try_deliver(&self, publication: Arc<Publication>) -> bool;

    /// The selected members.
    fn members<'a>(
        &'a self,
        namespace: &'a str,
        of: &'a Selector,
    ) -> BoxFuture<'a, Vec<MemberInfo>>;

    /// The occupied rooms whose names start with `prefix`, and how many members each has here.
    fn rooms<'a>(
        &'a self,
        namespace: &'a str,
        prefix: &'a str,
    ) -> BoxFuture<'a, BTreeMap<Room, usize>>;

    /// Makes the selected members join `rooms`; gives how many were selected.
    fn join<'a>(
        &'a self,
        namespace: &'a str,
        of: &'a Selector,
        rooms: &'a [Room],
    ) -> BoxFuture<'a, usize>;

    /// Makes the selected members leave `rooms`; gives how many were selected.
    fn leave<'a>(
        &'a self,
        namespace: &'a str,
        of: &'a Selector,
        rooms: &'a [Room],
    ) -> BoxFuture<'a, usize>;

    /// Dismisses the selected members: DISCONNECT first, so that their clients stay away, then,
    /// with `close`, the transport. Gives how many were selected.
    fn disconnect<'a>(
        &'a self,
        namespace: &'a str,
        of: &'a Selector,
        close: bool,
    ) -> BoxFuture<'a, usize>;
}
