//! The [`Limits`]: how many sessions, how fast, and how many from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::telemetry::metrics::Rejected;
use rookery_config as config;

/// Addresses that are remembered without sessions, before the idle ones are forgotten.
const REMEMBERED: usize = 10_000;

/// A bucket of permissions that fills evenly: `rate` a second, at most a second's worth.
#[derive(Clone, Debug)]
pub struct Bucket {
    left: f64,
    filled: Instant,
}

impl Bucket {
    /// A full bucket.
    pub fn full(rate: u32, now: Instant) -> Self {
        Bucket { left: f64::from(rate), filled: now }
    }

    /// Takes one permission, where there is one.
    pub fn take(&mut self, rate: u32, now: Instant) -> bool {
        let rate = f64::from(rate);
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.left = (self.left + passed * rate).min(rate.max(1.0));
        self.filled = now;
        let taken = self.left >= 1.0;
        if taken {
            self.left -= 1.0;
        }
        taken
    }
}

/// Bounds on sessions. Cloning is shallow.
#[derive(Clone)]
pub struct Limits {
    inner: Arc<Inner>,
}

struct Inner {
    config: ArcSwap<config::Limits>,
    books: Mutex<Books>,
}

struct Books {
    sessions: u32,
    /// Refused because of `limits.connections`, since [`Limits::fullness`] looked.
    refused: u64,
    /// The same since it became full; `None`: it is not.
    full: Option<u64>,
    rate: Bucket,
    addresses: HashMap<IpAddr, Address>,
}

struct Address {
    sessions: u32,
    rate: Bucket,
}

/// A session's place among the limits; dropping it frees the place.
pub struct Slot {
    limits: Limits,
    address: IpAddr,
}

/// News of `limits.connections`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fullness {
    /// Clients are refused.
    Begins,
    /// Nobody is any more; so many were.
    Ends {
        /// Handshakes that were refused meanwhile.
        refused: u64,
    },
}

/// A session that cannot be opened now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// Which limit it is.
    pub reason: Rejected,
    /// When to try again.
    pub retry_after: Duration,
}

impl Limits {
    /// No sessions yet.
    pub fn new(config: config::Limits) -> Self {
        let now = Instant::now();
        let rate = Bucket::full(config.connect_rate.0, now);
        let books = Books { sessions: 0, refused: 0, full: None, rate, addresses: HashMap::new() };
        Limits {
            inner: Arc::new(Inner { config: ArcSwap::from_pointee(config), books: books.into() }),
        }
    }

    /// New bounds, for the sessions to come.
    pub fn set(&self, config: config::Limits) {
        self.inner.config.store(Arc::new(config));
    }

    /// The bounds.
    pub fn config(&self) -> Arc<config::Limits> {
        self.inner.config.load_full()
    }

    /// Whether that `limits.connections` is reached, or is no more, is news since the last look:
    /// it is as long as somebody is refused between two looks.
    pub fn fullness(&self) -> Option<Fullness> {
        let mut books = self.inner.books.lock();
        let refused = std::mem::take(&mut books.refused);
        match books.full {
            None if refused == 0 => None,
            None => {
                books.full = Some(refused);
                Some(Fullness::Begins)
            }
            Some(before) if refused > 0 => {
                books.full = Some(before + refused);
                None
            }
            Some(refused) => {
                books.full = None;
                Some(Fullness::Ends { refused })
            }
        }
    }

