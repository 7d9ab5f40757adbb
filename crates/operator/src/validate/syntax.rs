//! Syntax of texts: checks for files what the definition's rules check for resources in a cluster.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::problem::Problems;
use crate::crd::{FORMS, Form, RookerySpec, hides_value};

/// [`FORMS`], with each pattern compiled.
static COMPILED: LazyLock<Vec<(&str, &Form, Regex)>> = LazyLock::new(|| {
    let compile = |(path, form): &(&'static str, &'static Form)| {
        (*path, *form, Regex::new(form.pattern).expect("a test compiles every pattern"))
    };
    FORMS.iter().map(compile).collect()
});

/// Checks every text that is handed on to the cluster.
pub(super) fn check(spec: &RookerySpec, problems: &mut Problems) {
    let Ok(spec) = serde_json::to_value(spec) else { return };
    for (path, form, regex) in COMPILED.iter() {
        let fits =
            |text: &str| text.chars().count() <= usize::from(form.longest) && regex.is_match(text);
        let mut visit = |field: &str, key: Option<&str>, text: &str| {
            let expected = form.expected;
            match key {
                _ if fits(text) => {}
                None if hides_value(form) => {
                    problems.add(field, format_args!("is none; expected {expected}"));
                }
                None => problems.add(field, format_args!("is `{text}`; expected {expected}")),
                Some(key) if key == text => {
                    problems.add(field, format_args!("has `{key}`; expected {expected}"));
                }
                Some(key) => {
                    problems.add(field, format_args!("has `{key}: {text}`; expected {expected}"));
                }
            }
        };
        each(&spec, "spec".to_owned(), path, &mut visit);
    }
}

/// Visits each text at a path of [`FORMS`]: with its field, with its key if it is that of a map or
/// its value.
fn each(value: &Value, field: String, path: &str, visit: &mut dyn FnMut(&str, Option<&str>, &str)) {
    if let Some(rest) = path.strip_prefix("[]") {
        for (i, item) in value.as_array().into_iter().flatten().enumerate() {
            each(item, format!("{field}[{i}]"), rest, visit);
        }
    } else if path == "{key}" || path == "{}" {
        for (key, value) in value.as_object().into_iter().flatten() {
            let text = if path == "{}" { value.as_str() } else { Some(key.as_str()) };
            if let Some(text) = text {
                visit(&field, Some(key), text);
            }
        }
    } else if path.is_empty() {
        if let Some(text) = value.as_str() {
            visit(&field, None, text);
        }
    } else {
        let path = path.strip_prefix('.').unwrap_or(path);
        let (name, rest) = path.split_at(path.find(['.', '[', '{']).unwrap_or(path.len()));
        if let Some(inner) = value.get(name) {
            each(inner, format!("{field}.{name}"), rest, visit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the form of a field takes a text.
    fn takes(path: &str, text: &str) -> bool {
        let (_, form, regex) = COMPILED.iter().find(|(of, ..)| *of == path).unwrap();
        text.len() <= usize::from(form.longest) && regex.is_match(text)
    }

    #[test]
    fn names_are_those_of_dns() {
        for good in ["a", "a-b.c", "0", "chat.example.com"] {
            assert!(takes("secrets[].secretName", good), "{good}");
        }
        for bad in ["", "A", "a_b", "-a", "a-", "a..b", ".a", "a b", "é", &"a".repeat(254)] {
            assert!(!takes("secrets[].secretName", bad), "{bad}");
        }
    }

    #[test]
    fn keys_have_at_most_one_prefix() {
        for good in ["a", "A_b.c-d", "example.com/team", &"a".repeat(63)] {
            assert!(takes("podTemplate.labels{key}", good), "{good}");
        }
        for bad in ["", "a/", "/a", "a/b/c", "A.b/c", "a b", "-a", &"a".repeat(64)] {
            assert!(!takes("podTemplate.labels{key}", bad), "{bad}");
        }
        assert!(takes("podTemplate.labels{}", "") && !takes("podTemplate.labels{}", "a/b"));
    }

    #[test]
    fn images_have_no_spaces_and_a_plain_tag() {
        for good in [
            "rookery",
            "rookery:1.2.3-rc.1",
            "localhost:5000/team/rookery",
            "[::1]:5000/rookery",
            "registry.example.com/a/b__c/d:e@sha256:0123456789abcdef0123456789abcdef",
        ] {
            assert!(takes("image", good), "{good}");
        }
        for bad in ["", " a", "a b", "a:", "Rookery", "a:b:c", "https://a/b", "a@sha256:1", "a/"] {
            assert!(!takes("image", bad), "{bad}");
        }
    }

    #[test]
    fn networks_have_a_prefix_that_fits() {
        let field = "service.loadBalancerSourceRanges[]";
        for good in ["0.0.0.0/0", "192.0.2.0/24", "2001:db8::/32", "::/0", "::ffff:10.0.0.0/104"] {
            assert!(takes(field, good), "{good}");
        }
        for bad in ["10.0.0.1", "10.0.0/8", "10.0.0.256/8", "10.0.0.0/33", "::/129", "office"] {
            assert!(!takes(field, bad), "{bad}");
        }
    }
}
