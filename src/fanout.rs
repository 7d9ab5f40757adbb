//! Fan-out: from a publication to the members of its rooms, on this instance and the others.

pub mod batch;
pub mod cluster;
pub mod envelope;
pub mod index;
pub mod member;
pub mod membership;
pub mod redis;
pub mod remote;
pub mod router;
pub mod shard;
pub mod turn;
pub mod waits;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::publication::{Publication, Room};
use waits::{Place, WaitsAnswer, WaitsQuery};

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

/// Takes publications from every source but Redis and the bridge, and sends them on their way.
pub trait Publisher: Send + Sync + 'static {
    /// Delivers to the members here, and to the other instances through Redis. Publications that
    /// one task hands over one after the other reach a room in that order. The future ends
    /// within a bounded time; dropping it leaves open whether the publication was delivered.
    fn publish(&self, publication: Publication) -> BoxFuture<'_, Result<Receipt, PublishError>>;
}

/// What became of an accepted publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// How far it went.
    pub scope: Scope,
    /// How many members on this instance it was addressed to.
    pub members: usize,
}

/// How far a publication went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// To every instance that has members of its rooms.
    Cluster,
    /// To the members on this instance only: there is no Redis, or it is away.
    Local,
}

/// Why a publication was refused. Nothing was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Redis is away and `redis.whenDown` is `refuse`.
    #[error("not connected to Redis, and redis.whenDown is `refuse`")]
    RedisDown,
}

/// Questions and orders to the members on every instance.
///
/// The futures end at the requests' deadline; an instance that has not answered until then is
/// named in `unanswered` by its pod, the first 8 characters of its members' ids. Where another
/// instance cannot be asked, what is here is the answer.
pub trait ClusterQueries: Send + Sync + 'static {
    /// The occupied rooms whose names start with `prefix`.
    fn rooms<'a>(&'a self, namespace: &'a str, prefix: &'a str) -> BoxFuture<'a, RoomsAnswer>;

    /// The members of a room.
    fn members<'a>(&'a self, namespace: &'a str, room: &'a str) -> BoxFuture<'a, MembersAnswer>;

    /// The rooms that come first, by how long their deliveries waited in the last minute, by how
    /// many those were, or by members. Node servers are not asked: they measure nothing.
    fn busiest<'a>(&'a self, query: &'a WaitsQuery) -> BoxFuture<'a, WaitsAnswer>;

    /// What is known of one room, as [`ClusterQueries::busiest`] tells it.
    fn waits<'a>(&'a self, place: &'a Place, scope: Scope) -> BoxFuture<'a, WaitsAnswer>;

    /// Makes the selected members join `rooms`.
    fn join<'a>(
        &'a self,
        namespace: &'a str,
        of: &'a Selector,
        rooms: &'a [Room],
    ) -> BoxFuture<'a, Matched>;

    /// Makes the selected members leave `rooms`.
    fn leave<'a>(
        &'a self,
        namespace: &'a str,
        of: &'a Selector,
        rooms: &'a [Room],
    ) -> BoxFuture<'a, Matched>;

    /// Dismisses the selected members: their clients do not come back by themselves.
    fn disconnect<'a>(&'a self, namespace: &'a str, of: &'a Selector) -> BoxFuture<'a, Matched>;
}

/// The occupied rooms of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomsAnswer {
    /// How many members each room has.
    pub rooms: BTreeMap<Room, usize>,
    /// The pods that did not answer in time.
    pub unanswered: Vec<String>,
}

/// The members of a room, on every instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MembersAnswer {
    /// Each member once.
    pub members: Vec<MemberInfo>,
    /// The pods that did not answer in time.
    pub unanswered: Vec<String>,
}

/// How many members an order reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Matched {
    /// How many members were selected, on every instance that answered.
    pub matched: usize,
    /// The pods that did not answer in time.
    pub unanswered: Vec<String>,
}
