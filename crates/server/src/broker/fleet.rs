//! The [`Fleet`]: what this instance knows of the others of its deployment, by their heartbeats.

use super::Broker;
use crate::backplane::RolloutState;

/// The other instances of this one's deployment that are alive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    /// The sessions of each instance that was not told to stop; `None` for one that does not tell.
    pub serving: Vec<Option<u64>>,
    /// The sessions of each instance that was told to stop; `None` for one that does not tell.
    pub draining: Vec<Option<u64>>,
    /// Whether an instance, this one included, has another revision than the others.
    pub is_rolled_out: bool,
}

impl Broker {
    /// The other instances of this one's deployment; empty where this one is in none. `None`: they
    /// are not known, as Redis is away, or was until a moment ago and not every other instance was
    /// heard since.
    pub fn fleet(&self) -> Option<Fleet> {
        let Some(backplane) = &self.parts.backplane else { return Some(Fleet::default()) };
        let Some((own, others)) = backplane.rollout() else { return Some(Fleet::default()) };
        backplane.has_heard_all().then(|| Fleet::of(&own, others.iter().map(|(_, state)| state)))
    }
}

impl Fleet {
    /// What `others` are to `own`. Pure.
    fn of<'a>(own: &RolloutState, others: impl Iterator<Item = &'a RolloutState>) -> Fleet {
        let mut fleet = Fleet::default();
        for other in others.filter(|other| other.group == own.group) {
            fleet.is_rolled_out |= other.revision != own.revision;
            match other.told_to_stop {
                None => fleet.serving.push(other.sessions),
                Some(_) => fleet.draining.push(other.sessions),
            }
        }
        fleet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_instances_of_the_same_deployment_are_in_the_fleet() {
        let state = |revision: &str, sessions, told_to_stop| RolloutState {
            sessions,
            told_to_stop,
            ..RolloutState::parse(revision, 1).unwrap()
        };
        let own = state("chat/web/a", Some(1), None);
        let others = [
            state("chat/web/a", Some(2), None),
            state("chat/web/a", None, Some(9)),
            state("games/web/a", Some(4), None),
        ];
        let of = |others: &[RolloutState]| Fleet::of(&own, others.iter());
        let fleet = of(&others);
        assert_eq!((fleet.serving, fleet.draining), (vec![Some(2)], vec![None]));
        assert!(!fleet.is_rolled_out);
        assert!(of(&[state("chat/web/b", Some(1), None)]).is_rolled_out);
    }
}
