//! The [`Record`]: what the backend was told of a room, and the [`Change`] of it that is next. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use rookery_policy::{RoomHook, RoomHooks};

use super::event::PendingEvent;
use crate::hashing::HashMap;
use crate::message::RoomKey;
use crate::rooms::presence::occupant::{Occupant, OccupantKey};

/// The most events of one change; the sequence numbers of a version's events are this far apart.
pub const MAX_CHANGES: usize = 256;

/// The state of a record: a number that grows, and the instance that wrote it. The first is 1; 0 is
/// that of a room without a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// The number.
    pub number: u64,
    /// The instance.
    pub pod: String,
}

/// What the backend was told of a room, or is about to be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// Changes with every change of the rest, but for events that end.
    pub version: Version,
    /// The instance that sends `pending`; `None` where it sends none.
    pub sender: Option<String>,
    /// Whether the room was told as occupied.
    pub is_occupied: bool,
    /// Who was told to be there; none where the backend is not told of members.
    pub members: HashMap<OccupantKey, Arc<Occupant>>,
    /// Events that the backend has not accepted yet, by their sequence numbers: in their order.
    pub pending: BTreeMap<u64, PendingEvent>,
}

/// A change of a record, with the events that tell it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// Whether the room is told as occupied from here on.
    pub is_occupied: bool,
    /// Who came.
    pub joined: Vec<Arc<Occupant>>,
    /// Who went.
    pub left: Vec<OccupantKey>,
    /// The events, in their order.
    pub events: Vec<PendingEvent>,
}

/// What a room is like, and what the backend wants to know of it.
pub struct Situation<'a> {
    /// The room.
    pub key: &'a RoomKey,
    /// Who is there.
    pub present: &'a HashMap<OccupantKey, Arc<Occupant>>,
    /// Those among whom the record may differ from `present`.
    pub differing: Vec<OccupantKey>,
    /// Whether somebody is there who counts.
    pub is_occupied: bool,
    /// What the backend is told.
    pub hooks: RoomHooks,
    /// Whether a room where nobody is may be told as vacated.
    pub may_vacate: bool,
    /// The most that may change.
    pub limit: usize,
    /// Now.
    pub at: SystemTime,
}

impl Version {
    /// The version that this instance writes after this one.
    pub fn next(&self, pod: &str) -> Self {
        Version { number: self.number + 1, pod: pod.to_owned() }
    }

    /// Whether it is that of a room without a record.
    pub fn is_none(&self) -> bool {
        self.number == 0
    }

    /// The version that is written like this.
    pub fn parse(text: &str) -> Option<Self> {
        let (number, pod) = text.split_once(':')?;
        Some(Version { number: number.parse().ok()?, pod: pod.to_owned() })
    }

    /// The sequence number of its first event.
    pub fn first_event(&self) -> u64 {
        self.number * MAX_CHANGES as u64
    }
}

/// `<number>:<instance>`; nothing for a room without a record.
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if self.is_none() {
            return Ok(());
        }
        write!(f, "{}:{}", self.number, self.pod)
    }
}

impl Record {
    /// Whether the backend was told of nobody and of no room, and knows it.
    pub fn is_blank(&self) -> bool {
        !self.is_occupied && self.members.is_empty() && self.pending.is_empty()
    }

    /// What the backend is to be told next; `None`: nothing. The room is told as occupied before
    /// anybody who is in it, and as vacated after all have left.
    pub fn decide(&self, situation: Situation) -> Option<Change> {
        let Situation { hooks, may_vacate, .. } = situation;
        let mut draft = Draft::new(self, &situation);
        if situation.is_occupied && !hooks.is_empty() && !self.is_occupied && situation.limit > 0 {
            draft.change.is_occupied = true;
            draft.tell(RoomHook::RoomOccupied, None);
        }
        for key in &situation.differing {
            draft.leave(key);
        }
        if hooks.has_members() {
            for key in &situation.differing {
                draft.join(key);
            }
        }
        let is_empty = !situation.is_occupied && self.members.len() == draft.change.left.len();
        if self.is_occupied && is_empty && draft.has_room() && (may_vacate || hooks.is_empty()) {
            draft.change.is_occupied = false;
            draft.tell(RoomHook::RoomVacated, None);
        }
        draft.into_change()
    }

    /// The record after a change of it that this instance wrote.
    pub fn apply(&mut self, change: &Change, pod: &str) {
        self.version = self.version.next(pod);
        self.is_occupied = change.is_occupied;
        for key in &change.left {
            self.members.remove(key);
        }
        let joined = change.joined.iter().map(|occupant| (occupant.key.clone(), occupant.clone()));
        self.members.extend(joined);
        if !change.events.is_empty() {
            self.sender = Some(pod.to_owned());
        }
        self.pending.extend((self.version.first_event()..).zip(change.events.iter().cloned()));
    }
}

/// A change that is being made.
struct Draft<'a> {
    record: &'a Record,
    situation: &'a Situation<'a>,
    change: Change,
    /// How much was changed.
    count: usize,
}

impl<'a> Draft<'a> {
    fn new(record: &'a Record, situation: &'a Situation<'a>) -> Self {
        let change = Change { is_occupied: record.is_occupied, ..Change::default() };
        Draft { record, situation, change, count: 0 }
    }

    fn has_room(&self) -> bool {
        self.count < self.situation.limit.min(MAX_CHANGES)
    }

    /// Tells of somebody who is not there any more.
    fn leave(&mut self, key: &OccupantKey) {
        let is_there =
            self.situation.hooks.has_members() && self.situation.present.contains_key(key);
        let Some(before) = self.record.members.get(key).filter(|_| !is_there) else { return };
        if self.has_room() {
            self.change.left.push(key.clone());
            self.tell(RoomHook::MemberLeft, Some(before));
        }
    }

    /// Tells of somebody who is there, in a room that was told as occupied.
    fn join(&mut self, key: &OccupantKey) {
        let is_known = self.record.members.contains_key(key) || !self.change.is_occupied;
        let Some(now) = self.situation.present.get(key).filter(|_| !is_known) else { return };
        if self.has_room() {
            self.change.joined.push(now.clone());
            self.tell(RoomHook::MemberJoined, Some(now));
        }
    }

    /// Counts a change, with an event where the backend wants to know.
    fn tell(&mut self, hook: RoomHook, who: Option<&Occupant>) {
        self.count += 1;
        let Situation { key, hooks, at, .. } = self.situation;
        if hooks.has(hook) {
            self.change.events.push(PendingEvent::new(hook, key, who, *at));
        }
    }

    fn into_change(self) -> Option<Change> {
        (self.count > 0).then_some(self.change)
    }
}

#[cfg(test)]
mod tests;
