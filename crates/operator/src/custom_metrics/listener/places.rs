//! [`Places`]: how many connections there may be, and whose gives way.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Connections whose client is not known to be an API server. Beyond it, the oldest one of the
/// address with the most of them is closed.
pub(super) const MAX_UNKNOWN: usize = 128;

/// Of these, the connections of one address. Beyond it, its oldest one is closed.
pub(super) const MAX_UNKNOWN_PER_ADDRESS: usize = 32;

/// Connections of API servers: each of them has a few.
const MAX_KNOWN: usize = 256;

/// Places for the connections of a listener. Clients that have not proved to be an API server
/// have places of their own, so that they cannot keep the API servers out. Cloning is shallow.
#[derive(Clone)]
pub(super) struct Places {
    unknown: Arc<Mutex<Unknown>>,
    known: Arc<Semaphore>,
}

/// The place of a connection whose client is not known, until dropped.
pub(super) struct UnknownPlace {
    unknown: Arc<Mutex<Unknown>>,
    address: IpAddr,
    id: u64,
    /// Cancelled when the connection must close, because newer ones need its place.
    pub(super) evicted: CancellationToken,
}

/// The connections of unknown clients by address, the oldest first.
#[derive(Default)]
struct Unknown {
    by_address: HashMap<IpAddr, VecDeque<(u64, CancellationToken)>>,
    count: usize,
    next_id: u64,
}

impl Places {
    pub(super) fn new() -> Self {
        Places { unknown: Arc::default(), known: Arc::new(Semaphore::new(MAX_KNOWN)) }
    }

    /// Takes a place for a connection that was just accepted; an older one may have to give way.
    pub(super) fn enter(&self, address: IpAddr) -> UnknownPlace {
        let (id, evicted) = self.unknown.lock().enter(address);
        UnknownPlace { unknown: self.unknown.clone(), address, id, evicted }
    }

    /// A place for a connection whose client proved to be an API server; `None` if all are taken.
    pub(super) fn known(&self) -> Option<OwnedSemaphorePermit> {
        self.known.clone().try_acquire_owned().ok()
    }
}

impl Drop for UnknownPlace {
    fn drop(&mut self) {
        self.unknown.lock().leave(self.address, self.id);
    }
}

impl Unknown {
    fn enter(&mut self, address: IpAddr) -> (u64, CancellationToken) {
        let of_address = self.by_address.get(&address).map_or(0, VecDeque::len);
        if of_address >= MAX_UNKNOWN_PER_ADDRESS {
            self.evict_oldest(address);
        } else if self.count >= MAX_UNKNOWN {
            let most = self.by_address.iter().max_by_key(|(_, connections)| connections.len());
            if let Some(address) = most.map(|(address, _)| *address) {
                self.evict_oldest(address);
            }
        }
        let (id, evicted) = (self.next_id, CancellationToken::new());
        self.next_id += 1;
        self.count += 1;
        self.by_address.entry(address).or_default().push_back((id, evicted.clone()));
        (id, evicted)
    }

    fn evict_oldest(&mut self, address: IpAddr) {
        let oldest = self.by_address.get(&address).and_then(|connections| connections.front());
        if let Some((id, evicted)) = oldest {
            evicted.cancel();
            let id = *id;
            self.leave(address, id);
        }
    }

    fn leave(&mut self, address: IpAddr, id: u64) {
        let Some(connections) = self.by_address.get_mut(&address) else { return };
        let before = connections.len();
        connections.retain(|(other, _)| *other != id);
        self.count -= before - connections.len();
        if connections.is_empty() {
            self.by_address.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn an_address_with_too_many_connections_loses_its_oldest() {
        let places = Places::new();
        let other = places.enter(address(2));
        let mut held: Vec<_> =
            (0..MAX_UNKNOWN_PER_ADDRESS).map(|_| places.enter(address(1))).collect();
        assert!(held.iter().all(|place| !place.evicted.is_cancelled()));
        held.push(places.enter(address(1)));
        assert!(held[0].evicted.is_cancelled());
        assert!(held[1..].iter().all(|place| !place.evicted.is_cancelled()));
        assert!(!other.evicted.is_cancelled());
    }

    #[test]
    fn a_new_address_finds_a_place_at_the_cost_of_whoever_has_most() {
        let places = Places::new();
        let mut held = Vec::new();
        for n in 0..MAX_UNKNOWN {
            held.push(places.enter(address((n / MAX_UNKNOWN_PER_ADDRESS) as u8)));
        }
        drop(held.pop());
        held.push(places.enter(address(200)));
        assert!(held.iter().all(|place| !place.evicted.is_cancelled()));
        let new = places.enter(address(201));
        assert_eq!(held.iter().filter(|place| place.evicted.is_cancelled()).count(), 1);
        assert!(!held.last().unwrap().evicted.is_cancelled() && !new.evicted.is_cancelled());
    }

    #[test]
    fn a_place_is_free_again_once_its_connection_ended() {
        let places = Places::new();
        for _ in 0..2 * MAX_UNKNOWN {
            drop(places.enter(address(1)));
        }
        let unknown = places.unknown.lock();
        assert_eq!((unknown.count, unknown.by_address.len()), (0, 0));
    }
}
