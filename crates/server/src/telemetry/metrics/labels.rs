//! The label values of the metrics.

/// Why a client or a request was refused: label `reason` of `rookery_rejected_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rejected {
    /// `limits.connections` was reached.
    Connections,
    /// `limits.memory` was reached.
    Memory,
    /// There were as many sessions without a namespace as `limits.unconnected` allows.
    Unconnected,
    /// Sessions were opened faster than `limits.connectRate` allows.
    ConnectRate,
    /// The client's address had too many sessions, or opened them too fast.
    PerIp,
    /// The client asked for more rooms than `limits.roomsPerClient`.
    Rooms,
    /// As many namespaces of patterns had clients as `limits.namespaces` allows, or the connection was in
    /// as many as it may be.
    Namespaces,
    /// The client sent events faster than its limit.
    Events,
    /// The client sent more bytes of events than its limit.
    Bytes,
    /// A message or request body was too large.
    Payload,
    /// The headers of a request did not arrive in time.
    HeaderTimeout,
    /// The body of a request did not arrive in time.
    BodyTimeout,
    /// The bodies of all requests, or of those of one address, took the memory of `limits.bodies`.
    Bodies,
    /// There were as many HTTP connections as `limits.httpConnections` allows.
    HttpConnections,
    /// The client sent bytes that are no packet of the protocol.
    BadPacket,
    /// A request is no valid one of Engine.IO.
    BadRequest,
    /// A request names a session that ended, or that another instance has.
    UnknownSession,
    /// An upgrade to a WebSocket was broken off, or was none.
    Upgrade,
    /// There was no valid token or API key.
    Unauthenticated,
    /// The rules do not allow it.
    Forbidden,
    /// The instance is draining.
    Draining,
    /// The instance has more sessions than others and gives some away.
    Rebalancing,
    /// Too many connects were refused: the session ended.
    RefusedConnects,
    /// The backend refused a client or its event, or did not answer.
    Backend,
    /// Neither a rule nor the backend handles the event.
    UnknownEvent,
}

/// Why a session ended: label `reason` of `rookery_disconnects_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Disconnected {
    /// The client closed it.
    Client,
    /// The transport failed, or the client broke the protocol.
    TransportError,
    /// The client did not answer a heartbeat.
    PingTimeout,
    /// The client read too slowly.
    Slow,
    /// The HTTP API or another instance disconnected the client.
    Dismissed,
    /// The client's token expired.
    TokenExpired,
    /// The instance drained.
    Drain,
    /// The instance had more sessions than others.
    Rebalance,
    /// `limits.memory` was exceeded, and much waited for the client.
    Memory,
    /// Too many of its connects were refused.
    Refused,
}

/// What became of one delivery: label `outcome` of `rookery_deliveries_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was handed to the kernel, or to the answer of a poll.
    Written,
    /// It was dropped because the client read too slowly.
    DroppedSlow,
    /// It was volatile and other packets were waiting.
    DroppedVolatile,
    /// The session ended, or its client left the room, before it was written.
    Gone,
}

/// The direction of a Redis message: label `direction` of `rookery_redis_messages_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Received from Redis.
    In,
    /// Sent to Redis.
    Out,
}

macro_rules! labels {
    ($kind:ident { $($variant:ident => $label:literal),* $(,)? }) => {
        impl $kind {
            /// Every value, in declaration order.
            pub const ALL: &'static [$kind] = &[$($kind::$variant),*];

            /// The label's value.
            pub fn label(self) -> &'static str {
                match self { $($kind::$variant => $label),* }
            }
        }
    };
}

labels!(Rejected {
    Connections => "connections",
    Memory => "memory",
    Unconnected => "unconnected",
    ConnectRate => "connect_rate",
    PerIp => "per_ip",
    Rooms => "rooms",
    Namespaces => "namespaces",
    Events => "events",
    Bytes => "bytes",
    Payload => "payload",
    HeaderTimeout => "header_timeout",
    BodyTimeout => "body_timeout",
    Bodies => "bodies",
    HttpConnections => "http_connections",
    BadPacket => "bad_packet",
    BadRequest => "bad_request",
    UnknownSession => "unknown_session",
    Upgrade => "upgrade",
    Unauthenticated => "unauthenticated",
    Forbidden => "forbidden",
    Draining => "draining",
    Rebalancing => "rebalancing",
    RefusedConnects => "refused_connects",
    Backend => "backend",
    UnknownEvent => "unknown_event",
});
labels!(Disconnected {
    Client => "client",
    TransportError => "transport_error",
    PingTimeout => "ping_timeout",
    Slow => "slow",
    Dismissed => "dismissed",
    TokenExpired => "token_expired",
    Drain => "drain",
    Rebalance => "rebalance",
    Memory => "memory",
    Refused => "refused",
});
labels!(Outcome {
    Written => "written",
    DroppedSlow => "dropped_slow",
    DroppedVolatile => "dropped_volatile",
    Gone => "gone",
});
labels!(Direction { In => "in", Out => "out" });
