//! The [`Limits`]: how many sessions may be open, in total and per address, and how fast they may
//! be opened.

mod addresses;
mod bounds;
mod permits;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;

use super::forwarded::Origin;
use super::memory::{Memory, MemoryLevel};
use super::token_bucket::TokenBucket;
use crate::message::AddressKey;
use crate::telemetry::metrics::Rejected;
use addresses::Addresses;
use bounds::Bounds;
pub use permits::{BodyPermit, ConnectionPermit, Permit};
use rookery_config as config;

/// Events of more bytes are counted while they wait.
const SMALL_EVENT: usize = 4 << 10;

/// How many times its own bytes an event is counted with: decoded values take more than their text.
const DECODED: usize = 4;

/// Limits on sessions. Cloning is shallow.
#[derive(Clone)]
pub struct Limits {
    inner: Arc<Inner>,
}

struct Inner {
    config: ArcSwap<config::Limits>,
    memory: Memory,
    counts: Mutex<Counts>,
}

struct Counts {
    /// Open sessions.
    sessions: u32,
    /// Those of them that have connected to no namespace yet.
    unconnected: u32,
    /// Connections that speak HTTP.
    connections: u32,
    /// Bytes that the bodies of requests take.
    body_bytes: usize,
    /// Handshakes refused because of `limits.connections` since the last call of
    /// [`Limits::connection_limit_event`].
    refused: u64,
    /// Handshakes refused since the limit was reached; `None` while it is not.
    refused_at_limit: Option<u64>,
    rate: TokenBucket,
    addresses: Addresses,
}

/// A change of state of `limits.connections`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionLimitEvent {
    /// The limit is reached: clients are being refused.
    Reached,
    /// Clients are no longer refused.
    Cleared {
        /// Handshakes that were refused while the limit was reached.
        refused: u64,
    },
}

/// A limit forbids opening a session now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitReached {
    /// The limit, as a label of `rookery_rejected_total`.
    pub reason: Rejected,
    /// How long the client should wait before it tries again; at least a second.
    pub retry_after: Duration,
    /// A sentence for the log: which limit it is, and what to do about it.
    pub explanation: &'static str,
}

impl Limits {
    /// Limits without any open session.
    pub fn new(config: config::Limits) -> Self {
        let now = Instant::now();
        let rate = TokenBucket::full(config.connect_rate.0, now);
        let counts = Counts {
            sessions: 0,
            unconnected: 0,
            connections: 0,
            body_bytes: 0,
            refused: 0,
            refused_at_limit: None,
            rate,
            addresses: Addresses::new(now),
        };
        Limits {
            inner: Arc::new(Inner {
                config: ArcSwap::from_pointee(config),
                memory: Memory::default(),
                counts: counts.into(),
            }),
        }
    }

    /// Replaces the configured limits; open sessions stay open.
    pub fn set(&self, config: config::Limits) {
        self.inner.config.store(Arc::new(config));
    }

    /// The configured limits, without counting a reference: read what is needed, and keep no guard.
    pub fn config(&self) -> Guard<Arc<config::Limits>> {
        self.inner.config.load()
    }

    /// How much memory the process uses, of `limits.memory`.
    pub fn memory(&self) -> &Memory {
        &self.inner.memory
    }

    /// Whether `limits.connections` was reached or cleared since the last call. It counts as
    /// reached while at least one client is refused between two calls.
    pub fn connection_limit_event(&self) -> Option<ConnectionLimitEvent> {
        let mut counts = self.inner.counts.lock();
        let refused = std::mem::take(&mut counts.refused);
        match counts.refused_at_limit {
            None if refused == 0 => None,
            None => {
                counts.refused_at_limit = Some(refused);
                Some(ConnectionLimitEvent::Reached)
            }
            Some(before) if refused > 0 => {
                counts.refused_at_limit = Some(before + refused);
                None
            }
            Some(refused) => {
                counts.refused_at_limit = None;
                Some(ConnectionLimitEvent::Cleared { refused })
            }
        }
    }

    /// Acquires a permit for a session of this origin. A refusal uses up nothing, so that a client
    /// over its own limit takes nothing from others.
    ///
    /// # Errors
    /// The limit that is reached.
    pub fn acquire(&self, origin: Origin) -> Result<Permit, LimitReached> {
        if self.memory().level() >= MemoryLevel::High {
            return Err(LimitReached::MEMORY);
        }
        let config = self.config();
        let bounds = Bounds::of(origin, &config);
        let key = AddressKey::of(origin.address, config.ipv6_prefix());
        let now = Instant::now();
        let mut counts = self.inner.counts.lock();
        if counts.sessions >= config.connections.get() {
            counts.refused += 1;
            return Err(LimitReached::CONNECTIONS);
        }
        let usage = counts.addresses.usage(key);
        if bounds.connections.is_some_and(|limit| usage.sessions >= limit) {
            return Err(LimitReached::CONNECTIONS_PER_IP);
        }
        if usage.unconnected >= bounds.unconnected(&config) {
            return Err(LimitReached::UNCONNECTED_PER_IP);
        }
        if counts.unconnected >= config.unconnected() {
            return Err(LimitReached::UNCONNECTED);
        }
        let rate = bounds.connect_rate;
        if !counts.addresses.is_within_rate(key, rate, now) {
            return Err(match bounds.own_rate {
                true => LimitReached::CONNECT_RATE_PER_IP,
                false => LimitReached::CONNECT_RATE_SHARE,
            });
        }
        if !counts.rate.take(config.connect_rate.0, now) {
            return Err(LimitReached::CONNECT_RATE);
        }
        counts.sessions += 1;
        counts.unconnected += 1;
        counts.addresses.take(key, rate, now);
        counts.addresses.change(key, |usage| {
            usage.sessions += 1;
            usage.unconnected += 1;
        });
        Ok(Permit { limits: self.clone(), origin, key, is_connected: false })
    }

