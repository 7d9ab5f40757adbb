//! Parses label selectors of query strings.

use std::collections::BTreeSet;

use kube::core::{Expression, Selector};
use thiserror::Error;

/// Why a label selector is invalid.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("cannot read the label selector at {at:?}: expected {expected}")]
pub struct SelectorError {
    at: String,
    expected: &'static str,
}

/// Parses a label selector: `a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b,c)`, `a`, `!a`,
/// separated by commas (Kubernetes, "Labels and Selectors", section "Label selectors"). An empty
/// one selects everything.
///
/// # Errors
/// The error holds the remaining text and what was expected there.
pub fn parse(text: &str) -> Result<Selector, SelectorError> {
    let mut rest = text.trim();
    let mut expressions = Vec::new();
    while !rest.is_empty() {
        let (expression, after) = requirement(rest)?;
        expressions.push(expression);
        rest = match after.strip_prefix(',') {
            Some(next) if next.trim_start().is_empty() => {
                return Err(error_at(next, "a requirement"));
            }
            Some(next) => next.trim_start(),
            None if after.is_empty() => after,
            None => return Err(error_at(after, "a comma")),
        };
    }
    Ok(expressions.into_iter().collect())
}

/// Parses one requirement; returns it and the remaining text.
fn requirement(text: &str) -> Result<(Expression, &str), SelectorError> {
    if let Some(text) = text.strip_prefix('!') {
        let (key, rest) = label_key(text)?;
        return Ok((Expression::DoesNotExist(key), rest));
    }
    let (key, rest) = label_key(text)?;
    if rest.is_empty() || rest.starts_with(',') {
        return Ok((Expression::Exists(key), rest));
    }
    if let Some(rest) = rest.strip_prefix("!=") {
        let (value, rest) = value(rest);
        return Ok((Expression::NotEqual(key, value), rest));
    }
    if let Some(rest) = rest.strip_prefix("==").or_else(|| rest.strip_prefix('=')) {
        let (value, rest) = value(rest);
        return Ok((Expression::Equal(key, value), rest));
    }
    let (operator, set) = value(rest);
    match operator.as_str() {
        "in" => values(set).map(|(values, rest)| (Expression::In(key, values), rest)),
        "notin" => values(set).map(|(values, rest)| (Expression::NotIn(key, values), rest)),
        _ => Err(error_at(rest, "=, ==, !=, in or notin")),
    }
}

fn values(text: &str) -> Result<(BTreeSet<String>, &str), SelectorError> {
    let mut rest = text.strip_prefix('(').ok_or_else(|| error_at(text, "("))?;
    let mut values = BTreeSet::new();
    loop {
        let (one, after) = value(rest);
        values.insert(one);
        if let Some(after) = after.strip_prefix(')') {
            return Ok((values, after.trim_start()));
        }
        rest = after.strip_prefix(',').ok_or_else(|| error_at(after, "a comma or )"))?;
    }
}

/// Parses a label key.
fn label_key(text: &str) -> Result<(String, &str), SelectorError> {
    match value(text) {
        (word, rest) if !word.is_empty() => Ok((word, rest)),
        (_, rest) => Err(error_at(rest, "a label's name")),
    }
}

/// Parses a value, which may be empty, and the whitespace around it.
fn value(text: &str) -> (String, &str) {
    let text = text.trim_start();
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    let end = text.find(|c| !letter(c)).unwrap_or(text.len());
    (text[..end].to_owned(), text[end..].trim_start())
}

fn error_at(at: &str, expected: &'static str) -> SelectorError {
    SelectorError { at: at.chars().take(40).collect(), expected }
}

#[cfg(test)]
mod tests {
    use kube::core::SelectorExt as _;
    use std::collections::BTreeMap;

    use super::*;

    fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels: BTreeMap<String, String> =
            labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        parse(selector).unwrap().matches(&labels)
    }

    #[test]
    fn equality_set_and_existence_requirements_match() {
        let chat = [("app.kubernetes.io/name", "rookery"), ("tier", "gold")];
        assert!(matches("", &chat));
        assert!(matches("app.kubernetes.io/name=rookery,tier==gold", &chat));
        assert!(matches(" tier = gold , app.kubernetes.io/name ", &chat));
        assert!(!matches("tier=silver", &chat));
        assert!(matches("tier!=silver,other!=x", &chat));
        assert!(matches("tier in (silver, gold)", &chat));
        assert!(!matches("tier notin (silver,gold)", &chat));
        assert!(matches("tier notin (silver),other notin (x)", &chat));
        assert!(!matches("other in (x)", &chat));
        assert!(matches("!other,tier", &chat));
        assert!(!matches("! tier", &chat));
        assert!(matches("in in (in)", &[("in", "in")]));
        assert!(matches("tier=", &[("tier", "")]));
        assert!(matches("tier in (,gold)", &[("tier", "")]));
    }

    #[test]
    fn an_invalid_selector_is_rejected_with_its_position() {
        for bad in
            ["=a", "a=b,", "a in", "a in b", "a in (b", "a in (b c)", "a > 1", "a=b c", ",", "!"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let error = parse("tier ~ gold").unwrap_err().to_string();
        assert!(error.contains("\"~ gold\"") && error.contains("notin"), "{error}");
    }
}
