//! What the counters are told apart by: the values of their labels.

/// Why a client or a request was refused: label `reason` of `rookery_rejected_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Rejected {
    Connections,
    ConnectRate,
    PerIp,
    Rooms,
    Events,
    Payload,
    HeaderTimeout,
    BadPacket,
    Unauthenticated,
    Forbidden,
    Draining,
}

/// Why a session ended: label `reason` of `rookery_disconnects_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Disconnected {
    Client,
    TransportError,
    PingTimeout,
    Slow,
    Dismissed,
    TokenExpired,
    Drain,
}

/// What became of one delivery: label `outcome` of `rookery_deliveries_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Outcome {
    Written,
    DroppedSlow,
    DroppedVolatile,
    Gone,
}

/// Direction of Redis messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Direction {
    In,
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
    ConnectRate => "connect_rate",
    PerIp => "per_ip",
    Rooms => "rooms",
    Events => "events",
    Payload => "payload",
    HeaderTimeout => "header_timeout",
    BadPacket => "bad_packet",
    Unauthenticated => "unauthenticated",
    Forbidden => "forbidden",
    Draining => "draining",
});
labels!(Disconnected {
    Client => "client",
    TransportError => "transport_error",
    PingTimeout => "ping_timeout",
    Slow => "slow",
    Dismissed => "dismissed",
    TokenExpired => "token_expired",
    Drain => "drain",
});
labels!(Outcome {
    Written => "written",
    DroppedSlow => "dropped_slow",
    DroppedVolatile => "dropped_volatile",
    Gone => "gone",
});
labels!(Direction { In => "in", Out => "out" });
