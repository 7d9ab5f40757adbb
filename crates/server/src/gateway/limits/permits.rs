//! The permits of the limits: what they allow is given back when they are dropped.

use super::{LimitReached, Limits};
use crate::gateway::forwarded::Origin;
use crate::message::AddressKey;

/// Permits one session, which is in no namespace at first.
pub struct Permit {
    pub(super) limits: Limits,
    pub(super) origin: Origin,
    pub(super) key: AddressKey,
    pub(super) is_connected: bool,
}

impl Permit {
    /// Where the session's first request came from.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The session has connected to a namespace. May be called more than once.
    pub fn connect(&mut self) {
        if !std::mem::replace(&mut self.is_connected, true) {
            let mut counts = self.limits.inner.counts.lock();
            counts.unconnected -= 1;
            counts.addresses.change(self.key, |usage| usage.unconnected -= 1);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.limits.inner.counts.lock();
        let unconnected = u32::from(!self.is_connected);
        counts.sessions -= 1;
        counts.unconnected -= unconnected;
        counts.addresses.change(self.key, |usage| {
            usage.sessions -= 1;
            usage.unconnected -= unconnected;
        });
    }
}

/// Permits one connection that speaks HTTP.
pub struct ConnectionPermit {
    pub(super) limits: Limits,
    pub(super) key: AddressKey,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut counts = self.limits.inner.counts.lock();
        counts.connections -= 1;
        counts.addresses.change(self.key, |usage| usage.connections -= 1);
    }
}

/// Permits the memory of one request body, or of what has arrived of a client's messages.
pub struct BodyPermit {
    pub(super) limits: Limits,
    pub(super) key: AddressKey,
    /// Whether the address has only a part of the memory for all bodies.
    pub(super) shares: bool,
    pub(super) bytes: usize,
}

impl BodyPermit {
    /// Makes the permit large enough for a body of this many bytes. A body may have more than
    /// there is for all as long as it is the only one.
    ///
    /// # Errors
    /// All bodies, or those of the address, take what they may. The permit is as before.
    pub fn grow(&mut self, bytes: usize) -> Result<(), LimitReached> {
        let Some(more) = bytes.checked_sub(self.bytes) else { return Ok(()) };
        let total = self.limits.config().bodies.bytes();
        let share = if self.shares { total / 4 } else { total - total / 10 };
        let mut counts = self.limits.inner.counts.lock();
        let of_address = counts.addresses.usage(self.key).body_bytes;
        let exceeds = |used: usize, bound: usize| used > self.bytes && used + more > bound;
        if exceeds(counts.body_bytes, total) || exceeds(of_address, share) {
            return Err(LimitReached::BODIES);
        }
        counts.body_bytes += more;
        counts.addresses.change(self.key, |usage| usage.body_bytes += more);
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for BodyPermit {
    fn drop(&mut self) {
        if self.bytes > 0 {
            let mut counts = self.limits.inner.counts.lock();
            counts.body_bytes -= self.bytes;
            counts.addresses.change(self.key, |usage| usage.body_bytes -= self.bytes);
        }
    }
}
