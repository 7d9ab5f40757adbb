//! The one place that knows both the rooms of this instance and the others.

pub mod cluster;
pub mod remote;
pub mod turn;

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use rookery_protocol::Room;
use serde::Serialize;
use utoipa::ToSchema;

use crate::message::{MemberInfo, Publication, PublishError, Receipt, Scope, Selector};
use crate::rooms::waits::{Place, WaitsAnswer, WaitsQuery};

/// Takes publications from every source but Redis and the bridge, and sends them on their way.
pub trait Publisher: Send + Sync + 'static {
    /// Delivers to the members here, and to the other instances through Redis. Publications that
    /// one task hands over one after the other reach a room in that order. The future ends
    /// within a bounded time; dropping it leaves open whether the publication was delivered.
    fn publish(&self, publication: Publication) -> BoxFuture<'_, Result<Receipt, PublishError>>;
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
