//! Batches: neighbours with the same target become one write per member, big rooms are worked
//! off in chunks, and between chunks other targets have their turn.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::envelope::Envelope;
use super::membership::Recipients;
use crate::delivery::outbox::Bundle;
use crate::publication::Room;

/// Publications with one target, in order.
pub struct Group {
    envelopes: Vec<Arc<Envelope>>,
}

/// A group being worked off.
pub struct Job {
    /// Its first publication; all have the same target.
    pub first: Arc<Envelope>,
    /// Who gets it.
    pub recipients: Recipients,
    /// How many of them have been served.
    pub served: usize,
    /// What they get, for each position of a target room that occurs.
    bundles: Vec<Option<Arc<Bundle>>>,
    envelopes: Vec<Arc<Envelope>>,
}

/// Publications that wait for their turn, and those whose turn is under way.
///
/// Two groups that share a room are never under way together, so a room's messages keep their
/// order; groups that share none overtake each other.
#[derive(Default)]
pub struct Batches {
    collecting: Vec<Group>,
    mergeable: HashMap<(Arc<str>, Room), usize>,
    waiting: VecDeque<Group>,
    under_way: VecDeque<Job>,
}

impl Group {
    /// The publications.
    pub fn envelopes(&self) -> &[Arc<Envelope>] {
        &self.envelopes
    }

    fn rooms(&self) -> impl Iterator<Item = (&Arc<str>, Option<&Room>)> {
        rooms(&self.envelopes[0])
    }

    /// Makes it a job.
    pub fn start(self, recipients: Recipients) -> Job {
        Job {
            first: self.envelopes[0].clone(),
            recipients,
            served: 0,
            bundles: Vec::new(),
            envelopes: self.envelopes,
        }
    }
}

fn rooms(envelope: &Envelope) -> impl Iterator<Item = (&Arc<str>, Option<&Room>)> {
    let p = &envelope.publication;
    let whole = p.rooms.is_empty().then_some((&p.namespace, None));
    p.rooms.iter().map(|room| (&p.namespace, Some(room))).chain(whole)
}

impl Job {
    /// What the recipient at `at` gets.
    pub fn bundle(&mut self, at: usize) -> Arc<Bundle> {
        let position = self.recipients.rooms.get(at).map_or(0, |p| usize::from(*p));
        if self.bundles.len() <= position {
            self.bundles.resize(position + 1, None);
        }
        self.bundles[position]
            .get_or_insert_with(|| {
                let items = self.envelopes.iter().map(|e| e.item(position)).collect();
                Arc::new(Bundle::new(items))
            })
            .clone()
    }

    /// Whether all recipients were served.
    pub fn done(&self) -> bool {
        self.served >= self.recipients.members.len()
    }
}

impl Batches {
    /// Takes a publication, joining it to its neighbours with the same target.
    pub fn collect(&mut self, envelope: Arc<Envelope>) {
        let p = &envelope.publication;
        let single = match &p.rooms[..] {
            [room] if p.except.is_empty() => Some((p.namespace.clone(), room.clone())),
            _ => None,
        };
        let last = self.collecting.len().checked_sub(1);
        let at = match last {
            Some(last) if self.collecting[last].envelopes[0].same_target(&envelope) => Some(last),
            _ => single.as_ref().and_then(|key| self.mergeable.get(key).copied()),
        };
        if let Some(at) = at {
            self.collecting[at].envelopes.push(envelope);
            return;
        }
        match single {
            Some(key) => {
                self.mergeable.insert(key, self.collecting.len());
            }
            // Joining an earlier group from beyond this one would change a shared room's order.
            None => self.mergeable.clear(),
        }
        self.collecting.push(Group { envelopes: vec![envelope] });
    }

    /// Gives the groups whose turn can begin: those that share no room with one under way, nor
    /// with an earlier one that waits.
    pub fn ready(&mut self) -> Vec<Group> {
        self.mergeable.clear();
        if self.under_way.is_empty() && self.waiting.is_empty() {
            return std::mem::take(&mut self.collecting);
        }
        self.waiting.extend(self.collecting.drain(..));
        let mut blocked: Vec<(Arc<str>, Option<Room>)> =
            self.under_way.iter().flat_map(|job| owned(&job.first)).collect();
        let mut ready = Vec::new();
        let mut still = VecDeque::new();
        for group in self.waiting.drain(..) {
            let free = group
                .rooms()
                .all(|(ns, room)| !blocked.iter().any(|(n, r)| n == ns && r.as_ref() == room));
            if free {
                ready.push(group);
            } else {
                blocked.extend(owned(&group.envelopes[0]));
                still.push_back(group);
            }
        }
        self.waiting = still;
        ready
    }

    /// Puts a job behind the others, to go on at its next turn.
    pub fn put_back(&mut self, job: Job) {
        self.under_way.push_back(job);
    }

    /// The job whose turn it is.
    pub fn take_turn(&mut self) -> Option<Job> {
        self.under_way.pop_front()
    }

    /// How many jobs are under way.
    pub fn len(&self) -> usize {
        self.under_way.len()
    }

    /// Whether nothing is collected, waits, or is under way.
    pub fn is_empty(&self) -> bool {
        self.under_way.is_empty() && self.waiting.is_empty() && self.collecting.is_empty()
    }
}

fn owned(envelope: &Envelope) -> Vec<(Arc<str>, Option<Room>)> {
    rooms(envelope).map(|(ns, room)| (ns.clone(), room.cloned())).collect()
}
