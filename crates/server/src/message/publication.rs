//! The [`Publication`]: the one thing that flows from every source to every member.

use std::sync::Arc;
use std::time::Instant;

use rookery_protocol::{Data, Room};
use smallvec::{SmallVec, smallvec};

use super::address_key::AddressKey;
use super::member_id::MemberId;
use super::publication_id::PublicationId;

/// A message on its way to the members of some rooms.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Unique for each publication; the idempotency key where the publisher gave one.
    pub id: PublicationId,
    /// The namespace, with its leading slash.
    pub namespace: Arc<str>,
    /// Target rooms; a member of several gets it once. Empty: everybody in the namespace.
    /// A member's public id is a room that holds just that member.
    pub rooms: SmallVec<[Room; 1]>,
    /// Members of any of these rooms do not get it.
    pub except: SmallVec<[Room; 1]>,
    /// The event's name.
    pub event: String,
    /// The event's arguments, after its name.
    pub args: SmallVec<[Data; 1]>,
    /// Written only to members whose outbox is empty.
    pub volatile: bool,
    /// Whether it may be compressed for members that take compressed messages.
    pub compress: bool,
    /// Where it came from.
    pub source: Source,
    /// The client's address, where a client is its publisher or caused it, and that address is
    /// certainly one client's. It has a share of the queue to Redis.
    pub address: Option<AddressKey>,
    /// When it was accepted, on this instance's monotonic clock. For a publication of another
    /// instance this is the origin's time translated by the Redis clock.
    pub accepted: Instant,
    /// The W3C `traceparent`: of what caused it, and once it is followed, of its own span.
    pub traceparent: Option<Arc<str>>,
}

impl Publication {
    /// The publication of a client to `room`, accepted now, without an address. With `except_sender`, the client itself
    /// does not get it.
    pub fn of_client(
        member: &MemberId,
        namespace: Arc<str>,
        room: Room,
        event: String,
        args: SmallVec<[Data; 1]>,
        except_sender: bool,
    ) -> Self {
        let except = except_sender.then(|| member.room().clone());
        Publication {
            id: PublicationId::of_client(member),
            namespace,
            rooms: smallvec![room],
            except: except.into_iter().collect(),
            event,
            args,
            volatile: false,
            compress: true,
            source: Source::Client,
            address: None,
            accepted: Instant::now(),
            traceparent: None,
        }
    }
}

/// Where a publication came from: the label `source` of `rookery_publications_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// An event of a connected client.
    Client,
    /// The HTTP API.
    Api,
    /// Plain JSON on a bridged Redis channel.
    Bridge,
    /// A webhook's reply.
    Backend,
    /// Another pod, a Node server or an emitter, by Redis.
    Redis,
    /// This instance, which tells the members of a room who is there.
    Presence,
    /// An admin, or this instance, which tells admins of its sockets and figures.
    Admin,
}

impl Source {
    /// Every source, in the order of [`Source::index`].
    pub const ALL: [Source; 7] = [
        Source::Client,
        Source::Api,
        Source::Bridge,
        Source::Backend,
        Source::Redis,
        Source::Presence,
        Source::Admin,
    ];

    /// Position in [`Source::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// The label's value.
    pub fn label(self) -> &'static str {
        match self {
            Source::Client => "client",
            Source::Api => "api",
            Source::Bridge => "bridge",
            Source::Backend => "backend",
            Source::Redis => "redis",
            Source::Presence => "presence",
            Source::Admin => "admin",
        }
    }

    /// The label `hop` of the latency histogram.
    pub fn hop(self) -> Hop {
        match self {
            Source::Redis => Hop::Remote,
            _ => Hop::Local,
        }
    }
}

/// Whether a publication was accepted here or elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hop {
    /// Accepted by this instance (the bridge too).
    Local,
    /// Accepted by another pod or a Node server.
    Remote,
}

impl Hop {
    /// The label's value.
    pub fn label(self) -> &'static str {
        match self {
            Hop::Local => "local",
            Hop::Remote => "remote",
        }
    }
}
