//! Problems of a resource.

use std::fmt;

use rookery_config::error::MAX_PROBLEMS;

/// The most bytes of problems that are displayed: a condition's message may have 32 KiB
/// (Kubernetes API reference, `Condition.message`).
const MAX_BYTES: usize = 16 << 10;

/// A problem with one field of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field's full path, such as `spec.config.limits.queue`.
    pub field: String,
    /// What is wrong with the field and how to fix it.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.text)
    }
}

/// The problems of an invalid resource, at least one, displayed one per line. Of very many, the
/// first are displayed, and how many more there are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Invalid(pub Vec<Problem>);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut rest = MAX_BYTES;
        for (i, problem) in self.0.iter().enumerate() {
            let line = problem.to_string();
            if i == MAX_PROBLEMS || line.len() > rest {
                let more = self.0.len() - i;
                return write!(f, "{}and {more} more", if i == 0 { "" } else { "\n" });
            }
            rest -= line.len();
            write!(f, "{}{line}", if i == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

/// Collects problems.
#[derive(Default)]
pub(super) struct Problems(pub(super) Vec<Problem>);

impl Problems {
    pub(super) fn add(&mut self, field: impl Into<String>, text: impl fmt::Display) {
        self.0.push(Problem { field: field.into(), text: text.to_string() });
    }

    pub(super) fn add_if(&mut self, wrong: bool, field: &str, text: impl fmt::Display) {
        if wrong {
            self.add(field, text);
        }
    }
}
