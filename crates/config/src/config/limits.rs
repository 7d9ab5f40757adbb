//! The section `limits`: bounds on what clients may use.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// Sessions that may be open at once, per instance.
    pub connections: u32,
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
    /// Events that a client may send per second.
    pub events_per_second: u32,
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
    /// Bytes that the bodies of all POSTs in progress may take together, and those of one address
    /// a quarter of.
    pub bodies: Size,
    /// Connections that speak HTTP, per instance; WebSockets are none. By default twice
    /// `connections`, and 1,024.
    pub http_connections: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 50_000,
            connect_rate: Rate(500),
            unconnected: None,
            first_packet: Period(Duration::from_secs(10)),
            per_ip: None,
            rooms_per_client: 100,
            events_per_second: 100,
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
        CONNECTIONS_PER_IP.min((self.connections / 2).max(SHARED_WHOLE))
    }

    /// `unconnected`, or its default.
    pub fn unconnected(&self) -> u32 {
        self.unconnected.unwrap_or(self.connect_rate.0.saturating_mul(10).max(SHARED_WHOLE))
    }

    /// `httpConnections`, or its default: a polling client has two requests at a time.
    pub fn http_connections(&self) -> u32 {
        self.http_connections.unwrap_or(self.connections.saturating_mul(2).saturating_add(1024))
    }

    /// `perIp.ipv6Prefix`.
    pub fn ipv6_prefix(&self) -> u8 {
        self.per_ip.as_ref().map_or(IPV6_PREFIX, |per_ip| per_ip.ipv6_prefix)
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
