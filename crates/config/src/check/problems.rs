//! [`Problems`]: collects what is wrong with a configuration.

use std::collections::HashSet;
use std::hash::Hash;
use std::time::Duration;

use crate::error::{MAX_PROBLEMS, Problem};
use crate::units::{Period, Size};

/// The longest time that any key accepts.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The problems found so far, up to one more than [`MAX_PROBLEMS`]. Every message begins with its
/// key.
#[derive(Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    /// Adds the problem "`key` text".
    pub(super) fn say(&mut self, key: &str, text: impl std::fmt::Display) {
        self.add(key, || format!("`{key}` {text}"));
    }

    /// Adds this problem.
    pub(super) fn push(&mut self, problem: Problem) {
        if self.0.len() <= MAX_PROBLEMS {
            self.0.push(problem);
        }
    }

    /// Adds a problem, unless there are more than are shown.
    fn add(&mut self, key: &str, text: impl FnOnce() -> String) {
        if self.0.len() <= MAX_PROBLEMS {
            self.0.push(Problem::new(key, text()));
        }
    }

    /// Adds the problem "`key`: why", unless `key` has a problem already.
    pub(super) fn explain(&mut self, key: &str, why: impl std::fmt::Display) {
        if !self.0.iter().any(|problem| problem.key.as_deref() == Some(key)) {
            self.add(key, || format!("`{key}`: {why}"));
        }
    }

    /// Adds the problem "`key` text" if `wrong`.
    pub(super) fn say_if(&mut self, wrong: bool, key: &str, text: &str) {
        if wrong {
            self.say(key, text);
        }
    }

    /// Adds a problem if `value` is blank.
    pub(super) fn not_blank(&mut self, key: &str, value: &str) {
        self.say_if(value.trim().is_empty(), key, "is empty; write a value or leave the key out");
    }

    /// Adds a problem if `period` is zero or longer than [`LONGEST`].
    pub(super) fn time(&mut self, key: &str, period: Period) {
        self.say_if(period.0.is_zero(), key, "must be more than 0s, for example 10s");
        self.at_most_longest(key, period);
    }

    /// Adds a problem if `period` is longer than [`LONGEST`].
    pub(super) fn at_most_longest(&mut self, key: &str, period: Period) {
        self.say_if(period.0 > LONGEST, key, "must be at most 30days");
    }

    /// Adds a problem if `size` is zero.
    pub(super) fn size(&mut self, key: &str, size: Size) {
        self.say_if(size.0 == 0, key, "must be more than 0 bytes, for example 1MiB");
    }

    /// Says of the first item that repeats an earlier one, which `name` renders, to name it once.
    pub(super) fn distinct<T: Eq + Hash>(
        &mut self,
        key: &str,
        items: &[T],
        name: impl Fn(&T) -> String,
    ) {
        let mut seen = HashSet::with_capacity(items.len());
        let mut numbered = items.iter().enumerate();
        if let Some((i, item)) = numbered.find(|(_, item)| !seen.insert(*item)) {
            self.say(
                &format!("{key}[{i}]"),
                format_args!("names {} again; name it once", name(item)),
            );
        }
    }

    /// The problems in the order in which they were found.
    pub(super) fn into_vec(self) -> Vec<Problem> {
        self.0
    }
}
