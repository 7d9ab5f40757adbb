//! The [`RolloutTurns`]: after an upgrade of the operator, which resource's pods are replaced now.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The least time between two turns: until then the watches may not have seen what was applied.
const LEAST: Duration = Duration::from_secs(15);

/// A turn that takes longer is over: a resource whose pods never stop must not hold up all others.
const MOST: Duration = Duration::from_secs(3600);

/// One resource at a time replaces its pods because the operator builds them differently than an
/// earlier version did. What people change in a resource takes no turn.
#[derive(Debug, Default)]
pub struct RolloutTurns(Mutex<Option<Turn>>);

#[derive(Debug)]
struct Turn {
    uid: String,
    resource: Resource,
    since: Instant,
}

/// A resource by its namespace and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl RolloutTurns {
    /// Takes the turn for the resource with this `uid`; if another one has it, returns that.
    /// `is_over` tells whether the rollout of a resource is over, or stuck.
    pub fn take(
        &self,
        uid: &str,
        resource: Resource,
        is_over: impl Fn(&Resource) -> bool,
        now: Instant,
    ) -> Result<(), Resource> {
        let mut turn = self.0.lock();
        if let Some(Turn { uid: theirs, resource: other, since }) = &*turn {
            if theirs == uid {
                return Ok(());
            }
            let taken = now.duration_since(*since);
            if taken < LEAST || (taken < MOST && !is_over(other)) {
                return Err(other.clone());
            }
        }
        *turn = Some(Turn { uid: uid.to_owned(), resource, since: now });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_resource_after_the_other_replaces_its_pods() {
        let turns = RolloutTurns::default();
        let resource = |name: &str| Resource { namespace: "team".into(), name: name.into() };
        let now = Instant::now();
        let take = |name: &str, is_over: bool, now| {
            turns.take(name, resource(name), |_| is_over, now).map_err(|other| other.name)
        };
        assert_eq!(take("a", false, now), Ok(()));
        assert_eq!(take("a", false, now), Ok(()), "it may need several attempts");
        assert_eq!(take("b", true, now), Err("a".to_owned()), "the watch may be behind");
        assert_eq!(take("b", false, now + LEAST), Err("a".to_owned()));
        assert_eq!(take("b", true, now + LEAST), Ok(()));
        assert_eq!(take("a", false, now + LEAST * 2), Err("b".to_owned()));
        assert_eq!(take("a", false, now + MOST * 2), Ok(()));
    }
}
