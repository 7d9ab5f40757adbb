//! [`RefusedStatuses`]: resources whose status the cluster does not take.

use std::collections::HashMap;

use parking_lot::Mutex;

/// The most resources that are tracked. Beyond it, all are forgotten.
const MAX_TRACKED: usize = 10_000;

/// The generation of each resource whose status was refused, by uid, so that it is said once.
#[derive(Debug, Default)]
pub struct RefusedStatuses(Mutex<HashMap<String, Option<i64>>>);

impl RefusedStatuses {
    /// Records a refusal. Returns whether it is the first one of this generation.
    pub fn is_first(&self, uid: &str, generation: Option<i64>) -> bool {
        let mut refused = self.0.lock();
        if refused.len() >= MAX_TRACKED && !refused.contains_key(uid) {
            refused.clear();
        }
        refused.insert(uid.to_owned(), generation) != Some(generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_said_once_for_each_generation() {
        let refused = RefusedStatuses::default();
        let said = [("a", 1), ("a", 1), ("b", 1), ("a", 2)]
            .map(|(uid, generation)| refused.is_first(uid, Some(generation)));
        assert_eq!(said, [true, false, true, true]);
    }
}
