//! Problems of a resource.

use std::fmt;

use rookery_config::error::{MAX_PROBLEMS, MORE};

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
        let mut lines: Vec<String> =
            self.0.iter().take(MAX_PROBLEMS).map(Problem::to_string).collect();
        if self.0.len() > MAX_PROBLEMS {
            lines.push(MORE.to_owned());
        }
        f.write_str(&lines.join("\n"))
    }
}

/// Collects problems, up to one more than [`MAX_PROBLEMS`].
#[derive(Default)]
pub(super) struct Problems(pub(super) Vec<Problem>);

impl Problems {
    pub(super) fn add(&mut self, field: impl Into<String>, text: impl fmt::Display) {
        if self.0.len() <= MAX_PROBLEMS {
            self.0.push(Problem { field: field.into(), text: text.to_string() });
        }
    }

    pub(super) fn add_if(&mut self, wrong: bool, field: &str, text: impl fmt::Display) {
        if wrong {
            self.add(field, text);
        }
    }
}
