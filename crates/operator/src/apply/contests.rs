//! [`Contests`]: notices who changes an object back again and again, and what admission webhooks
//! add, so that the operator does not fight either. Pure.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use kube::ResourceExt as _;
use kube::api::DynamicObject;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;

use crate::names;

/// Corrections of one object within [`WINDOW`] after which it is left alone.
const MAX_CORRECTIONS: usize = 10;

/// How long a correction counts.
const WINDOW: Duration = Duration::from_secs(600);

/// The most objects that are tracked. Beyond it, everything is forgotten.
const MAX_TRACKED: usize = 50_000;

/// Uid of the resource, and kind and name of the object.
pub(super) type Key = (String, String);

/// What is known about each object that was not as it was applied.
#[derive(Debug, Default)]
pub struct Contests(Mutex<HashMap<Key, Contest>>);

#[derive(Debug, Default)]
struct Contest {
    corrections: VecDeque<Instant>,
    /// Fingerprint of the object as the cluster left it when it was applied.
    admitted: Option<u64>,
}

impl Contests {
    /// Whether an object was corrected so often lately that somebody else must be changing it.
    pub(super) fn is_contested(&self, key: &Key, now: Instant) -> bool {
        let mut all = self.0.lock();
        let Some(contest) = all.get_mut(key) else { return false };
        contest.corrections.retain(|at| now.duration_since(*at) < WINDOW);
        contest.corrections.len() >= MAX_CORRECTIONS
    }

    /// Records that an object was corrected.
    pub(super) fn corrected(&self, key: &Key, now: Instant) {
        self.with(key, |contest| {
            contest.corrections.truncate(MAX_CORRECTIONS - 1);
            contest.corrections.push_front(now);
        });
    }

    /// Records that the cluster made `there` of what was applied, which it changes at admission.
    pub(super) fn admitted(&self, key: &Key, there: &DynamicObject) {
        let fingerprint = fingerprint(there);
        self.with(key, |contest| contest.admitted = Some(fingerprint));
    }

    /// Whether `there` is what the cluster makes of what was applied.
    pub(super) fn is_as_admitted(&self, key: &Key, there: &DynamicObject) -> bool {
        let admitted = self.0.lock().get(key).and_then(|contest| contest.admitted);
        admitted.is_some_and(|admitted| admitted == fingerprint(there))
    }

    fn with(&self, key: &Key, change: impl FnOnce(&mut Contest)) {
        let mut all = self.0.lock();
        if all.len() >= MAX_TRACKED && !all.contains_key(key) {
            all.clear();
        }
        change(all.entry(key.clone()).or_default());
    }
}

/// Whether `there` was made of exactly the content of `desired`, so that a difference is somebody
/// else's.
pub(super) fn is_of_this_content(desired: &DynamicObject, there: &DynamicObject) -> bool {
    let hash = |object: &DynamicObject| object.annotations().get(names::APPLIED).cloned();
    hash(desired).is_some() && hash(desired) == hash(there)
}

/// A hash of an object without its status, its replicas and what the API server counts.
fn fingerprint(object: &DynamicObject) -> u64 {
    let mut hash = DefaultHasher::new();
    let meta = &object.metadata;
    format!("{:?}{:?}{:?}", meta.labels, meta.annotations, meta.owner_references).hash(&mut hash);
    let mut data = object.data.clone();
    if let Value::Object(fields) = &mut data {
        fields.remove("status");
        if let Some(Value::Object(spec)) = fields.get_mut("spec") {
            spec.remove("replicas");
        }
    }
    data.to_string().hash(&mut hash);
    hash.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key() -> Key {
        ("1".to_owned(), "Deployment chat".to_owned())
    }

    fn deployment(image: &str, replicas: i32) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "chat", "annotations": { names::APPLIED: "abc" } },
            "spec": { "image": image, "replicas": replicas },
            "status": { "replicas": replicas },
        }))
        .unwrap()
    }

    #[test]
    fn an_object_that_is_changed_back_ten_times_is_left_alone_for_a_while() {
        let contests = Contests::default();
        let start = Instant::now();
        for n in 0..10 {
            assert!(!contests.is_contested(&key(), start), "after {n}");
            contests.corrected(&key(), start);
        }
        assert!(contests.is_contested(&key(), start + WINDOW / 2));
        let other = ("2".to_owned(), "Deployment chat".to_owned());
        assert!(!contests.is_contested(&other, start));
        assert!(!contests.is_contested(&key(), start + WINDOW));
    }

    #[test]
    fn what_a_webhook_adds_is_recognised_until_something_else_changes() {
        let contests = Contests::default();
        assert!(!contests.is_as_admitted(&key(), &deployment("a", 2)));
        contests.admitted(&key(), &deployment("a", 2));
        assert!(contests.is_as_admitted(&key(), &deployment("a", 2)));
        assert!(contests.is_as_admitted(&key(), &deployment("a", 3)), "an autoscaler's choice");
        assert!(!contests.is_as_admitted(&key(), &deployment("b", 2)));
        let mut orphan = deployment("a", 2);
        orphan.metadata.owner_references = Some(Vec::new());
        assert!(!contests.is_as_admitted(&key(), &orphan));
    }

    #[test]
    fn only_a_change_of_the_same_content_is_somebody_elses() {
        let applied = deployment("a", 2);
        assert!(is_of_this_content(&applied, &deployment("b", 2)));
        let mut newer = applied.clone();
        newer.annotations_mut().insert(names::APPLIED.to_owned(), "def".to_owned());
        assert!(!is_of_this_content(&newer, &applied), "the resource changed");
    }
}
