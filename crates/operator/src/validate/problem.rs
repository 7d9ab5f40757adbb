//! Problems of a resource.

use std::fmt;

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

/// The problems of an invalid resource, at least one, displayed one per line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Invalid(pub Vec<Problem>);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(Problem::to_string).collect();
        f.write_str(&lines.join("\n"))
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
