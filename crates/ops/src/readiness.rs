//! [`Readiness`]: the conditions under which an instance accepts new traffic.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

/// A set of named conditions. The instance is ready while all of them hold. Cloning is shallow.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    conditions: Arc<Mutex<Vec<Condition>>>,
    notes: Arc<Mutex<Vec<Note>>>,
}

impl Readiness {
    /// Adds a condition that does not hold yet. Until it holds, `reason` says why the instance is not
    /// ready.
    pub fn condition(&self, name: &'static str, reason: impl Into<Arc<str>>) -> Condition {
        let condition =
            Condition { name, reason: reason.into(), holds: Arc::new(AtomicBool::new(false)) };
        self.conditions.lock().push(condition.clone());
        condition
    }

    /// Adds a note, which is empty at first: something to tell that does not end readiness.
    pub fn note(&self, name: &'static str) -> Note {
        let note = Note { name, text: Arc::default() };
        self.notes.lock().push(note.clone());
        note
    }

    /// A line `name: text` for each note that is not empty.
    pub fn notes(&self) -> Vec<String> {
        let notes = self.notes.lock();
        let line = |note: &Note| Some(format!("{}: {}", note.name, note.text.lock().as_ref()?));
        notes.iter().filter_map(line).collect()
    }

    /// Whether every condition holds.
    pub fn is_ready(&self) -> bool {
        self.conditions.lock().iter().all(Condition::holds)
    }

    /// A line `name: reason` for each condition that does not hold; empty when ready.
    pub fn reasons(&self) -> Vec<String> {
        let conditions = self.conditions.lock();
        let missing = conditions.iter().filter(|condition| !condition.holds());
        missing.map(|condition| format!("{}: {}", condition.name, condition.reason)).collect()
    }
}

/// One condition of readiness. Cloning is shallow.
#[derive(Clone, Debug)]
pub struct Condition {
    name: &'static str,
    reason: Arc<str>,
    holds: Arc<AtomicBool>,
}

impl Condition {
    /// Sets whether the condition holds.
    pub fn set(&self, holds: bool) {
        self.holds.store(holds, Ordering::Release);
    }

    /// Whether the condition holds.
    pub fn holds(&self) -> bool {
        self.holds.load(Ordering::Acquire)
    }
}

/// Something that is told beside the conditions. Cloning is shallow.
#[derive(Clone, Debug)]
pub struct Note {
    name: &'static str,
    text: Arc<Mutex<Option<String>>>,
}

impl Note {
    /// Sets the text; `None` tells nothing.
    pub fn set(&self, text: Option<String>) {
        *self.text.lock() = text;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_ready_while_every_condition_holds() {
        let readiness = Readiness::default();
        assert!(readiness.reasons().is_empty() && readiness.is_ready());
        let keys = readiness.condition("jwks", "the key set has not been fetched yet");
        let redis = readiness.condition("redis", "not connected");
        assert_eq!(
            readiness.reasons(),
            ["jwks: the key set has not been fetched yet", "redis: not connected"]
        );
        keys.set(true);
        assert_eq!(readiness.clone().reasons(), ["redis: not connected"]);
        assert!(!readiness.is_ready());
        redis.set(true);
        assert!(readiness.reasons().is_empty());
        keys.set(false);
        assert_eq!(readiness.reasons().len(), 1);
    }
}
