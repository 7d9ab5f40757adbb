//! [`Cluster`]: what the HTTP API asks of the broker.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::broker::{ClusterQueries, Matched, MembersAnswer, Publisher, RoomsAnswer};
use crate::message::{Publication, PublishError, Receipt, Scope, Selector};
use crate::rooms::waits::{Place, WaitsAnswer, WaitsQuery};
use rookery_protocol::Room;

/// Publishes to members on every instance, and queries and changes them. A trait because the
/// API's tests run without a broker.
///
/// Every future ends by a deadline. An instance that has not answered a query by then is listed in
/// `unanswered` by its pod id. Queries that cannot reach other instances are answered for this
/// one.
pub trait Cluster: Send + Sync + 'static {
    /// Delivers to the members here and sends to the other instances. Publications that are
    /// awaited one after the other reach a room in that order. A dropped future may leave the
    /// publication delivered in part.
    fn publish(&self, publication: Publication) -> BoxFuture<'_, Result<Receipt, PublishError>>;

    /// The rooms with members whose names start with `prefix`.
    fn rooms<'a>(&'a self, namespace: &'a str, prefix: &'a str) -> BoxFuture<'a, RoomsAnswer>;

    /// The members of a room.
    fn members<'a>(&'a self, namespace: &'a str, room: &'a str) -> BoxFuture<'a, MembersAnswer>;

    /// The first rooms by latency, rate or members over the last minute. Node servers are not
    /// asked.
    fn rank_rooms<'a>(&'a self, query: &'a WaitsQuery) -> BoxFuture<'a, WaitsAnswer>;

    /// The figures of one room over the last minute.
    fn room_latency<'a>(&'a self, room: &'a Place, scope: Scope) -> BoxFuture<'a, WaitsAnswer>;

    /// Adds the selected members to `rooms`.
    fn join<'a>(
        &'a self,
        namespace: &'a str,
        members: &'a Selector,
        rooms: &'a [Room],
    ) -> BoxFuture<'a, Matched>;

    /// Removes the selected members from `rooms`.
    fn leave<'a>(
        &'a self,
        namespace: &'a str,
        members: &'a Selector,
        rooms: &'a [Room],
    ) -> BoxFuture<'a, Matched>;

    /// Disconnects the selected members. Their clients do not reconnect by themselves.
    fn disconnect<'a>(
        &'a self,
        namespace: &'a str,
        members: &'a Selector,
    ) -> BoxFuture<'a, Matched>;
}

/// The [`Cluster`] behind the HTTP API of a running server.
pub struct BrokerCluster {
    /// Takes publications.
    pub publisher: Arc<dyn Publisher>,
    /// Answers queries and carries out membership changes.
    pub queries: Arc<dyn ClusterQueries>,
}

impl Cluster for BrokerCluster {
    fn publish(&self, publication: Publication) -> BoxFuture<'_, Result<Receipt, PublishError>> {
        self.publisher.publish(publication)
    }

    fn rooms<'a>(&'a self, namespace: &'a str, prefix: &'a str) -> BoxFuture<'a, RoomsAnswer> {
        self.queries.rooms(namespace, prefix)
    }

    fn members<'a>(&'a self, namespace: &'a str, room: &'a str) -> BoxFuture<'a, MembersAnswer> {
        self.queries.members(namespace, room)
    }

    fn rank_rooms<'a>(&'a self, query: &'a WaitsQuery) -> BoxFuture<'a, WaitsAnswer> {
        self.queries.busiest(query)
    }

    fn room_latency<'a>(&'a self, room: &'a Place, scope: Scope) -> BoxFuture<'a, WaitsAnswer> {
        self.queries.waits(room, scope)
    }

    fn join<'a>(
        &'a self,
        namespace: &'a str,
        members: &'a Selector,
        rooms: &'a [Room],
    ) -> BoxFuture<'a, Matched> {
        self.queries.join(namespace, members, rooms)
    }

    fn leave<'a>(
        &'a self,
        namespace: &'a str,
        members: &'a Selector,
        rooms: &'a [Room],
    ) -> BoxFuture<'a, Matched> {
        self.queries.leave(namespace, members, rooms)
    }

    fn disconnect<'a>(
        &'a self,
        namespace: &'a str,
        members: &'a Selector,
    ) -> BoxFuture<'a, Matched> {
        self.queries.disconnect(namespace, members)
    }
}
