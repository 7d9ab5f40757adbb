//! [`Glob`]: a pattern of names in which `*` stands for any text.

/// A pattern of names, of rooms or events: `*` stands for any text, also for none; every other
/// character for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    /// The texts between the `*`; a pattern without `*` is one part.
    parts: Vec<Box<str>>,
}

impl Glob {
    /// The pattern that `text` writes.
    pub fn new(text: &str) -> Self {
        Glob { parts: text.split('*').map(Into::into).collect() }
    }

    /// Whether the pattern matches a whole name.
    pub fn matches(&self, name: &str) -> bool {
        let Some(([first, middle @ ..], last)) =
            self.parts.split_last().map(|(last, rest)| (rest, last)).filter(|(r, _)| !r.is_empty())
        else {
            return self.parts.iter().all(|only| **only == *name);
        };
        let Some(rest) = name.strip_prefix(&**first).and_then(|rest| rest.strip_suffix(&**last))
        else {
            return false;
        };
        // The earliest occurrence of each part leaves the most for the next.
        let found = middle
            .iter()
            .try_fold(rest, |rest, part| rest.find(&**part).map(|at| &rest[at + part.len()..]));
        found.is_some()
    }

    /// Whether the pattern is known to match every name that begins with `prefix`.
    pub fn matches_all_with(&self, prefix: &str) -> bool {
        self.parts.last().is_some_and(|last| last.is_empty())
            && self.parts.len() > 1
            && self.matches(prefix)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, letter by letter.
    fn defined(pattern: &[char], name: &[char]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            (['*', rest @ ..], name) => {
                defined(rest, name) || (!name.is_empty() && defined(pattern, &name[1..]))
            }
            ([a, rest @ ..], [b, name @ ..]) => a == b && defined(rest, name),
            _ => false,
        }
    }

    fn letters(text: &str) -> Vec<char> {
        text.chars().collect()
    }

    proptest! {
        #[test]
        fn a_star_stands_for_any_text(pattern in "[abé*]{0,6}", name in "[abé]{0,8}") {
            let expected = defined(&letters(&pattern), &letters(&name));
            prop_assert_eq!(Glob::new(&pattern).matches(&name), expected, "{} {}", pattern, name);
        }

        #[test]
        fn a_prefix_is_covered_only_with_all_its_names(
            pattern in "[ab*]{0,5}",
            prefix in "[ab]{0,4}",
            rest in "[abc]{0,4}",
        ) {
            let glob = Glob::new(&pattern);
            let name = format!("{prefix}{rest}");
            prop_assert!(!glob.matches_all_with(&prefix) || glob.matches(&name));
        }
    }

    #[test]
    fn a_pattern_that_ends_with_a_star_covers_its_prefixes() {
        assert!(Glob::new("orders:*").matches_all_with("orders:"));
        assert!(Glob::new("orders:*").matches_all_with("orders:eu:"));
        assert!(!Glob::new("orders:*").matches_all_with("order"));
        assert!(!Glob::new("orders").matches_all_with("orders"));
        assert!(!Glob::new("*:eu").matches_all_with("orders:eu"));
    }
}
