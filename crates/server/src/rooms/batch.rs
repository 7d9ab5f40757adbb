//! The [`Batch`]: neighbouring publications with one target, which become one write per member.

use std::ops::Range;
use std::sync::Arc;

use rookery_protocol::Room;
use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::encoded_publication::EncodedPublication;
use super::membership::{Exclusion, Membership};
use super::recipients::{Recipient, Recipients};
use crate::connection::outbox::PacketBatch;
use crate::hashing::RandomState;

/// Bytes of publications that are joined into one write per member.
const MAX_JOINED: usize = 256 << 10;

/// The hash of a room, or of a whole namespace, in which publications keep their order. Two of the
/// same hash only wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OrderKey(u64);

impl OrderKey {
    /// The key of a room; `None`: of the whole namespace.
    pub fn new(hasher: &RandomState, namespace: &str, room: Option<&str>) -> Self {
        OrderKey(hasher.hash_one((namespace, room)))
    }
}

/// The rooms in which a publication keeps its order; most publications have one.
pub type OrderKeys = SmallVec<[OrderKey; 1]>;

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
    order_keys: OrderKeys,
    publications: SmallVec<[Arc<EncodedPublication>; 1]>,
    size: usize,
    counts: Vec<(usize, oneshot::Sender<usize>)>,
    /// Which members do not get which publications; in order once the delivery begins.
    exclusions: SmallVec<[MemberExclusion; 1]>,
    recipients: Recipients,
    served: usize,
    /// The joined packets, for each position of a target room that occurs.
    packets: SmallVec<[Option<Arc<PacketBatch>>; 1]>,
}

/// A member does not get some neighbouring publications.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct MemberExclusion {
    /// The member's key.
    member: u64,
    /// The position of the first one in the batch.
    start: usize,
    /// The position after the last one.
    end: usize,
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

    /// Whether it is for one room and excludes members only: it may share a batch with others like
    /// it.
    pub fn has_single_room(&self) -> bool {
        self.publication.rooms.len() == 1 && matches!(self.exclusion, Exclusion::Members(_))
    }

    /// The rooms in which it keeps its order.
    pub fn order_keys(&self, hasher: &RandomState) -> OrderKeys {
        let p = &self.publication;
        let key = |room: Option<&str>| OrderKey::new(hasher, &p.namespace, room);
        if p.rooms.is_empty() {
            return OrderKeys::from_buf([key(None)]);
        }
        p.rooms.iter().map(|room| key(Some(room))).collect()
    }
}

impl Batch {
    /// A batch of one publication, not yet delivered to anybody.
    pub fn new(number: u64, arrival: Arrival, order_keys: OrderKeys) -> Self {
        let mut batch = Batch {
            number,
            order_keys,
            publications: SmallVec::new(),
            size: 0,
            counts: Vec::new(),
            exclusions: SmallVec::new(),
            recipients: Recipients::none(),
            served: 0,
            packets: SmallVec::new(),
        };
        batch.add(arrival);
        batch
    }

    /// Whether a publication is for the same rooms and fits into it.
    pub fn has_room_for(&self, arrival: &Arrival) -> bool {
        let (first, new) = (self.first(), &arrival.publication);
        self.size + new.size() <= MAX_JOINED
            && first.rooms == new.rooms
            && first.namespace == new.namespace
    }

    /// Adds a publication with the same target.
    pub fn add(&mut self, arrival: Arrival) {
        let at = self.publications.len();
        self.size += arrival.publication.size();
        self.counts.extend(arrival.count.map(|count| (at, count)));
        if let Exclusion::Members(keys) = arrival.exclusion {
            let exclusion = |member| MemberExclusion { member, start: at, end: at + 1 };
            self.exclusions.extend(keys.into_iter().map(exclusion));
        }
        self.publications.push(arrival.publication);
    }

    /// A member is told who is in the room: what waits here to be told of that is contained.
    pub fn exclude_presence(&mut self, member: u64) {
        let told = |publication: &Arc<EncodedPublication>| publication.tells_presence;
        let mut end = 0;
        while let Some(start) = self.publications[end..].iter().position(told) {
            let start = end + start;
            let length = self.publications[start..].iter().take_while(|one| told(one)).count();
            end = start + length;
            self.exclusions.push(MemberExclusion { member, start, end });
        }
    }

    /// Whether it is for this room alone.
    pub fn is_for(&self, namespace: &str, room: &Room) -> bool {
        let first = self.first();
        *first.namespace == *namespace && first.rooms[..] == [room.clone()]
    }

    /// The first of its publications; all have the same target.
    pub fn first(&self) -> &Arc<EncodedPublication> {
        &self.publications[0]
    }

    /// Bytes of its publications together, in their text form.
    pub fn size(&self) -> usize {
        self.size
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
    pub fn order_keys(&self) -> &[OrderKey] {
        &self.order_keys
    }

    /// Takes the recipients as they are now, and tells whoever waits how many they are. Gives how many
    /// they are of all its publications.
    pub fn begin(&mut self, membership: &Membership) -> usize {
        let first = &self.publications[0];
        let except = if self.exclusions.is_empty() { &first.except[..] } else { &[] };
        self.recipients = membership.recipients(&first.namespace, &first.rooms, except);
        self.exclusions.sort_unstable();
        let mut recipients: SmallVec<[usize; 1]> =
            SmallVec::from_elem(self.recipients.len(), self.publications.len());
        let mut last: Option<MemberExclusion> = None;
        for exclusion in &self.exclusions {
            let MemberExclusion { member, start, end } = *exclusion;
            let counted = last.filter(|last| last.member == member).map_or(0, |last| last.end);
            if end > counted && membership.has(&first.namespace, &first.rooms, member) {
                recipients[start.max(counted)..end].iter_mut().for_each(|number| *number -= 1);
            }
            last = Some(MemberExclusion { member, start, end: end.max(counted) });
        }
        for (publication, recipients) in self.publications.iter().zip(&recipients) {
            publication.addressed(*recipients);
        }
        for (at, count) in self.counts.drain(..) {
            // Whoever asked may have given up.
            let _ = count.send(recipients[at]);
        }
        recipients.iter().sum()
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
        !self.exclusions.is_empty() && !self.exclusions_of(recipient).is_empty()
    }

    /// Where the exclusions of a member are.
    fn exclusions_of(&self, recipient: &Recipient) -> Range<usize> {
        let key = recipient.member.key;
        let start = self.exclusions.partition_point(|exclusion| exclusion.member < key);
        let of_member = |exclusion: &&MemberExclusion| exclusion.member == key;
        start..start + self.exclusions[start..].iter().take_while(of_member).count()
    }

    /// What the recipient at `at` gets; nothing, where all of it is not for that member.
    pub fn packets(&mut self, at: usize) -> Option<Arc<PacketBatch>> {
        let position = self.recipients.position(at);
        let excluded = self.exclusions_of(&self.recipients.list()[at]);
        if !excluded.is_empty() {
            let excluded = &self.exclusions[excluded];
            let is_due = |at: usize| !excluded.iter().any(|e| (e.start..e.end).contains(&at));
            let packets = self.publications.iter().enumerate().filter(|(at, _)| is_due(*at));
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
