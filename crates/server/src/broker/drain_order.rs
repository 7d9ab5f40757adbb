//! The [`DrainOrder`] in a rollout: which server may close its sessions now.
//!
//! Each server tells the others what revision it is and whether it was told to stop. In a rollout
//! the servers of the old revision are told to stop one after the other. One that closed its
//! sessions at once would send a part of them to an old server whose turn is still to come, and
//! they would be disconnected again. So it waits until every server of its revision was told to
//! stop, and the ingress gives new sessions to the new revision alone; then one after the other
//! closes its sessions.

use std::collections::HashMap;

use super::Broker;
use crate::backplane::RolloutState;

/// Whether a server that was told to stop may close its sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DrainOrder {
    /// It may close its sessions now.
    Now,
    /// It waits: this many servers of its revision were not told to stop.
    OthersServe(usize),
    /// It waits: this many were told to stop before it.
    OthersFirst(usize),
}

impl Broker {
    /// Whether this instance may close its sessions. `None`: it is not known, as Redis is away, or
    /// was until a moment ago and not every other instance was heard since.
    pub fn drain_order(&self) -> Option<DrainOrder> {
        let Some(backplane) = &self.parts.backplane else { return Some(DrainOrder::Now) };
        let Some((own, others)) = backplane.rollout() else { return Some(DrainOrder::Now) };
        let others = others.iter().map(|(pod, state)| (pod.as_str(), state));
        backplane.has_heard_all().then(|| drain_order(self.pod(), &own, others))
    }

    /// Tells the other instances that this one was told to stop, at `when` (milliseconds since
    /// 1970).
    pub fn announce_shutdown(&self, when: u64) {
        if let Some(backplane) = &self.parts.backplane {
            backplane.announce_shutdown(when);
        }
    }
}

/// Whether `pod` may close its sessions; its name orders those that were told to stop at once.
/// `others` are the servers that are alive, by their names. Pure.
fn drain_order<'a>(
    pod: &str,
    own: &RolloutState,
    others: impl Iterator<Item = (&'a str, &'a RolloutState)> + Clone,
) -> DrainOrder {
    let group = others.filter(|(_, other)| other.group == own.group);
    // The new revision is that whose eldest server is the youngest: one of an old revision may
    // have been started again.
    let mut eldest: HashMap<&str, u64> = HashMap::new();
    for state in group.clone().map(|(_, other)| other).chain([own]) {
        let born = eldest.entry(&state.revision).or_insert(state.born);
        *born = state.born.min(*born);
    }
    let newest = eldest.into_iter().max_by_key(|(_, born)| *born).map(|(revision, _)| revision);
    let takes_over = |state: &RolloutState| {
        state.told_to_stop.is_none() && newest == Some(state.revision.as_str())
    };
    if newest == Some(own.revision.as_str()) || !group.clone().any(|(_, other)| takes_over(other)) {
        return DrainOrder::Now;
    }
    let same = group.filter(|(_, other)| other.revision == own.revision);
    let serving = same.clone().filter(|(_, other)| other.told_to_stop.is_none()).count();
    if serving > 0 {
        return DrainOrder::OthersServe(serving);
    }
    let mine = (own.told_to_stop, pod);
    match same.filter(|(name, other)| (other.told_to_stop, *name) < mine).count() {
        0 => DrainOrder::Now,
        first => DrainOrder::OthersFirst(first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(revision: &str, born: u64, told_to_stop: Option<u64>) -> RolloutState {
        RolloutState {
            told_to_stop,
            ..RolloutState::parse(&format!("chat/web/{revision}"), born).unwrap()
        }
    }

    fn of(me: &RolloutState, others: &[(&str, RolloutState)]) -> DrainOrder {
        drain_order("m", me, others.iter().map(|(name, state)| (*name, state)))
    }

    #[test]
    fn a_server_that_stops_outside_a_rollout_waits_for_none() {
        let me = state("a", 5, Some(100));
        assert_eq!(of(&me, &[]), DrainOrder::Now);
        assert_eq!(
            of(&me, &[("x", state("a", 1, None)), ("y", state("a", 9, Some(1)))]),
            DrainOrder::Now
        );
    }

    #[test]
    fn in_a_rollout_the_old_servers_wait_until_all_were_told_and_then_go_in_that_order() {
        let me = state("a", 1, Some(100));
        let new = ("n", state("b", 9, None));
        let serving = ("x", state("a", 2, None));
        assert_eq!(of(&me, &[new.clone(), serving]), DrainOrder::OthersServe(1));
        let earlier = ("x", state("a", 2, Some(99)));
        assert_eq!(of(&me, &[new.clone(), earlier]), DrainOrder::OthersFirst(1));
        let later = ("x", state("a", 2, Some(101)));
        assert_eq!(of(&me, &[new.clone(), later]), DrainOrder::Now);
        assert_eq!(of(&me, &[new]), DrainOrder::Now);
    }

    #[test]
    fn where_every_server_is_told_to_stop_none_waits() {
        let me = state("a", 1, Some(100));
        let (new, old) = (("n", state("b", 9, Some(101))), ("x", state("a", 2, Some(99))));
        assert_eq!(of(&me, &[new, old]), DrainOrder::Now);
    }

    #[test]
    fn servers_told_at_the_same_time_go_by_their_names() {
        let (me, new) = (state("a", 1, Some(100)), ("n", state("b", 9, None)));
        let same = state("a", 2, Some(100));
        assert_eq!(of(&me, &[new.clone(), ("l", same.clone())]), DrainOrder::OthersFirst(1));
        assert_eq!(of(&me, &[new, ("z", same)]), DrainOrder::Now);
    }

    #[test]
    fn a_server_of_the_new_revision_waits_for_none() {
        let me = state("b", 9, Some(100));
        assert_eq!(
            of(&me, &[("x", state("a", 1, None)), ("y", state("b", 8, None))]),
            DrainOrder::Now
        );
    }

    #[test]
    fn an_old_server_that_was_restarted_does_not_make_its_revision_newer() {
        let me = state("a", 1, Some(100));
        let (new, again) = (("n", state("b", 9, None)), ("x", state("a", 50, None)));
        assert_eq!(of(&me, &[new, again]), DrainOrder::OthersServe(1));
    }

    #[test]
    fn another_deployment_on_the_same_redis_does_not_matter() {
        let me = state("a", 1, Some(100));
        let other = RolloutState::parse("games/web/c", 50).unwrap();
        assert_eq!(of(&me, &[("x", other), ("y", state("a", 2, None))]), DrainOrder::Now);
    }
}
