//! The [`Batch`]: neighbouring publications with one target, which become one write per member.

use std::collections::HashMap;
use std::sync::Arc;

use rookery_protocol::Room;
use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::encoded_publication::EncodedPublication;
use super::membership::{Exclusion, Membership};
use super::recipients::{Recipient, Recipients};
use crate::connection::outbox::PacketBatch;

/// Bytes of publications that are joined into one write per member.
const MAX_JOINED: usize = 256 << 10;

/// A room, or without a room a whole namespace, in which publications keep their order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OrderKey {
    namespace: Arc<str>,
    room: Option<Room>,
}

/// A publication in the queue of a shard.
pub struct Arrival {
    /// The publication, encoded.
    pub publication: Arc<EncodedPublication>,
    /// Gets the number of its recipients in the shard, where somebody waits for it.
    pub count: Option<oneshot::Sender<usize>>,
    /// Which members of the shard do not get it.
    pub exclusion: Exclusion,
}

/// Publications with one target, in order, and how far their delivery is.
pub struct Batch {
    pub(super) number: u64,
    publications: Vec<Arc<EncodedPublication>>,
    size: usize,
    counts: Vec<(usize, oneshot::Sender<usize>)>,
    /// The publications, by their positions, that a member of the room does not get.
    excluded: HashMap<u64, SmallVec<[usize; 1]>>,
    recipients: Recipients,
    served: usize,
    /// The joined packets, for each position of a target room that occurs.
    packets: Vec<Option<Arc<PacketBatch>>>,
}

impl Arrival {
    /// Tells whoever waits for it how many recipients it has, where that needs no list of them:
    /// others learn it when the delivery begins.
    pub fn counted(mut self, membership: &Membership) -> Self {
        let p = &self.publication;
        if let ([room], Exclusion::Members(keys)) = (&p.rooms[..], &self.exclusion)
            && let Some(count) = self.count.take()
        {
            // Whoever asked may have given up.
            let _ = count.send(membership.count(&p.namespace, room, keys));
        }
        self
    }

    /// The one room that it is for, where it is for one room and excludes members only: it may
    /// share a batch with others like it.
    pub fn single_room(&self) -> Option<OrderKey> {
        let p = &self.publication;
        match (&p.rooms[..], &self.exclusion) {
            ([room], Exclusion::Members(_)) => {
                Some(OrderKey { namespace: p.namespace.clone(), room: Some(room.clone()) })
            }
            _ => None,
        }
    }
}

impl Batch {
    /// A batch of one publication, not yet delivered to anybody.
    pub fn new(number: u64, arrival: Arrival) -> Self {
        let mut batch = Batch {
            number,
            publications: Vec::new(),
            size: 0,
            counts: Vec::new(),
            excluded: HashMap::new(),
            recipients: Recipients::none(),
            served: 0,
            packets: Vec::new(),
        };
        batch.add(arrival);
        batch
    }

    /// Whether another publication fits into it.
    pub fn has_room_for(&self, arrival: &Arrival) -> bool {
        self.size + arrival.publication.size() <= MAX_JOINED
    }

    /// Adds a publication with the same target.
    pub fn add(&mut self, arrival: Arrival) {
        let at = self.publications.len();
        self.size += arrival.publication.size();
        self.counts.extend(arrival.count.map(|count| (at, count)));
        if let Exclusion::Members(keys) = arrival.exclusion {
            keys.into_iter().for_each(|key| self.excluded.entry(key).or_default().push(at));
        }
        self.publications.push(arrival.publication);
    }

    /// The first of its publications; all have the same target.
    pub fn first(&self) -> &Arc<EncodedPublication> {
        &self.publications[0]
    }

    /// How many publications it has.
    pub fn publication_count(&self) -> usize {
        self.publications.len()
    }

    /// How many members its room has, for each of its publications; `None` where it is not for one
    /// room.
    pub fn deliveries_to_one_room(&self, membership: &Membership) -> Option<usize> {
        let first = self.first();
        let [room] = &first.rooms[..] else { return None };
        Some(membership.count(&first.namespace, room, &[]) * self.publications.len())
    }

    /// The rooms in which it keeps its order.
    pub fn order_keys(&self) -> impl Iterator<Item = OrderKey> {
        let p = self.first();
        let key = |room| OrderKey { namespace: p.namespace.clone(), room };
        let whole = p.rooms.is_empty().then(|| key(None));
        p.rooms.iter().map(move |room| key(Some(room.clone()))).chain(whole)
    }

    /// Takes the recipients as they are now, and tells whoever waits how many they are.
    pub fn begin(&mut self, membership: &Membership) {
        let first = self.first().clone();
        let except = if self.excludes_members() { &[] } else { &first.except[..] };
        self.recipients = membership.recipients(&first.namespace, &first.rooms, except);
        let mut recipients = vec![self.recipients.len(); self.publications.len()];
        for (key, publications) in &self.excluded {
            if membership.has(&first.namespace, &first.rooms, *key) {
                publications.iter().for_each(|at| recipients[*at] -= 1);
            }
        }
        for (publication, recipients) in self.publications.iter().zip(&recipients) {
            publication.addressed(*recipients);
        }
        for (at, count) in self.counts.drain(..) {
            // Whoever asked may have given up.
            let _ = count.send(recipients[at]);
        }
    }

    fn excludes_members(&self) -> bool {
        !self.excluded.is_empty()
    }

    /// Who gets it, as of the beginning of its delivery.
    pub fn recipients(&self) -> &Recipients {
        &self.recipients
    }

    /// How many of the recipients were served.
    pub fn served(&self) -> usize {
        self.served
    }

    /// The recipients before this position are served.
    pub fn set_served(&mut self, served: usize) {
        self.served = served;
    }

    /// Whether all recipients were served.
    pub fn is_done(&self) -> bool {
        self.served >= self.recipients.len()
    }

    /// Where the recipients end that get the same packets as the one at `at`, before `end`.
    pub fn run_end(&self, at: usize, end: usize) -> usize {
        let list = self.recipients.list();
        if self.is_excluded(&list[at]) {
            return at + 1;
        }
        let position = self.recipients.position(at);
        let same = |other: usize| {
            self.recipients.position(other) == position && !self.is_excluded(&list[other])
        };
        (at + 1..end).find(|other| !same(*other)).unwrap_or(end)
    }

    fn is_excluded(&self, recipient: &Recipient) -> bool {
        self.excludes_members() && self.excluded.contains_key(&recipient.member.key)
    }

    /// What the recipient at `at` gets; nothing, where all of it is not for that member.
    pub fn packets(&mut self, at: usize) -> Option<Arc<PacketBatch>> {
        let position = self.recipients.position(at);
        if let Some(publications) = self.excluded.get(&self.recipients.list()[at].member.key) {
            let packets = self.publications.iter().enumerate();
            let packets = packets.filter(|(at, _)| !publications.contains(at));
            let packets: Vec<_> = packets.map(|(_, p)| p.packet(position)).collect();
            return (!packets.is_empty()).then(|| Arc::new(PacketBatch::new(packets)));
        }
        if self.packets.len() <= position {
            self.packets.resize(position + 1, None);
        }
        let packets = || self.publications.iter().map(|p| p.packet(position)).collect();
        let shared = &mut self.packets[position];
        Some(shared.get_or_insert_with(|| Arc::new(PacketBatch::new(packets()))).clone())
    }
}
