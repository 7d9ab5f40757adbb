//! Batches: neighbours with the same target become one write per member, big rooms are worked
//! off in chunks, and between chunks other targets have their turn.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::envelope::Envelope;
use super::membership::Recipients;
use crate::connection::outbox::PacketBatch;
use rookery_protocol::Room;

/// Bytes of publications that are joined into one write per member.
const JOINED: usize = 256 << 10;

/// A room, or with `None` a whole namespace, in which publications keep their order.
type Key = (Arc<str>, Option<Room>);

/// Publications with one target, in order.
pub struct Group {
    number: u64,
    envelopes: Vec<Arc<Envelope>>,
    size: usize,
}

/// A group being worked off.
pub struct Job {
    /// Who gets it.
    pub recipients: Recipients,
    /// How many of them have been served.
    pub served: usize,
    group: Group,
    /// What they get, for each position of a target room that occurs.
    bundles: Vec<Option<Arc<PacketBatch>>>,
}

/// Publications that wait for their turn, and those whose turn is under way.
///
/// Two groups that share a room are never under way together, so a room's messages keep their
/// order; groups that share none overtake each other.
#[derive(Default)]
pub struct Batches {
    /// Not yet looked at.
    collected: Vec<Group>,
    /// Behind a group with a room of theirs, in order.
    waiting: VecDeque<Group>,
    /// How many waiting groups there are for a key.
    held: HashMap<Key, usize>,
    /// The latest group that is for one room alone and may take more.
    open: HashMap<Key, u64>,
    running: HashSet<Key>,
    under_way: VecDeque<Job>,
    /// A job ended since the waiting groups were looked at.
    ended: bool,
    backlog: usize,
    numbers: u64,
}

impl Group {
    /// The first of its publications; all have the same target.
    pub fn first(&self) -> &Arc<Envelope> {
        &self.envelopes[0]
    }

    fn keys(&self) -> impl Iterator<Item = Key> {
        let p = &self.first().publication;
        let whole = p.rooms.is_empty().then(|| (p.namespace.clone(), None));
        p.rooms.iter().map(|room| (p.namespace.clone(), Some(room.clone()))).chain(whole)
    }

    fn add(&mut self, envelope: Arc<Envelope>) {
        self.size += envelope.size();
        self.envelopes.push(envelope);
    }
}

impl Job {
    /// What the recipient at `at` gets.
    pub fn bundle(&mut self, at: usize) -> Arc<PacketBatch> {
        let position = self.recipients.rooms.get(at).map_or(0, |p| usize::from(*p));
        if self.bundles.len() <= position {
            self.bundles.resize(position + 1, None);
        }
        let items = || self.group.envelopes.iter().map(|e| e.item(position)).collect();
        self.bundles[position].get_or_insert_with(|| Arc::new(PacketBatch::new(items()))).clone()
    }

    /// The first of its publications; all have the same target.
    pub fn first(&self) -> &Arc<Envelope> {
        self.group.first()
    }

    /// Whether all recipients were served.
    pub fn done(&self) -> bool {
        self.served >= self.recipients.members.len()
    }
}

impl Batches {
    /// Takes a publication, joining it to an earlier one with the same target where that changes
    /// no room's order.
    pub fn collect(&mut self, envelope: Arc<Envelope>) {
        self.backlog += 1;
        let p = &envelope.publication;
        let single = match &p.rooms[..] {
            [room] if p.except.is_empty() => Some((p.namespace.clone(), Some(room.clone()))),
            _ => None,
        };
        let number = match &single {
            Some(key) => self.open.get(key).copied(),
            None => {
                self.collected.last().filter(|g| g.first().same_target(&envelope)).map(|g| g.number)
            }
        };
        if let Some(group) = number.and_then(|number| self.group(number))
            && group.size + envelope.size() <= JOINED
        {
            group.add(envelope);
            return;
        }
        self.numbers += 1;
        let mut group = Group { number: self.numbers, envelopes: Vec::new(), size: 0 };
        group.add(envelope);
        // An earlier group takes nothing any more that would overtake this one.
        for key in group.keys() {
            self.open.remove(&key);
        }
        if let Some(key) = single {
            self.open.insert(key, group.number);
        }
        self.collected.push(group);
    }

    fn group(&mut self, number: u64) -> Option<&mut Group> {
        if let Ok(at) = self.collected.binary_search_by_key(&number, |g| g.number) {
            return self.collected.get_mut(at);
        }
        let at = self.waiting.binary_search_by_key(&number, |g| g.number).ok()?;
        self.waiting.get_mut(at)
    }

    /// Gives the groups whose turn can begin: those that share no room with one under way, nor
    /// with an earlier one that waits. Each must be begun.
    pub fn ready(&mut self) -> Vec<Group> {
        let mut ready = Vec::new();
        if std::mem::take(&mut self.ended) && !self.waiting.is_empty() {
            let mut blocked = HashSet::new();
            for group in std::mem::take(&mut self.waiting) {
                if group.keys().any(|k| self.running.contains(&k) || blocked.contains(&k)) {
                    blocked.extend(group.keys());
                    self.waiting.push_back(group);
                } else {
                    group.keys().for_each(|key| self.let_go(&key));
                    self.run(&group);
                    ready.push(group);
                }
            }
        }
        for group in std::mem::take(&mut self.collected) {
            if group.keys().any(|k| self.running.contains(&k) || self.held.contains_key(&k)) {
                for key in group.keys() {
                    *self.held.entry(key).or_default() += 1;
                }
                self.waiting.push_back(group);
            } else {
                self.run(&group);
                ready.push(group);
            }
        }
        ready
    }

    fn let_go(&mut self, key: &Key) {
        if let Some(held) = self.held.get_mut(key) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(key);
            }
        }
    }

    fn run(&mut self, group: &Group) {
        for key in group.keys() {
            if self.open.get(&key) == Some(&group.number) {
                self.open.remove(&key);
            }
            self.running.insert(key);
        }
    }

    /// Begins a group's turn.
    pub fn begin(&mut self, group: Group, recipients: Recipients) {
        group.envelopes.iter().for_each(|envelope| envelope.addressed(recipients.members.len()));
        self.put_back(Job { recipients, served: 0, group, bundles: Vec::new() });
    }

    /// Puts a job behind the others, to go on at its next turn, or ends it where it is done.
    pub fn put_back(&mut self, job: Job) {
        if job.done() {
            for key in job.group.keys() {
                self.running.remove(&key);
            }
            self.backlog -= job.group.envelopes.len();
            self.ended = true;
        } else {
            self.under_way.push_back(job);
        }
    }

    /// The job whose turn it is.
    pub fn take_turn(&mut self) -> Option<Job> {
        self.under_way.pop_front()
    }

    /// Publications that are not delivered to all their recipients yet.
    pub fn backlog(&self) -> usize {
        self.backlog
    }
}