    /// Open sessions that have connected to no namespace yet.
    pub fn unconnected(&self) -> u32 {
        self.inner.counts.lock().unconnected
    }

    /// Acquires a permit for a connection that speaks HTTP, of a peer.
    ///
    /// # Errors
    /// The limit that is reached.
    pub fn acquire_connection(&self, peer: Origin) -> Result<ConnectionPermit, LimitReached> {
        let config = self.config();
        let most = Bounds::of(peer, &config).http_connections(&config);
        let key = AddressKey::of(peer.address, config.ipv6_prefix());
        let mut counts = self.inner.counts.lock();
        if counts.connections >= config.http_connections() {
            return Err(LimitReached::HTTP_CONNECTIONS);
        }
        if counts.addresses.usage(key).connections >= most {
            return Err(LimitReached::HTTP_CONNECTIONS_PER_IP);
        }
        counts.connections += 1;
        counts.addresses.change(key, |usage| usage.connections += 1);
        Ok(ConnectionPermit { limits: self.clone(), key })
    }

    /// A permit for the body of a request of this origin, for no bytes yet.
    pub fn body(&self, origin: Origin) -> BodyPermit {
        let config = self.config();
        let shares = Bounds::of(origin, &config).connections.is_some();
        let key = AddressKey::of(origin.address, config.ipv6_prefix());
        BodyPermit { limits: self.clone(), key, shares, bytes: 0 }
    }

    /// The address whose share of the queue to Redis a client of this origin's publications count
    /// for. `None` where it may be that of a proxy, with many clients behind it.
    pub fn publishing_address(&self, origin: Origin) -> Option<AddressKey> {
        let config = self.config();
        let is_one_clients = Bounds::of(origin, &config).connections.is_some();
        is_one_clients.then(|| AddressKey::of(origin.address, config.ipv6_prefix()))
    }

    /// A permit for an event of so many bytes to be kept, decoded, until it is handled. A small one
    /// needs none.
    ///
    /// # Errors
    /// What waits takes what it may.
    pub fn event(&self, origin: Origin, bytes: usize) -> Result<Option<BodyPermit>, LimitReached> {
        if bytes <= SMALL_EVENT {
            return Ok(None);
        }
        let mut permit = self.body(origin);
        permit.grow(bytes.saturating_mul(DECODED))?;
        Ok(Some(permit))
    }
}

impl LimitReached {
    const CONNECTIONS: Self =
        LimitReached::new(Rejected::Connections, 5, "limits.connections is reached");
    const MEMORY: Self = LimitReached::new(
        Rejected::Memory,
        5,
        "limits.memory is reached: add instances, or raise the container's memory limit",
    );
    const CONNECT_RATE: Self =
        LimitReached::new(Rejected::ConnectRate, 1, "limits.connectRate is reached");
    const CONNECT_RATE_SHARE: Self = LimitReached::new(
        Rejected::ConnectRate,
        1,
        "this address uses nine tenths of limits.connectRate; if it is a proxy's, add its network \
         to trustedProxies",
    );
    const CONNECTIONS_PER_IP: Self = LimitReached::new(
        Rejected::PerIp,
        5,
        "this address has as many sessions as limits.perIp.connections allows; if it is a proxy's, \
         add its network to trustedProxies",
    );
    const CONNECT_RATE_PER_IP: Self = LimitReached::new(
        Rejected::PerIp,
        1,
        "this address opens sessions faster than limits.perIp.connectRate; if it is a proxy's, add \
         its network to trustedProxies",
    );

    const UNCONNECTED: Self =
        LimitReached::new(Rejected::Unconnected, 1, "limits.unconnected is reached");
    const UNCONNECTED_PER_IP: Self = LimitReached::new(
        Rejected::PerIp,
        1,
        "this address has its share of limits.unconnected open; if it is a proxy's, add its network \
         to trustedProxies",
    );
    const HTTP_CONNECTIONS: Self =
        LimitReached::new(Rejected::HttpConnections, 5, "limits.httpConnections is reached");
    const HTTP_CONNECTIONS_PER_IP: Self = LimitReached::new(
        Rejected::PerIp,
        5,
        "this address has more HTTP connections than its sessions need; if it is a proxy's, add its \
         network to trustedProxies",
    );
    const BODIES: Self = LimitReached::new(
        Rejected::Bodies,
        1,
        "what has arrived of POSTs and messages takes the memory of limits.bodies, or one address its \
         share of it",
    );

    const fn new(reason: Rejected, seconds: u64, explanation: &'static str) -> Self {
        LimitReached { reason, retry_after: Duration::from_secs(seconds), explanation }
    }
}

#[cfg(test)]
mod tests;
