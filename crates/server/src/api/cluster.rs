//! [`Cluster`]: what the HTTP API asks of the broker.

use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, TryFutureExt as _};

use crate::broker::{AckedReceipt, Broker, Matched, MembersAnswer, PresenceAnswer, RoomsAnswer};
use crate::message::{Publication, PublishError, Receipt, RoomKey, Scope, Selector};
use crate::rooms::ranking::{RoomRanking, RoomRankingQuery};
use rookery_protocol::Room;

/// Publishes to members on every instance, and queries and changes them. A trait because the
/// API's tests run without a broker.
///
/// Every future ends by a deadline. An instance that has not answered a query by then is listed in
/// `unanswered` by its pod id. Queries that cannot reach other instances are answered for this
/// one.
pub trait Cluster: Send + Sync + 'static {
    /// Delivers to the members here and sends to the other instances. Publications that are
    /// awaited one after the other reach a room in that order. A dropped future leaves open whether
    /// the publication was delivered.
    fn publish(&self, publication: Publication) -> BoxFuture<'_, Result<Receipt, PublishError>>;

    /// Like [`publish`](Cluster::publish), but ready as soon as the publication is accepted; the
    /// second future counts the recipients.
    fn accept(
        &self,
        publication: Publication,
    ) -> BoxFuture<'_, Result<BoxFuture<'static, Receipt>, PublishError>>;

    /// Delivers like [`publish`](Cluster::publish), and waits until every recipient has acknowledged
    /// the publication, at most for `patience`.
    fn publish_with_acks(
        &self,
        publication: Publication,
        patience: Duration,
    ) -> BoxFuture<'_, Result<AckedReceipt, PublishError>>;

    /// The rooms with members whose names start with `prefix`.
    fn rooms<'a>(&'a self, namespace: &'a str, prefix: &'a str) -> BoxFuture<'a, RoomsAnswer>;

    /// The members of a room.
    fn members<'a>(&'a self, namespace: &'a str, room: &'a str) -> BoxFuture<'a, MembersAnswer>;

    /// Who is in a room with presence.
    fn presence<'a>(&'a self, room: &'a RoomKey) -> BoxFuture<'a, PresenceAnswer>;

    /// The first rooms by latency, rate or members over the last minute. Node servers are not
    /// asked.
    fn rank_rooms<'a>(&'a self, query: &'a RoomRankingQuery) -> BoxFuture<'a, RoomRanking>;

    /// The figures of one room over the last minute.
    fn room_latency<'a>(&'a self, room: &'a RoomKey, scope: Scope) -> BoxFuture<'a, RoomRanking>;

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

    /// Disconnects the selected members: from every namespace if `close`, else from this one. Their
    /// clients do not reconnect by themselves.
    fn disconnect<'a>(
        &'a self,
        namespace: &'a str,
        members: &'a Selector,
        close: bool,
    ) -> BoxFuture<'a, Matched>;
}

impl Cluster for Broker {
    fn publish(&self, publication: Publication) -> BoxFuture<'_, Result<Receipt, PublishError>> {
        Broker::publish(self, publication).boxed()
    }

    fn accept(
        &self,
        publication: Publication,
    ) -> BoxFuture<'_, Result<BoxFuture<'static, Receipt>, PublishError>> {
        Broker::accept(self, publication).map_ok(|accepted| accepted.receipt().boxed()).boxed()
    }

    fn publish_with_acks(
        &self,
        publication: Publication,
        patience: Duration,
    ) -> BoxFuture<'_, Result<AckedReceipt, PublishError>> {
        Broker::publish_with_acks(self, publication, patience).boxed()
    }

    fn rooms<'a>(&'a self, namespace: &'a str, prefix: &'a str) -> BoxFuture<'a, RoomsAnswer> {
        Broker::rooms(self, namespace, prefix).boxed()
    }

    fn members<'a>(&'a self, namespace: &'a str, room: &'a str) -> BoxFuture<'a, MembersAnswer> {
        Broker::members(self, namespace, room).boxed()
    }

    fn presence<'a>(&'a self, room: &'a RoomKey) -> BoxFuture<'a, PresenceAnswer> {
        Broker::presence(self, room).boxed()
    }

    fn rank_rooms<'a>(&'a self, query: &'a RoomRankingQuery) -> BoxFuture<'a, RoomRanking> {
        Broker::rank_rooms(self, query).boxed()
    }

    fn room_latency<'a>(&'a self, room: &'a RoomKey, scope: Scope) -> BoxFuture<'a, RoomRanking> {
        self.room_figures(room, scope).boxed()
    }

    fn join<'a>(
        &'a self,
        namespace: &'a str,
        members: &'a Selector,
        rooms: &'a [Room],
    ) -> BoxFuture<'a, Matched> {
        self.join_selected(namespace, members, rooms).boxed()
    }

    fn leave<'a>(
        &'a self,
        namespace: &'a str,
        members: &'a Selector,
        rooms: &'a [Room],
    ) -> BoxFuture<'a, Matched> {
        self.leave_selected(namespace, members, rooms).boxed()
    }

    fn disconnect<'a>(
        &'a self,
        namespace: &'a str,
        members: &'a Selector,
        close: bool,
    ) -> BoxFuture<'a, Matched> {
        self.disconnect_selected(namespace, members, close).boxed()
    }
}