    /// Opens a session.
    ///
    /// # Errors
    /// At a limit.
    pub fn open(&self, address: IpAddr) -> Result<Slot, Full> {
        let config = self.config();
        let now = Instant::now();
        let mut books = self.inner.books.lock();
        let full = |reason, seconds| Full { reason, retry_after: Duration::from_secs(seconds) };
        if books.sessions >= config.connections {
            books.refused += 1;
            return Err(full(Rejected::Connections, 5));
        }
        if let Some(per_ip) = &config.per_ip {
            let open = books.addresses.get(&address).map_or(0, |a| a.sessions);
            if per_ip.connections.is_some_and(|limit| open >= limit) {
                return Err(full(Rejected::PerIp, 5));
            }
            if let Some(rate) = per_ip.connect_rate {
                let known = books.addresses.entry(address);
                let known = known
                    .or_insert_with(|| Address { sessions: 0, rate: Bucket::full(rate.0, now) });
                if !known.rate.take(rate.0, now) {
                    return Err(full(Rejected::PerIp, 1));
                }
            }
        }
        if !books.rate.take(config.connect_rate.0, now) {
            return Err(full(Rejected::ConnectRate, 1));
        }
        books.sessions += 1;
        if config.per_ip.is_some() {
            let known = books.addresses.entry(address);
            known
                .or_insert_with(|| Address { sessions: 0, rate: Bucket::full(0, now) })
                .sessions += 1;
            books.forget(now);
        }
        Ok(Slot { limits: self.clone(), address })
    }
}

impl Slot {
    /// The client's address.
    pub fn address(&self) -> IpAddr {
        self.address
    }
}

impl Books {
    fn forget(&mut self, now: Instant) {
        if self.addresses.len() > REMEMBERED {
            let idle = Duration::from_secs(60);
            self.addresses
                .retain(|_, a| a.sessions > 0 || now.duration_since(a.rate.filled) < idle);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut books = self.limits.inner.books.lock();
        books.sessions -= 1;
        if let Some(address) = books.addresses.get_mut(&self.address) {
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
        limits.open(address(from)).err().map(|full| full.reason)
    }

    #[test]
    fn sessions_are_counted_until_they_are_dropped() {
        let limits = Limits::new(config::Limits { connections: 1, ..Default::default() });
        let slot = limits.open(address(1)).ok().unwrap();
        assert_eq!(refused(&limits, 2), Some(Rejected::Connections));
        drop(slot);
        assert_eq!(refused(&limits, 2), None);
    }

    #[test]
    fn being_full_is_news_once_and_so_is_its_end() {
        let limits = Limits::new(config::Limits { connections: 1, ..Default::default() });
        let slot = limits.open(address(1)).ok().unwrap();
        assert_eq!(limits.fullness(), None);
        for (times, news) in [(2, Some(Fullness::Begins)), (3, None)] {
            (0..times).for_each(|_| assert!(refused(&limits, 2).is_some()));
            assert_eq!(limits.fullness(), news);
        }
        drop(slot);
        assert_eq!(limits.fullness(), Some(Fullness::Ends { refused: 5 }));
        assert_eq!(limits.fullness(), None);
    }

    #[test]
    fn the_rate_is_a_second_s_worth_at_once() {
        let limits = Limits::new(config::Limits { connect_rate: Rate(2), ..Default::default() });
        assert_eq!(refused(&limits, 1), None);
        assert_eq!(refused(&limits, 1), None);
        assert_eq!(refused(&limits, 1), Some(Rejected::ConnectRate));
    }

    #[test]
    fn one_address_does_not_use_up_another_s_bounds() {
        let per_ip = config::PerIp { connections: Some(1), connect_rate: Some(Rate(2)) };
        let limits = Limits::new(config::Limits { per_ip: Some(per_ip), ..Default::default() });
        let slot = limits.open(address(1)).ok().unwrap();
        assert_eq!(refused(&limits, 1), Some(Rejected::PerIp));
        assert_eq!(refused(&limits, 2), None);
        drop(slot);
        assert_eq!(refused(&limits, 1), None);
        assert_eq!(refused(&limits, 1), Some(Rejected::PerIp));
    }

    #[test]
    fn a_bucket_fills_evenly() {
        let start = Instant::now();
        let mut bucket = Bucket::full(2, start);
        assert!(bucket.take(2, start) && bucket.take(2, start) && !bucket.take(2, start));
        assert!(bucket.take(2, start + Duration::from_millis(500)));
        assert!(!bucket.take(2, start + Duration::from_millis(900)));
    }
}
