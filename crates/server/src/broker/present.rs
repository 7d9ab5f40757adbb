//! The [`PresenceAnswer`]: who is in a room, for the HTTP API.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Broker;
use crate::message::{RoomKey, Scope};
use crate::rooms::presence::occupant::{Occupant, OccupantKey, Roster};

/// Who is in a room.
#[derive(Clone, Debug, PartialEq)]
pub struct PresenceAnswer {
    /// Who is there, by the instances that are in `scope`.
    pub roster: Roster,
    /// Whether all instances are covered: [`Scope::Local`] where there are others and Redis did not
    /// tell who is there.
    pub scope: Scope,
}

impl Broker {
    /// Who is in a room with presence: on this instance, and as Redis tells within a second on the
    /// others that are alive.
    pub async fn presence(&self, key: &RoomKey) -> PresenceAnswer {
        let registry = self.parts.rooms.presence();
        let own = registry.occupants(key).into_iter();
        let mut occupants: BTreeMap<OccupantKey, Arc<Occupant>> =
            own.map(|occupant| (occupant.key.clone(), occupant)).collect();
        let mut scope = Scope::Cluster;
        if let Some(backplane) = &self.parts.backplane {
            match backplane.read_presence(key).await {
                Ok(pods) if backplane.is_up() => {
                    let (peers, is_heard) = (backplane.peers(), backplane.has_heard_all());
                    let is_there = |pod: &String| !is_heard || peers.contains(pod);
                    let others = pods.into_iter().filter(|(pod, _)| **pod != **backplane.pod());
                    for (_, of_pod) in others.filter(|(pod, _)| is_there(pod)) {
                        for (key, occupant) in of_pod.occupants {
                            occupants.entry(key).or_insert(occupant);
                        }
                    }
                }
                _ => scope = Scope::Local,
            }
        }
        let count = occupants.len();
        let named = count <= self.parts.presence_max as usize;
        let occupants = named.then(|| occupants.into_values().collect());
        PresenceAnswer { roster: Roster::new(count, occupants), scope }
    }
}
