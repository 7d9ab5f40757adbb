//! The [`BatchScheduler`]: which batch of a shard is delivered next. Big rooms are delivered in
//! chunks, and between chunks other targets are served.

use std::collections::VecDeque;

use rookery_protocol::Room;

use super::batch::{Arrival, Batch, OrderKey};
use super::member::Member;
use super::membership::Membership;
use crate::hashing::{HashMap, HashSet, RandomState};

/// Batches that wait, and those whose delivery is under way.
///
/// Two batches that share a room are never under way together, so a room's messages keep their
/// order; batches that share none overtake each other.
#[derive(Default)]
pub struct BatchScheduler {
    /// Makes the keys of rooms and namespaces.
    hasher: RandomState,
    /// Not yet looked at.
    collected: Vec<Batch>,
    /// Behind a batch with a room of theirs, in order.
    waiting: VecDeque<Batch>,
    /// How many waiting batches there are for a key.
    waiting_keys: HashMap<OrderKey, usize>,
    /// The latest batch that is for one room alone and may take more.
    open: HashMap<OrderKey, u64>,
    running: HashSet<OrderKey>,
    under_way: VecDeque<Batch>,
    /// A batch ended since the waiting ones were looked at.
    ended: bool,
    backlog: usize,
    numbers: u64,
}

impl BatchScheduler {
    /// Takes a publication, joining it to an earlier one with the same target where that changes
    /// no room's order.
    pub fn collect(&mut self, arrival: Arrival) {
        self.backlog += 1;
        let keys = arrival.order_keys(&self.hasher);
        let is_single = arrival.has_single_room();
        let number = if is_single {
            self.open.get(&keys[0]).copied()
        } else {
            let last = self.collected.last();
            last.filter(|b| b.first().same_target(&arrival.publication)).map(|b| b.number)
        };
        if let Some(batch) = number.and_then(|number| self.batch(number))
            && batch.has_room_for(&arrival)
        {
            batch.add(arrival);
            return;
        }
        self.numbers += 1;
        // An earlier batch takes nothing any more that would overtake this one.
        if is_single {
            self.open.insert(keys[0], self.numbers);
        } else {
            for key in &keys {
                self.open.remove(key);
            }
        }
        self.collected.push(Batch::new(self.numbers, arrival, keys));
    }

    /// A member is told who is in a room: what waits to be told of that is not for it.
    pub fn exclude_presence(&mut self, member: &Member, room: &Room) {
        let key = OrderKey::new(&self.hasher, &member.namespace, Some(room));
        if self.waiting_keys.contains_key(&key) {
            let waiting = self.waiting.iter_mut();
            waiting
                .filter(|batch| batch.is_for(&member.namespace, room))
                .for_each(|batch| batch.exclude_presence(member.key));
        }
    }

    fn batch(&mut self, number: u64) -> Option<&mut Batch> {
        if let Ok(at) = self.collected.binary_search_by_key(&number, |b| b.number) {
            return self.collected.get_mut(at);
        }
        let at = self.waiting.binary_search_by_key(&number, |b| b.number).ok()?;
        self.waiting.get_mut(at)
    }

    /// Begins the batches that share no room with one under way, nor with an earlier one that
    /// waits. Gives how many deliveries they are.
    pub fn begin_ready(&mut self, membership: &Membership) -> usize {
        let mut deliveries = 0;
        if std::mem::take(&mut self.ended) && !self.waiting.is_empty() {
            let mut blocked: HashSet<OrderKey> = HashSet::default();
            for batch in std::mem::take(&mut self.waiting) {
                let is_blocked =
                    |key: &OrderKey| self.running.contains(key) || blocked.contains(key);
                if batch.order_keys().iter().any(is_blocked) {
                    blocked.extend(batch.order_keys());
                    self.waiting.push_back(batch);
                } else {
                    batch.order_keys().iter().for_each(|key| self.stop_waiting(key));
                    deliveries += self.begin(batch, membership);
                }
            }
        }
        let mut collected = std::mem::take(&mut self.collected);
        for batch in collected.drain(..) {
            let is_blocked =
                |key: &OrderKey| self.running.contains(key) || self.waiting_keys.contains_key(key);
            if batch.order_keys().iter().any(is_blocked) {
                for key in batch.order_keys() {
                    *self.waiting_keys.entry(*key).or_default() += 1;
                }
                self.waiting.push_back(batch);
            } else {
                deliveries += self.begin(batch, membership);
            }
        }
        self.collected = collected;
        deliveries
    }

    fn stop_waiting(&mut self, key: &OrderKey) {
        if let Some(waiting) = self.waiting_keys.get_mut(key) {
            *waiting -= 1;
            if *waiting == 0 {
                self.waiting_keys.remove(key);
            }
        }
    }

    fn begin(&mut self, mut batch: Batch, membership: &Membership) -> usize {
        for key in batch.order_keys() {
            if self.open.get(key) == Some(&batch.number) {
                self.open.remove(key);
            }
            self.running.insert(*key);
        }
        let deliveries = batch.begin(membership);
        self.put_back(batch);
        deliveries
    }

    /// Puts a batch behind the others, to go on with its next chunk, or ends it where it is done.
    pub fn put_back(&mut self, batch: Batch) {
        if batch.is_done() {
            for key in batch.order_keys() {
                self.running.remove(key);
            }
            self.backlog -= batch.publication_count();
            self.ended = true;
        } else {
            self.under_way.push_back(batch);
        }
    }

    /// The batch whose next chunk is due.
    pub fn take_next(&mut self) -> Option<Batch> {
        self.under_way.pop_front()
    }

    /// Deliveries of the collected publications, each for one room; `None` where one is not, or
    /// where the delivery of others has begun.
    pub fn collected_deliveries(&self, membership: &Membership) -> Option<usize> {
        if !self.under_way.is_empty() || !self.waiting.is_empty() {
            return None;
        }
        let deliveries = |batch: &Batch| batch.deliveries_to_one_room(membership);
        self.collected.iter().map(deliveries).sum()
    }

    /// Publications that are not delivered to all their recipients yet.
    pub fn backlog(&self) -> usize {
        self.backlog
    }
}

#[cfg(test)]
mod tests;
