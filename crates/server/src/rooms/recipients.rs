//! The [`Recipients`] of a publication in one shard.

use std::sync::Arc;

use super::member::Member;
use crate::connection::outbox::Outbox;

/// A member that gets a publication, with its outbox at hand: a delivery needs no more of it.
#[derive(Clone)]
pub struct Recipient {
    /// What is for the member's client.
    pub outbox: Arc<Outbox>,
    /// The member.
    pub member: Arc<Member>,
}

impl From<&Arc<Member>> for Recipient {
    fn from(member: &Arc<Member>) -> Self {
        Recipient { outbox: member.outbox.clone(), member: member.clone() }
    }
}

/// The recipients of a publication, as they were when its delivery began. Cloning is shallow but
/// for the positions.
#[derive(Clone)]
pub struct Recipients {
    list: Arc<Vec<Recipient>>,
    /// For each, the position of the first target room it is in; empty: the first for all.
    positions: Vec<u16>,
    /// How many departures the membership had seen when they were taken.
    departures: u64,
}

impl Recipients {
    /// Nobody.
    pub fn none() -> Self {
        Self::of_room(Arc::default())
    }

    /// The members of one room, by the room's own list.
    pub(super) fn of_room(list: Arc<Vec<Recipient>>) -> Self {
        Recipients { list, positions: Vec::new(), departures: 0 }
    }

    /// Collects members of several rooms.
    pub(super) fn collector() -> Collector {
        Collector { list: Vec::new(), positions: Vec::new() }
    }

    /// The same, taken after this many departures.
    pub(super) fn taken_after(self, departures: u64) -> Self {
        Recipients { departures, ..self }
    }

    /// How many departures the membership had seen when they were taken.
    pub(super) fn departures(&self) -> u64 {
        self.departures
    }

    /// Each of them once.
    pub fn list(&self) -> &Arc<Vec<Recipient>> {
        &self.list
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The position of the first target room that the recipient at `at` is in.
    pub fn position(&self, at: usize) -> usize {
        self.positions.get(at).map_or(0, |position| usize::from(*position))
    }

    /// Whether they are this very list of a room, which a change of the room replaces.
    pub(super) fn is_list(&self, list: &Arc<Vec<Recipient>>) -> bool {
        self.positions.is_empty() && Arc::ptr_eq(&self.list, list)
    }

    /// The members themselves.
    pub(super) fn members(&self) -> Vec<Arc<Member>> {
        self.list.iter().map(|recipient| recipient.member.clone()).collect()
    }
}

/// Recipients while they are collected from several rooms.
pub(super) struct Collector {
    list: Vec<Recipient>,
    positions: Vec<u16>,
}

impl Collector {
    /// A member whose first target room is at `position`; the caller names each once.
    pub(super) fn add(&mut self, member: &Arc<Member>, position: usize) {
        self.list.push(Recipient::from(member));
        self.positions.push(position.min(usize::from(u16::MAX)) as u16);
    }

    /// All that were added.
    pub(super) fn finish(self) -> Recipients {
        Recipients { list: Arc::new(self.list), positions: self.positions, departures: 0 }
    }
}
