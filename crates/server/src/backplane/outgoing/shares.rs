//! The [`Shares`]: what each address and each publisher holds of the queue of publications. Pure.

use std::fmt;
use std::hash::Hash;

use crate::hashing::HashMap;
use crate::message::{AddressKey, MemberId, Publication, PublicationId, Source};

/// Whose shares a publication counts for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    publisher: PublisherKey,
    /// `None` where it is not known, or is not a client's.
    address: Option<AddressKey>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum PublisherKey {
    /// One client.
    Client(MemberId),
    /// Everybody who publishes this way: the HTTP API is one publisher.
    Source(Source),
}

impl Holder {
    /// The holder that a publication counts for.
    pub fn of(publication: &Publication) -> Self {
        let publisher = match &publication.id {
            PublicationId::Client { member, .. } => PublisherKey::Client(member.clone()),
            PublicationId::Text(_) => PublisherKey::Source(publication.source),
        };
        Holder { publisher, address: publication.address }
    }
}

/// What has a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shared {
    /// One publisher: a client, or all who publish in one other way, such as the HTTP API.
    Publisher,
    /// All publishers at one address.
    Address,
}

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Shared::Publisher => "publisher",
            Shared::Address => "address",
        })
    }
}

/// A number of publications, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Bytes, channel names included.
    pub bytes: usize,
    /// Publications.
    pub messages: usize,
}

impl Amount {
    fn with(self, bytes: usize) -> Self {
        Amount { bytes: self.bytes + bytes, messages: self.messages + 1 }
    }

    fn without(self, other: Amount) -> Self {
        Amount {
            bytes: self.bytes.saturating_sub(other.bytes),
            messages: self.messages.saturating_sub(other.messages),
        }
    }

    fn fits_in(self, bound: Amount) -> bool {
        self.bytes <= bound.bytes && self.messages <= bound.messages
    }
}

/// What each address and each publisher holds. No address may hold more than what is free: one
/// gets up to a half of the queue, two a third each, and there is always something left for another
/// one (dynamic thresholds, Choudhury and Hahne 1998). In the same way, no publisher may hold more
/// than what is then left to its address. One without an address is on its own.
#[derive(Debug, Default)]
pub struct Shares {
    publishers: HashMap<PublisherKey, Amount>,
    addresses: HashMap<AddressKey, Amount>,
}

impl Shares {
    /// Adds a publication of so many bytes to what its holder holds.
    ///
    /// # Errors
    /// Whose share would exceed what is `free`. Nothing changed.
    pub fn take(&mut self, holder: &Holder, bytes: usize, free: Amount) -> Result<(), Shared> {
        let of_address = holder.address.and_then(|key| self.addresses.get(&key).copied());
        let of_address = of_address.unwrap_or_default();
        if holder.address.is_some() && !of_address.with(bytes).fits_in(free) {
            return Err(Shared::Address);
        }
        let held = self.publishers.get(&holder.publisher).copied().unwrap_or_default().with(bytes);
        if !held.fits_in(free.without(of_address)) {
            return Err(Shared::Publisher);
        }
        self.publishers.insert(holder.publisher.clone(), held);
        if let Some(key) = holder.address {
            self.addresses.insert(key, of_address.with(bytes));
        }
        Ok(())
    }

    /// A publication that was taken into account has left the queue.
    pub fn release(&mut self, holder: &Holder, bytes: usize) {
        release(&mut self.publishers, &holder.publisher, bytes);
        if let Some(key) = &holder.address {
            release(&mut self.addresses, key, bytes);
        }
    }

    /// Whether nobody holds anything.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.publishers.is_empty() && self.addresses.is_empty()
    }
}

fn release<K: Eq + Hash>(held: &mut HashMap<K, Amount>, key: &K, bytes: usize) {
    let Some(amount) = held.get_mut(key) else { return };
    *amount = amount.without(Amount { bytes, messages: 1 });
    if amount.messages == 0 {
        held.remove(key);
    }
}

#[cfg(test)]
mod tests;
