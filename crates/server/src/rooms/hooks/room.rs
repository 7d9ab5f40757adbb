//! The [`HookedRoom`]: what this instance knows of a room with hooks, and what it does next. Pure.

mod answers;
mod next;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::event::PendingEvent;
use super::record::{Change, Record, Version};
use crate::hashing::{HashMap, HashSet};
use crate::rooms::presence::occupant::{Occupant, OccupantKey};
use crate::rooms::presence::view::{PodOccupants, RoomView, Transitions};
pub use next::Context;

/// How long what Redis confirmed counts more than what it has when that is older: so long it keeps
/// the versions of rooms that are over. What was not confirmed for longer may be out of date.
pub const TRUST: Duration = Duration::from_secs(600);

/// Looks at a room, a minute apart, after which an instance that is not the first in it decides too.
const DOUBTS: u8 = 2;

/// A room with hooks that somebody here is in, or that this instance has to see to its end.
pub struct HookedRoom {
    place: Place,
    /// Who is there, on all instances.
    present: HashMap<OccupantKey, Arc<Occupant>>,
    /// Among whom `present` and the record may differ.
    differing: HashSet<OccupantKey>,
    /// Who came or went here and is not written to Redis yet.
    unconfirmed: HashSet<OccupantKey>,
    empty_since: Option<Instant>,
    /// The record as this instance knows it; `None`: it does not.
    record: Option<Record>,
    confirmed_at: Instant,
    /// What Redis has in place of the record, which it lost.
    lost: Option<Version>,
    must_load: bool,
    view: ViewState,
    doubts: u8,
    /// Whether the room is in this instance's list in Redis, by which others see to it when this one
    /// is gone.
    is_held: bool,
    is_released: bool,
    /// Whether the room became this instance's again since it was surveyed.
    must_stay: bool,
    /// Events that are to be given to the backend's queue.
    unsent: BTreeMap<u64, PendingEvent>,
    sending: BTreeSet<u64>,
    /// Events that the backend has, or that were given up, and that Redis still keeps.
    ended: BTreeSet<u64>,
    is_under_way: bool,
    /// Whether the last command failed, so that Redis may have carried it out.
    is_unsure: bool,
    /// Nothing is begun before, as the last command failed.
    failed_until: Option<Instant>,
    /// Nothing is decided before.
    wait_until: Option<Instant>,
}

/// Where the occupants of a room are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Some are on this instance.
    Here {
        /// Whether this instance is the first of those with occupants.
        is_first: bool,
        /// Whether it knows the occupants of the others.
        is_settled: bool,
    },
    /// None is here any more, which Redis may not have yet.
    Leaving,
    /// None is here; with what is known of the others, fresh.
    Away(Option<Surroundings>),
}

/// What is known of other instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Surroundings {
    /// Whether one that is alive has occupants of the room and sees to it.
    is_held: bool,
    /// Whether one that may be alive has occupants.
    has_others: bool,
}

/// Whether who is there was read after the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ViewState {
    Known,
    /// The record tells of somebody who is not known: they may have come to another instance.
    Doubtful,
    /// It is being read.
    Awaited,
}

/// What is to be done next about a room.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// Something is to be asked of Redis.
    Command(Command),
    /// Who is there is to be read again.
    LoadView,
    /// Nothing can be told until the backend's queue has space.
    AwaitSpace,
    /// The room is over, for this instance.
    Forget,
}

/// What is to be asked of Redis about a room.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// The room is to be put into this instance's list.
    Hold,
    /// The record is to be read, unless it is of this version.
    Load(Version),
    /// The record is to be read, unless it is of this version, and then who is on other instances.
    Survey(Version),
    /// The record is to be written.
    Write(Box<RecordWrite>),
    /// Events are to be removed from the record; `is_last`: this instance sends no others.
    Clear {
        /// Their sequence numbers.
        events: Vec<u64>,
        /// Whether this instance sends no others.
        is_last: bool,
    },
    /// The room is to be removed from this instance's list.
    Release,
}

/// A writing of a record, where it is of the expected version and nobody else sends its events.
#[derive(Debug, PartialEq)]
pub struct RecordWrite {
    /// The version that Redis must have.
    pub expected: Version,
    /// The version that is written.
    pub version: Version,
    /// An instance that is gone, whose events this one sends from here on.
    pub takes_from: Option<String>,
    /// What is written.
    pub content: Content,
}

/// What of a record is written.
#[derive(Debug, PartialEq)]
pub enum Content {
    /// A change.
    Change(Change),
    /// All of it, as Redis lost it.
    Whole(Record),
    /// That this instance sends its events.
    Sender,
}

/// What Redis has of a room that nobody here is in.
#[derive(Debug)]
pub struct Survey {
    /// The record; `None`: it is of the known version.
    pub record: Option<Record>,
    /// The occupants of other instances.
    pub pods: HashMap<String, PodOccupants>,
    /// Whether one of those that are alive has the room in its list.
    pub is_held: bool,
}

