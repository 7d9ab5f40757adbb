//! The [`RoomView`]: who is in a room on all instances, as far as this one knows. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::occupant::{Occupant, OccupantKey, Roster};
use crate::hashing::{HashMap, HashSet};

/// The occupants of one room: those on this instance, and what others told.
#[derive(Debug, Default)]
pub struct RoomView {
    own: HashMap<OccupantKey, Arc<Occupant>>,
    others: HashMap<String, PodOccupants>,
    /// Who the members here were told of.
    told: BTreeMap<OccupantKey, Arc<Occupant>>,
    /// Who may have come, gone or changed since.
    touched: HashSet<OccupantKey>,
}

/// The occupants of a room on another instance.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodOccupants {
    /// The number of its last change of the room that is contained; 0: none.
    pub version: u64,
    /// Who is there.
    pub occupants: HashMap<OccupantKey, Arc<Occupant>>,
}

/// A change that another instance told.
#[derive(Clone, Debug, PartialEq)]
pub struct PodChange {
    /// The number of its change of the room before this one; 0: it had nobody there.
    pub previous: u64,
    /// The number of this change, greater than all before.
    pub version: u64,
    /// Who came, or whose info changed.
    pub joined: Vec<Occupant>,
    /// Who is not there any more.
    pub left: Vec<OccupantKey>,
}

/// What became of a change that another instance told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It is contained now.
    Done,
    /// It was contained already.
    Known,
    /// One before it is missing: the room must be loaded.
    Gap,
}

/// Who came and who went since the members here were last told.
#[derive(Debug, Default, PartialEq)]
pub struct Transitions {
    /// Who is there, and was not.
    pub joined: Vec<Arc<Occupant>>,
    /// Who was there, and is not.
    pub left: Vec<Arc<Occupant>>,
    /// Whether the info of somebody who stays changed.
    pub is_info_changed: bool,
}

impl RoomView {
    /// Somebody is on this instance, or (`None`) not any more.
    pub fn set_own(&mut self, key: OccupantKey, occupant: Option<Arc<Occupant>>) {
        self.touched.insert(key.clone());
        match occupant {
            Some(occupant) => drop(self.own.insert(key, occupant)),
            None => drop(self.own.remove(&key)),
        }
    }

    /// Another instance told a change.
    pub fn apply(&mut self, pod: &str, change: PodChange) -> Applied {
        let known = self.others.get(pod).map_or(0, |pod| pod.version);
        if change.version <= known {
            return Applied::Known;
        }
        if change.previous != known {
            return Applied::Gap;
        }
        let of_pod = self.others.entry(pod.to_owned()).or_default();
        of_pod.version = change.version;
        for key in change.left {
            of_pod.occupants.remove(&key);
            self.touched.insert(key);
        }
        for occupant in change.joined {
            self.touched.insert(occupant.key.clone());
            of_pod.occupants.insert(occupant.key.clone(), Arc::new(occupant));
        }
        if of_pod.occupants.is_empty() {
            self.others.remove(pod);
        }
        Applied::Done
    }

    /// Replaces what is known of other instances. Instances that are not in `loaded` and that
    /// `keep` names stay as they were.
    pub fn load(&mut self, mut loaded: HashMap<String, PodOccupants>, keep: impl Fn(&str) -> bool) {
        for (pod, before) in std::mem::take(&mut self.others) {
            match loaded.get(&pod) {
                // What was told since the room was read is newer.
                Some(read) if read.version < before.version => drop(loaded.insert(pod, before)),
                None if keep(&pod) => drop(loaded.insert(pod, before)),
                _ => self.touched.extend(before.occupants.into_keys()),
            }
        }
        for of_pod in loaded.values() {
            self.touched.extend(of_pod.occupants.keys().cloned());
        }
        self.others = loaded;
    }

    /// Another instance is gone; gives its occupants.
    pub fn remove_pod(&mut self, pod: &str) -> Vec<OccupantKey> {
        let Some(of_pod) = self.others.remove(pod) else { return Vec::new() };
        let keys: Vec<OccupantKey> = of_pod.occupants.into_keys().collect();
        self.touched.extend(keys.iter().cloned());
        keys
    }

    /// The other instances with somebody in the room.
    pub fn pods(&self) -> impl Iterator<Item = &str> {
        self.others.keys().map(String::as_str)
    }

    /// Somebody who is on this instance.
    pub fn own(&self, key: &OccupantKey) -> Option<&Arc<Occupant>> {
        self.own.get(key)
    }

    /// Who is on this instance.
    pub fn own_keys(&self) -> impl Iterator<Item = &OccupantKey> {
        self.own.keys()
    }

    /// Whether nobody is on this instance.
    pub fn is_own_empty(&self) -> bool {
        self.own.is_empty()
    }

    /// Who came and went since the last call: a change within it is none.
    pub fn transitions(&mut self) -> Transitions {
        let mut transitions = Transitions::default();
        for key in std::mem::take(&mut self.touched) {
            match (self.find(&key).cloned(), self.told.get(&key)) {
                (Some(now), None) => {
                    self.told.insert(key, now.clone());
                    transitions.joined.push(now);
                }
                (None, Some(_)) => transitions.left.extend(self.told.remove(&key)),
                (Some(now), Some(before)) if now != *before => {
                    transitions.is_info_changed = true;
                    self.told.insert(key, now);
                }
                _ => {}
            }
        }
        transitions
    }

    /// Who the members here were told of; only the number where that is more than `max`.
    pub fn roster(&self, max: usize) -> Roster {
        let count = self.told.len();
        let occupants = (count <= max).then(|| self.told.values().cloned().collect());
        Roster::new(count, occupants)
    }

    /// Who the members here were told of.
    pub fn told(&self) -> &BTreeMap<OccupantKey, Arc<Occupant>> {
        &self.told
    }

    /// How many the members here were told of.
    pub fn count(&self) -> usize {
        self.told.len()
    }

    fn find(&self, key: &OccupantKey) -> Option<&Arc<Occupant>> {
        self.own.get(key).or_else(|| self.others.values().find_map(|pod| pod.occupants.get(key)))
    }
}

#[cfg(test)]
mod tests;
