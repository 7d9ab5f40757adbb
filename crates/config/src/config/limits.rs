//! The section `limits`: bounds on what clients may use.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::units::{Period, Rate, Size};

/// `limits.perIp.connections` where it is not written: more than the people behind the one address
/// of a large office have open.
const CONNECTIONS_PER_IP: u32 = 2000;

/// `limits.perIp.connectRate` where it is not written: an office of 2,000 is back within 40 s.
const CONNECT_RATE_PER_IP: u32 = 50;

/// `limits.perIp.ipv6Prefix` where it is not written: the network of a single customer (RFC 6177).
const IPV6_PREFIX: u8 = 64;

/// Limits up to this one are not divided between addresses.
const SHARED_WHOLE: u32 = 100;

/// Bounds on what clients may use.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Limits {
    /// Sessions that may be open at once, per instance. The default is less where `limits.memory`
    /// has no room for so many.
    pub connections: Connections,
    /// Bytes of memory beyond which new sessions are refused; beyond an eighth more, the clients
    /// with the largest queues are disconnected. Default: 80 % of the container's limit.
    pub memory: Option<Size>,
    /// New sessions per second, per instance.
    pub connect_rate: Rate,
    /// Sessions that have connected to no namespace yet, per instance, and those of one address a
    /// quarter of it. By default as many as `connectRate` lets in within 10 s, and at least 100.
    pub unconnected: Option<u32>,
    /// How long a session may be open before its client sends a packet; then
    /// `socketio.connectTimeout` holds.
    pub first_packet: Period,
    /// Bounds for each client address. Where the section is not written, defaults hold for clients'
    /// addresses, but not for loopback and private ones, which may be a proxy's.
    pub per_ip: Option<PerIp>,
    /// Rooms that a client may be in, per namespace.
    pub rooms_per_client: u32,
    /// Namespaces of patterns that may have clients at once, per instance.
    pub namespaces: u32,
    /// Events that a client may send per second.
    pub events_per_second: u32,
    /// Bytes of events that a client may send per second.
    pub bytes_per_second: Size,
    /// Bytes that may be queued for a client before it is disconnected as too slow.
    pub queue: Size,
    /// How long a client may read nothing of what is queued for it before it is disconnected.
    pub write_stall: Period,
    /// How long a client may take to send the head of an HTTP request.
    pub header_read: Period,
    /// How long a connection is kept between two HTTP requests.
    pub keep_alive: Period,
    /// How long the body of a POST may pause before the request is refused.
    pub body_idle: Period,
    /// Bytes per second that the body of a POST must have on average, after twice `bodyIdle`.
    pub body_rate: Size,
    /// Bytes that the bodies of all POSTs in progress, messages that have not arrived whole, and
    /// large events that wait may take together; those of one address, a quarter of it.
    pub bodies: Size,
    /// Connections that speak HTTP, per instance; WebSockets are none. By default twice
    /// `connections`, and 1,024.
    pub http_connections: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: Connections::default(),
            memory: None,
            connect_rate: Rate(500),
            unconnected: None,
            first_packet: Period(Duration::from_secs(10)),
            per_ip: None,
            rooms_per_client: 100,
            namespaces: 1000,
            events_per_second: 100,
            bytes_per_second: Size(4 << 20),
            queue: Size(1 << 20),
            write_stall: Period(Duration::from_secs(10)),
            header_read: Period(Duration::from_secs(10)),
            keep_alive: Period(Duration::from_secs(120)),
            body_idle: Period(Duration::from_secs(10)),
            body_rate: Size(1 << 10),
            bodies: Size(64 << 20),
            http_connections: None,
        }
    }
}

impl Limits {
    /// New sessions per second that any single address may open at most, so that others are left
    /// some: nine tenths of `connectRate` where that is more than 100.
    pub fn connect_rate_share(&self) -> u32 {
        let rate = self.connect_rate.0;
        (rate - rate / 10).max(SHARED_WHOLE)
    }

    /// `perIp.connectRate` where it is not written.
    pub fn default_connect_rate_per_ip(&self) -> u32 {
        CONNECT_RATE_PER_IP.min(self.connect_rate_share())
    }

    /// `perIp.connections` where it is not written: at most half of `connections` where that is
    /// more than 100.
    pub fn default_connections_per_ip(&self) -> u32 {
        CONNECTIONS_PER_IP.min((self.connections.get() / 2).max(SHARED_WHOLE))
    }

    /// `unconnected`, or its default.
    pub fn unconnected(&self) -> u32 {
        self.unconnected.unwrap_or(self.connect_rate.0.saturating_mul(10).max(SHARED_WHOLE))
    }

    /// `httpConnections`, or its default: a polling client has two requests at a time.
    pub fn http_connections(&self) -> u32 {
        self.http_connections
            .unwrap_or(self.connections.get().saturating_mul(2).saturating_add(1024))
    }

    /// The length in bits of the IPv6 networks that count as one address: `perIp.ipv6Prefix`, or 64.
    pub fn ipv6_prefix(&self) -> u8 {
        self.per_ip.as_ref().map_or(IPV6_PREFIX, |per_ip| per_ip.ipv6_prefix)
    }
}

/// A number of sessions, written as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    most: u32,
    is_default: bool,
}

impl Connections {
    /// The most sessions that may be open at once.
    pub fn get(self) -> u32 {
        self.most
    }

    /// The number for a process that may use `memory` bytes, each session `per_session` of them:
    /// what is configured, and otherwise the default, or fewer where they need more memory.
    #[must_use]
    pub fn within(self, memory: u64, per_session: u64) -> Self {
        if !self.is_default {
            return self;
        }
        let fit = u32::try_from(memory / per_session.max(1)).unwrap_or(u32::MAX);
        Connections { most: self.most.min(fit.max(1)), ..self }
    }
}

impl Default for Connections {
    fn default() -> Self {
        Connections { most: 50_000, is_default: true }
    }
}

impl From<u32> for Connections {
    fn from(most: u32) -> Self {
        Connections { most, is_default: false }
    }
}

impl Serialize for Connections {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.most.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Connections {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u32::deserialize(deserializer).map(Self::from)
    }
}

impl JsonSchema for Connections {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        u32::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        u32::json_schema(generator)
    }
}

/// Bounds for each client address.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PerIp {
    /// Sessions that may be open at once from one address; by default 2000.
    pub connections: Option<u32>,
    /// New sessions per second from one address; by default 50/s.
    pub connect_rate: Option<Rate>,
    /// The length in bits of the IPv6 networks that count as one address.
    pub ipv6_prefix: u8,
}

impl Default for PerIp {
    fn default() -> Self {
        PerIp { connections: None, connect_rate: None, ipv6_prefix: IPV6_PREFIX }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_default_number_of_connections_follows_the_memory() {
        let fits = |connections: Connections, memory| connections.within(memory, 1_000).get();
        assert_eq!(fits(Connections::default(), 4_000_000), 4_000);
        assert_eq!(fits(Connections::default(), u64::MAX), 50_000);
        assert_eq!(fits(Connections::default(), 10), 1);
        assert_eq!(fits(Connections::from(50_000), 4_000_000), 50_000);
    }
}
