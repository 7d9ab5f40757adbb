//! Rooms of this instance: who is in them, and delivery to their members.

pub mod batch;
pub mod envelope;
pub mod index;
pub mod member;
pub mod membership;
pub mod router;
pub mod shard;
pub mod waits;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use rookery_protocol::Room;

use crate::message::{MemberInfo, Publication, Selector};
use waits::Place;

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

    /// The rooms of these namespaces with the most members in one shard: at most `most` of each
    /// shard, with how many members they have in those that name them.
    fn crowded<'a>(
        &'a self,
        namespaces: &'a [Arc<str>],
        most: usize,
    ) -> BoxFuture<'a, Vec<(Place, usize)>>;

    /// How many members each of these rooms has here.
    fn occupancy(&self, places: Arc<[Place]>) -> BoxFuture<'_, Vec<usize>>;

    /// Makes the selected members join `rooms`; gives how many are in them now. A member that
    /// would be in more rooms than allowed joins none.
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
