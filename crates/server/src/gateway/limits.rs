//! The [`Limits`]: how many sessions may be open, in total and per address, and how fast they may
//! be opened.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;

use super::memory::{Memory, MemoryLevel};
use super::token_bucket::TokenBucket;
use crate::hashing::HashMap;
use crate::telemetry::metrics::Rejected;
use rookery_config as config;

/// Addresses in the table beyond which the idle ones without sessions are removed.
const MAX_ADDRESSES: usize = 10_000;

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
    /// Handshakes refused because of `limits.connections` since the last call of
    /// [`Limits::connection_limit_event`].
    refused: u64,
    /// Handshakes refused since the limit was reached; `None` while it is not.
    refused_at_limit: Option<u64>,
    rate: TokenBucket,
    addresses: HashMap<IpAddr, Address>,
}

struct Address {
    sessions: u32,
    rate: TokenBucket,
}

/// Permits one session; dropping it releases the permit.
pub struct Permit {
    limits: Limits,
    address: IpAddr,
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
}

impl Limits {
    /// Limits without any open session.
    pub fn new(config: config::Limits) -> Self {
        let now = Instant::now();
        let rate = TokenBucket::full(config.connect_rate.0, now);
        let counts = Counts {
            sessions: 0,
            refused: 0,
            refused_at_limit: None,
            rate,
            addresses: HashMap::default(),
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

    /// Acquires a permit for a session of this address.
    ///
    /// # Errors
    /// The limit that is reached.
    pub fn acquire(&self, address: IpAddr) -> Result<Permit, LimitReached> {
        if self.memory().level() >= MemoryLevel::High {
            return Err(LimitReached::new(Rejected::Memory, 5));
        }
        let config = self.config();
        let now = Instant::now();
        let mut counts = self.inner.counts.lock();
        if counts.sessions >= config.connections.get() {
            counts.refused += 1;
            return Err(LimitReached::new(Rejected::Connections, 5));
        }
        if let Some(per_ip) = &config.per_ip {
            counts.check_address(address, per_ip, now)?;
        }
        if !counts.rate.take(config.connect_rate.0, now) {
            return Err(LimitReached::new(Rejected::ConnectRate, 1));
        }
        counts.sessions += 1;
        if config.per_ip.is_some() {
            let known = counts.addresses.entry(address);
            known.or_insert_with(|| Address::new(0, now)).sessions += 1;
            counts.remove_idle_addresses(now);
        }
        Ok(Permit { limits: self.clone(), address })
    }
}

impl LimitReached {
    fn new(reason: Rejected, seconds: u64) -> Self {
        LimitReached { reason, retry_after: Duration::from_secs(seconds) }
    }
}

impl Permit {
    /// The client's address.
    pub fn address(&self) -> IpAddr {
        self.address
    }
}

impl Counts {
    fn check_address(
        &mut self,
        address: IpAddr,
        per_ip: &config::PerIp,
        now: Instant,
    ) -> Result<(), LimitReached> {
        let open = self.addresses.get(&address).map_or(0, |a| a.sessions);
        if per_ip.connections.is_some_and(|limit| open >= limit) {
            return Err(LimitReached::new(Rejected::PerIp, 5));
        }
        if let Some(rate) = per_ip.connect_rate {
            let known = self.addresses.entry(address);
            if !known.or_insert_with(|| Address::new(rate.0, now)).rate.take(rate.0, now) {
                return Err(LimitReached::new(Rejected::PerIp, 1));
            }
        }
        Ok(())
    }

    fn remove_idle_addresses(&mut self, now: Instant) {
        if self.addresses.len() > MAX_ADDRESSES {
            let idle = Duration::from_secs(60);
            self.addresses.retain(|_, a| a.sessions > 0 || a.rate.idle(now) < idle);
            if self.addresses.capacity() > 4 * self.addresses.len().max(MAX_ADDRESSES) {
                self.addresses.shrink_to(2 * self.addresses.len());
            }
        }
    }
}

impl Address {
    fn new(rate: u32, now: Instant) -> Self {
        Address { sessions: 0, rate: TokenBucket::full(rate, now) }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.limits.inner.counts.lock();
        counts.sessions -= 1;
        if let Some(address) = counts.addresses.get_mut(&self.address) {
            address.sessions = address.sessions.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rookery_config::units::Rate;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn refused(limits: &Limits, from: u8) -> Option<Rejected> {
        limits.acquire(address(from)).err().map(|reached| reached.reason)
    }

    #[test]
    fn dropping_a_permit_frees_a_connection() {
        let limits = Limits::new(config::Limits { connections: 1.into(), ..Default::default() });
        let permit = limits.acquire(address(1)).ok().unwrap();
        assert_eq!(refused(&limits, 2), Some(Rejected::Connections));
        drop(permit);
        assert_eq!(refused(&limits, 2), None);
    }

    #[test]
    fn reaching_and_clearing_the_limit_are_each_reported_once() {
        let limits = Limits::new(config::Limits { connections: 1.into(), ..Default::default() });
        let permit = limits.acquire(address(1)).ok().unwrap();
        assert_eq!(limits.connection_limit_event(), None);
        for (times, event) in [(2, Some(ConnectionLimitEvent::Reached)), (3, None)] {
            (0..times).for_each(|_| assert!(refused(&limits, 2).is_some()));
            assert_eq!(limits.connection_limit_event(), event);
        }
        drop(permit);
        assert_eq!(
            limits.connection_limit_event(),
            Some(ConnectionLimitEvent::Cleared { refused: 5 })
        );
        assert_eq!(limits.connection_limit_event(), None);
    }

    #[test]
    fn the_connect_rate_allows_a_burst_of_one_second() {
        let limits = Limits::new(config::Limits { connect_rate: Rate(2), ..Default::default() });
        assert_eq!(refused(&limits, 1), None);
        assert_eq!(refused(&limits, 1), None);
        assert_eq!(refused(&limits, 1), Some(Rejected::ConnectRate));
    }

    #[test]
    fn an_address_at_its_limit_does_not_affect_others() {
        let per_ip = config::PerIp { connections: Some(1), connect_rate: Some(Rate(2)) };
        let limits = Limits::new(config::Limits { per_ip: Some(per_ip), ..Default::default() });
        let permit = limits.acquire(address(1)).ok().unwrap();
        assert_eq!(refused(&limits, 1), Some(Rejected::PerIp));
        assert_eq!(refused(&limits, 2), None);
        drop(permit);
        assert_eq!(refused(&limits, 1), None);
        assert_eq!(refused(&limits, 1), Some(Rejected::PerIp));
    }
}
