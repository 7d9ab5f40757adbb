//! The [`Addresses`]: what each client address uses at the moment, and how fast it opens sessions.
//! Pure.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;

use crate::gateway::token_bucket::TokenBucket;
use crate::hashing::HashMap;
use crate::message::AddressKey;

/// How long a rate is remembered at least. A [`TokenBucket`] that was not used for a second is full,
/// like a new one.
const GENERATION: Duration = Duration::from_secs(1);

/// The most rates in one of the two generations; beyond it, the older one is forgotten early.
const MAX_RATES: usize = 1 << 16;

/// A table of up to four times as many addresses does not shrink.
const MIN_CAPACITY: usize = 256;

/// Whether an address is one that no client on the internet has: of this machine, or of a network
/// that routers do not forward between sites (RFC 1918, RFC 3927, RFC 4193, RFC 6598).
pub fn is_internal(address: IpAddr) -> bool {
    const SHARED: Ipv4Net = Ipv4Net::new_assert(std::net::Ipv4Addr::new(100, 64, 0, 0), 10);
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            v4.is_loopback() || v4.is_private() || v4.is_link_local() || SHARED.contains(&v4)
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// What one address uses at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Open sessions.
    pub sessions: u32,
    /// Those of them that have connected to no namespace yet.
    pub unconnected: u32,
    /// Connections that speak HTTP.
    pub connections: u32,
    /// Bytes that the bodies of its requests take.
    pub body_bytes: usize,
}

/// What each address uses, and how fast it opens sessions. Every operation takes the same time
/// however many addresses there are; a table that must grow or shrink does so in proportion to the
/// operations before.
///
/// An address that uses something has an entry, so [`Usage`] is bounded by what may be used in
/// total. The rates are kept in two generations: the older one is forgotten as a whole, once it is
/// so old that all of its buckets are full again.
pub struct Addresses {
    usage: HashMap<AddressKey, Usage>,
    rates: HashMap<AddressKey, TokenBucket>,
    older_rates: HashMap<AddressKey, TokenBucket>,
    /// When the current generation began.
    generation: Instant,
}

impl Addresses {
    /// A table without addresses.
    pub fn new(now: Instant) -> Self {
        Addresses {
            usage: HashMap::default(),
            rates: HashMap::default(),
            older_rates: HashMap::default(),
            generation: now,
        }
    }

    /// What the address uses.
    pub fn usage(&self, key: AddressKey) -> Usage {
        self.usage.get(&key).copied().unwrap_or_default()
    }

    /// Changes what the address uses. It has no entry while it uses nothing.
    pub fn change(&mut self, key: AddressKey, change: impl FnOnce(&mut Usage)) {
        let usage = self.usage.entry(key).or_default();
        change(usage);
        if *usage == Usage::default() {
            self.usage.remove(&key);
            if self.usage.capacity() > 4 * self.usage.len().max(MIN_CAPACITY) {
                self.usage.shrink_to(2 * self.usage.len());
            }
        }
    }

    /// Whether the address may open a session under this rate per second. It makes no entry.
    pub fn is_within_rate(&self, key: AddressKey, rate: u32, now: Instant) -> bool {
        let bucket = self.rates.get(&key).or_else(|| self.older_rates.get(&key));
        bucket.is_none_or(|bucket| bucket.clone().take(rate, now))
    }

    /// Counts a session that the address opens, under this rate per second.
    pub fn take(&mut self, key: AddressKey, rate: u32, now: Instant) {
        self.advance(now);
        let older = &mut self.older_rates;
        let bucket = self
            .rates
            .entry(key)
            .or_insert_with(|| older.remove(&key).unwrap_or_else(|| TokenBucket::full(rate, now)));
        bucket.take(rate, now);
    }

    /// Begins a new generation where the current one is old or full.
    fn advance(&mut self, now: Instant) {
        let old = now.saturating_duration_since(self.generation) >= GENERATION;
        if old || self.rates.len() >= MAX_RATES {
            self.older_rates = std::mem::take(&mut self.rates);
            self.generation = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u32) -> AddressKey {
        AddressKey::of(IpAddr::from(n.to_be_bytes()), 64)
    }

    #[test]
    fn addresses_of_clients_on_the_internet_are_not_internal() {
        for address in ["127.0.0.6", "10.1.2.3", "172.31.0.1", "192.168.0.1", "169.254.1.1"]
            .into_iter()
            .chain(["100.64.0.1", "::1", "fd00::1", "fe80::1", "::ffff:10.0.0.1"])
        {
            assert!(is_internal(address.parse().unwrap()), "{address}");
        }
        for address in ["9.9.9.9", "172.32.0.1", "100.128.0.1", "2001:db8::1", "::ffff:9.9.9.9"] {
            assert!(!is_internal(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn an_address_that_uses_nothing_has_no_entry() {
        let mut addresses = Addresses::new(Instant::now());
        for n in 0..100_000 {
            addresses.change(key(n), |usage| usage.sessions += 1);
        }
        assert_eq!(addresses.usage(key(7)).sessions, 1);
        for n in 0..100_000 {
            addresses.change(key(n), |usage| usage.sessions -= 1);
        }
        assert!(addresses.usage.is_empty());
        assert!(addresses.usage.capacity() <= 8 * MIN_CAPACITY);
    }

    #[test]
    fn a_rate_is_remembered_over_a_generation() {
        let start = Instant::now();
        let mut addresses = Addresses::new(start);
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        for _ in 0..2 {
            assert!(addresses.is_within_rate(key(1), 2, at(900)));
            addresses.take(key(1), 2, at(900));
        }
        addresses.take(key(2), 2, at(1000));
        assert!(!addresses.is_within_rate(key(1), 2, at(1100)));
        assert!(addresses.is_within_rate(key(2), 2, at(1100)));
        assert!(addresses.is_within_rate(key(1), 2, at(1400)));
        addresses.take(key(1), 2, at(1400));
        assert!(!addresses.is_within_rate(key(1), 2, at(1500)));
    }

    #[test]
    fn rates_are_bounded_and_old_ones_forgotten() {
        let start = Instant::now();
        let mut addresses = Addresses::new(start);
        for n in 0..4 * MAX_RATES as u32 {
            addresses.take(key(n), 1, start);
        }
        assert!(addresses.rates.len() + addresses.older_rates.len() <= 2 * MAX_RATES);
        for second in 1..3 {
            addresses.take(key(0), 1, start + second * GENERATION);
        }
        assert_eq!((addresses.rates.len(), addresses.older_rates.len()), (1, 0));
    }
}