impl HookedRoom {
    /// A room that nobody here is in, and of which nothing is known.
    pub fn new(now: Instant) -> Self {
        HookedRoom {
            place: Place::Away(None),
            present: HashMap::default(),
            differing: HashSet::default(),
            unconfirmed: HashSet::default(),
            empty_since: None,
            record: None,
            confirmed_at: now,
            lost: None,
            must_load: false,
            view: ViewState::Known,
            doubts: 0,
            is_held: false,
            is_released: false,
            must_stay: false,
            unsent: BTreeMap::new(),
            sending: BTreeSet::new(),
            ended: BTreeSet::new(),
            is_under_way: false,
            is_unsure: false,
            failed_until: None,
            wait_until: None,
        }
    }

    /// One of an instance that is all there is, whose record is in memory alone.
    pub fn alone(now: Instant) -> Self {
        HookedRoom { record: Some(Record::default()), ..HookedRoom::new(now) }
    }

    /// Who is there may have changed. `is_settled`: the occupants of other instances are known;
    /// `unconfirmed`: who came or went here and is not in Redis yet.
    pub fn observe(
        &mut self,
        (pod, view): (&str, &RoomView),
        changes: &Transitions,
        (is_settled, unconfirmed): (bool, &HashSet<OccupantKey>),
        now: Instant,
    ) {
        self.unconfirmed.clone_from(unconfirmed);
        match self.place {
            Place::Away(_) => self.replace(view.told()),
            _ => {
                changes.left.iter().for_each(|gone| self.set(&gone.key, None));
                changes.joined.iter().for_each(|here| self.set(&here.key, Some(here)));
            }
        }
        self.note_empty(now);
        if view.is_own_empty() {
            self.place = Place::Leaving;
            return;
        }
        let is_first = view.pods().all(|other| pod < other);
        if !is_first && self.place != (Place::Here { is_first, is_settled }) {
            self.know_nothing();
        }
        self.place = Place::Here { is_first, is_settled };
        self.is_released = false;
        if is_settled && self.view == ViewState::Awaited {
            self.view = ViewState::Known;
        }
    }

    /// Nobody is on this instance any more, and Redis has that.
    pub fn left_here(&mut self) {
        self.unconfirmed.clear();
        self.view = ViewState::Known;
        self.place = Place::Away(None);
        self.wait_until = None;
    }

    /// This instance, which is all there is, stops: nobody is there any more.
    pub fn end(&mut self) {
        self.present.clear();
        self.compare_all();
        self.left_here();
    }

    /// Everything is to be looked at again, as time has passed or Redis may have lost it.
    pub fn check(&mut self) {
        self.is_held = false;
        self.is_released = false;
        self.must_stay = true;
        self.must_load = true;
        self.wait_until = None;
        if let Place::Away(surroundings) = &mut self.place {
            *surroundings = None;
        }
    }

    /// The record of another instance is not this one's to remember, unless it has to act.
    fn know_nothing(&mut self) {
        if self.doubts < DOUBTS {
            self.record = None;
            self.lost = None;
            self.view = ViewState::Known;
        }
    }

    fn replace(&mut self, present: &BTreeMap<OccupantKey, Arc<Occupant>>) {
        let present = present.iter().map(|(key, occupant)| (key.clone(), occupant.clone()));
        self.present = present.collect();
        self.compare_all();
    }

    fn set(&mut self, key: &OccupantKey, occupant: Option<&Arc<Occupant>>) {
        match occupant {
            Some(occupant) => drop(self.present.insert(key.clone(), occupant.clone())),
            None => drop(self.present.remove(key)),
        }
        self.compare(key);
    }

    fn compare(&mut self, key: &OccupantKey) {
        let Some(record) = &self.record else { return };
        match record.members.contains_key(key) == self.present.contains_key(key) {
            true => drop(self.differing.remove(key)),
            false => drop(self.differing.insert(key.clone())),
        }
    }

    fn compare_all(&mut self) {
        let Some(record) = &self.record else { return self.differing.clear() };
        let (told, present) = (&record.members, &self.present);
        let gone = told.keys().filter(|key| !present.contains_key(*key));
        let new = present.keys().filter(|key| !told.contains_key(*key));
        self.differing = gone.chain(new).cloned().collect();
    }

    fn note_empty(&mut self, now: Instant) {
        match self.present.is_empty() {
            true => drop(self.empty_since.get_or_insert(now)),
            false => self.empty_since = None,
        }
    }

    /// Events that are to be given to the backend's queue: at most `limit`, in their order.
    pub fn take_unsent(&mut self, limit: usize) -> Vec<(u64, PendingEvent)> {
        let mut taken = Vec::new();
        while taken.len() < limit
            && let Some((number, event)) = self.unsent.pop_first()
        {
            self.sending.insert(number);
            taken.push((number, event));
        }
        taken
    }

    /// Whether there are events to be given to the backend's queue.
    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// The backend has an event, or it was given up.
    pub fn event_ended(&mut self, number: u64) {
        self.sending.remove(&number);
        self.ended.insert(number);
    }

    /// Whether events are with the backend, or to be removed from the record.
    pub fn is_telling(&self) -> bool {
        !self.sending.is_empty() || !self.ended.is_empty() || !self.unsent.is_empty()
    }

    /// When something may be done that is not caused by anything else.
    pub fn wake_at(&self) -> Option<Instant> {
        match (self.is_under_way, self.failed_until) {
            (true, _) => None,
            (_, Some(until)) => Some(until),
            _ => self.wait_until,
        }
    }
}

#[cfg(test)]
mod tests;
