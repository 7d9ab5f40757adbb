//! Turns in a rollout: which server may close its sessions now.
//!
//! Each server tells the others what revision it is and where it is on its way to the end. In a
//! rollout the servers of the old revision are told to stop one after the other. One that closed
//! its sessions at once would send a part of them to an old server whose end is still to come,
//! and they would be disconnected again. So it waits until every server of its revision was told
//! to stop, and the ingress gives new sessions to the new revision alone; then one after the
//! other closes its sessions. Pure: the caller says what is known.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// The servers that are rolled out together: a Deployment.
    pub group: String,
    /// Its revision among these.
    pub revision: String,
    /// When it started, in milliseconds since 1970. The new revision is that whose eldest server
    /// is the youngest: one of an old revision may have been started again.
    pub born: u64,
    /// When it was told to stop, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_to_stop: Option<u64>,
}

impl State {
    /// A server that serves. `revision` is `GROUP/REVISION`, as `ROOKERY_REVISION` has it.
    pub fn parse(revision: &str, born: u64) -> Option<Self> {
        let (group, revision) = revision.rsplit_once('/')?;
        let named = !group.is_empty() && !revision.is_empty();
        named.then(|| State {
            group: group.to_owned(),
            revision: revision.to_owned(),
            born,
            told_to_stop: None,
        })
    }

    fn is_of(&self, other: &State) -> bool {
        self.group == other.group && self.revision == other.revision
    }
}

/// Whether a server that was told to stop may close its sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It may.
    Now,
    /// Not yet: this many servers of its revision were not told to stop.
    OthersServe(usize),
    /// Not yet: this many were told to stop before it.
    OthersFirst(usize),
}

/// Whose turn it is. `pod` names this server and orders those that were told to stop at once;
/// `others` are the servers that are alive, by their names.
pub fn turn<'a>(
    pod: &str,
    me: &State,
    others: impl Iterator<Item = (&'a str, &'a State)> + Clone,
) -> Turn {
    let group = others.filter(|(_, other)| other.group == me.group);
    let mut eldest: HashMap<&str, u64> = HashMap::new();
    for state in group.clone().map(|(_, other)| other).chain([me]) {
        let born = eldest.entry(&state.revision).or_insert(state.born);
        *born = state.born.min(*born);
    }
    let newest = eldest.into_iter().max_by_key(|(_, born)| *born).map(|(revision, _)| revision);
    let takes_over =
        |state: &State| state.told_to_stop.is_none() && newest == Some(state.revision.as_str());
    if newest == Some(me.revision.as_str()) || !group.clone().any(|(_, other)| takes_over(other)) {
        return Turn::Now;
    }
    let same = group.filter(|(_, other)| other.is_of(me));
    let serving = same.clone().filter(|(_, other)| other.told_to_stop.is_none()).count();
    if serving > 0 {
        return Turn::OthersServe(serving);
    }
    let mine = (me.told_to_stop, pod);
    match same.filter(|(name, other)| (other.told_to_stop, *name) < mine).count() {
        0 => Turn::Now,
        first => Turn::OthersFirst(first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(revision: &str, born: u64, told_to_stop: Option<u64>) -> State {
        State { told_to_stop, ..State::parse(&format!("chat/web/{revision}"), born).unwrap() }
    }

    fn of(me: &State, others: &[(&str, State)]) -> Turn {
        turn("m", me, others.iter().map(|(name, state)| (*name, state)))
    }

    #[test]
    fn a_server_that_is_taken_away_outside_a_rollout_waits_for_nobody() {
        let me = state("a", 5, Some(100));
        assert_eq!(of(&me, &[]), Turn::Now);
        assert_eq!(
            of(&me, &[("x", state("a", 1, None)), ("y", state("a", 9, Some(1)))]),
            Turn::Now
        );
    }

    #[test]
    fn in_a_rollout_the_old_wait_until_all_were_told_and_then_go_in_that_order() {
        let me = state("a", 1, Some(100));
        let new = ("n", state("b", 9, None));
        let serving = ("x", state("a", 2, None));
        assert_eq!(of(&me, &[new.clone(), serving]), Turn::OthersServe(1));
        let earlier = ("x", state("a", 2, Some(99)));
        assert_eq!(of(&me, &[new.clone(), earlier]), Turn::OthersFirst(1));
        let later = ("x", state("a", 2, Some(101)));
        assert_eq!(of(&me, &[new.clone(), later]), Turn::Now);
        assert_eq!(of(&me, &[new]), Turn::Now);
    }

    #[test]
    fn where_all_are_told_to_stop_nobody_waits() {
        let me = state("a", 1, Some(100));
        let (new, old) = (("n", state("b", 9, Some(101))), ("x", state("a", 2, Some(99))));
        assert_eq!(of(&me, &[new, old]), Turn::Now);
    }

    #[test]
    fn those_told_at_once_go_by_their_names() {
        let (me, new) = (state("a", 1, Some(100)), ("n", state("b", 9, None)));
        let same = state("a", 2, Some(100));
        assert_eq!(of(&me, &[new.clone(), ("l", same.clone())]), Turn::OthersFirst(1));
        assert_eq!(of(&me, &[new, ("z", same)]), Turn::Now);
    }

    #[test]
    fn the_new_wait_for_nobody() {
        let me = state("b", 9, Some(100));
        assert_eq!(of(&me, &[("x", state("a", 1, None)), ("y", state("b", 8, None))]), Turn::Now);
    }

    #[test]
    fn an_old_server_that_was_started_again_makes_its_revision_no_newer() {
        let me = state("a", 1, Some(100));
        let (new, again) = (("n", state("b", 9, None)), ("x", state("a", 50, None)));
        assert_eq!(of(&me, &[new, again]), Turn::OthersServe(1));
    }

    #[test]
    fn another_deployment_on_the_same_redis_is_none_of_our_business() {
        let me = state("a", 1, Some(100));
        let other = State::parse("games/web/c", 50).unwrap();
        assert_eq!(of(&me, &[("x", other), ("y", state("a", 2, None))]), Turn::Now);
    }

    #[test]
    fn a_revision_has_a_group() {
        assert_eq!(State::parse("chat/web/7d4", 1).unwrap().group, "chat/web");
        for nonsense in ["", "7d4", "/7d4", "chat/"] {
            assert_eq!(State::parse(nonsense, 1), None, "{nonsense}");
        }
    }
}
