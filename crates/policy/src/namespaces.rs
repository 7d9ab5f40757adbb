//! [`Namespaces`]: the namespaces that clients may connect to, by name and by pattern.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::parts::TemplateError;
use crate::pattern::Pattern;

/// The longest name of a namespace that a pattern matches, in bytes.
pub const MAX_NAMESPACE_BYTES: usize = 255;

/// What no namespace of a pattern has in its name: the first two end a name in the protocol, and `#`
/// ends it in the channels of Redis.
const NOT_IN_NAMES: [char; 3] = [',', '?', '#'];

/// An entry that is no namespace and no pattern of some.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct NamespaceError {
    /// The entry's position, from 0.
    pub index: usize,
    /// What is wrong with it.
    pub problem: NamespaceProblem,
}

/// What is wrong with an entry of `namespaces`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamespaceProblem {
    /// It does not start with a slash, or has a character that ends a name.
    #[error("a namespace starts with `/` and has no `,` or `?`, such as /chat")]
    Name,
    /// Names that a pattern matches never have a `#`.
    #[error("a pattern of namespaces has no `#`")]
    Hash,
    /// Its braces are no pattern.
    #[error(transparent)]
    Pattern(#[from] TemplateError),
}

/// The namespaces that clients may connect to: some by their names, and all that a pattern matches.
///
/// An entry with braces is a [`Pattern`], as in `match` of a room's rule. A name that it matches has
/// at most [`MAX_NAMESPACE_BYTES`] and no `,`, `?`, `#` or control character.
#[derive(Clone, Debug, Default)]
pub struct Namespaces {
    fixed: Vec<Arc<str>>,
    patterns: Vec<Pattern>,
}

/// A namespace, and what its pattern captured from its name. Cloning is shallow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    name: Arc<str>,
    params: Params,
}

/// What a pattern captured from the name of a namespace; empty for one that is named in the
/// configuration. It is serialized as an object. Cloning is shallow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params(Arc<[(Box<str>, Box<str>)]>);

impl Namespaces {
    /// Compiles the entries of the configuration.
    ///
    /// # Errors
    /// The first entry that is neither a namespace nor a pattern of some.
    pub fn compile(configured: &[impl AsRef<str>]) -> Result<Self, NamespaceError> {
        let mut namespaces = Namespaces::default();
        for (index, entry) in configured.iter().enumerate() {
            let added = namespaces.add(entry.as_ref());
            added.map_err(|problem| NamespaceError { index, problem })?;
        }
        Ok(namespaces)
    }

    fn add(&mut self, entry: &str) -> Result<(), NamespaceProblem> {
        if !entry.starts_with('/') || entry.contains([',', '?']) {
            return Err(NamespaceProblem::Name);
        }
        if !entry.contains(['{', '}']) {
            self.fixed.push(entry.into());
            return Ok(());
        }
        let pattern = Pattern::parse(entry)?;
        if entry.contains('#') {
            return Err(NamespaceProblem::Hash);
        }
        self.patterns.push(pattern);
        Ok(())
    }

    /// The namespaces that the configuration names.
    pub fn fixed(&self) -> &[Arc<str>] {
        &self.fixed
    }

    /// The patterns of further ones, in the order of the configuration.
    pub fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    /// Whether the configuration names this namespace.
    pub fn is_fixed(&self, name: &str) -> bool {
        self.fixed.iter().any(|fixed| **fixed == *name)
    }

    /// The namespace of this name: one that is named, or else of the first pattern that matches.
    /// `None`: clients may not connect to it.
    pub fn get(&self, name: &str) -> Option<Namespace> {
        if let Some(fixed) = self.fixed.iter().find(|fixed| ***fixed == *name) {
            return Some(Namespace { name: fixed.clone(), params: Params::default() });
        }
        let captures = self.patterns[self.pattern_of(name)?].matches(name)?;
        let params = captures.iter().map(|(name, value)| (name.into(), value.into())).collect();
        Some(Namespace { name: name.into(), params: Params(params) })
    }

    /// Whether clients may connect to the namespace of this name.
    pub fn offers(&self, name: &str) -> bool {
        self.is_fixed(name) || self.pattern_of(name).is_some()
    }

    /// The position of the first pattern that a name matches which the configuration does not name.
    pub fn pattern_of(&self, name: &str) -> Option<usize> {
        let is_forbidden = |c: char| NOT_IN_NAMES.contains(&c) || c.is_control();
        if self.patterns.is_empty()
            || self.is_fixed(name)
            || name.len() > MAX_NAMESPACE_BYTES
            || name.contains(is_forbidden)
        {
            return None;
        }
        self.patterns.iter().position(|pattern| pattern.is_match(name))
    }

    /// A name for each entry: its own, and for a pattern one that it matches.
    pub fn examples(&self) -> Vec<Arc<str>> {
        let of_patterns = self.patterns.iter().map(|pattern| pattern.example().into());
        self.fixed.iter().cloned().chain(of_patterns).collect()
    }

    /// The entries as they are configured, names first.
    pub fn entries(&self) -> impl Iterator<Item = &str> {
        let patterns = self.patterns.iter().map(Pattern::as_str);
        self.fixed.iter().map(|name| &**name).chain(patterns)
    }
}

impl Namespace {
    /// The namespace that every client of Socket.IO 2 is in.
    pub fn root() -> Self {
        Namespace { name: "/".into(), params: Params::default() }
    }

    /// Its name, with the leading slash.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What its pattern captured.
    pub fn params(&self) -> &Params {
        &self.params
    }
}

impl Params {
    /// Names and values, in the order of the pattern.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Whether nothing was captured.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Params {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespaces(entries: &[&str]) -> Namespaces {
        Namespaces::compile(entries).unwrap()
    }

    fn params(namespaces: &Namespaces, name: &str) -> Option<serde_json::Value> {
        let namespace = namespaces.get(name)?;
        assert_eq!(&**namespace.name(), name);
        Some(serde_json::to_value(namespace.params()).unwrap())
    }

    #[test]
    fn a_pattern_offers_the_names_that_it_matches_and_captures_their_parts() {
        let offered = namespaces(&["/", "/tenant-{id}", "/{org}/{path*}"]);
        let json = |text: &str| Some(serde_json::from_str(text).unwrap());
        assert_eq!(params(&offered, "/"), json("{}"));
        assert_eq!(params(&offered, "/tenant-7"), json(r#"{"id":"7"}"#));
        assert_eq!(params(&offered, "/tenant-a%2Db"), json(r#"{"id":"a-b"}"#));
        assert_eq!(params(&offered, "/acme/a/b"), json(r#"{"org":"acme","path":"a/b"}"#));
        for other in ["", "tenant-7", "/tenant-", "/tenant-7-8", "/x", "/tenant-7 /", "//a"] {
            assert_eq!(params(&offered, other), None, "{other}");
        }
    }

    #[test]
    fn a_name_that_the_configuration_names_is_not_of_a_pattern() {
        let offered = namespaces(&["/tenant-{id}", "/tenant-7"]);
        assert!(offered.get("/tenant-7").unwrap().params().is_empty());
        assert_eq!(offered.pattern_of("/tenant-7"), None);
        assert_eq!(offered.pattern_of("/tenant-8"), Some(0));
    }

    #[test]
    fn the_first_pattern_that_matches_captures() {
        let offered = namespaces(&["/a-{x}", "/{y*}"]);
        assert_eq!(offered.pattern_of("/a-1"), Some(0));
        assert_eq!(offered.pattern_of("/a-1-2"), Some(1));
        assert_eq!(offered.pattern_of("/"), None);
    }

    #[test]
    fn names_that_would_be_ambiguous_elsewhere_or_are_too_long_match_no_pattern() {
        let offered = namespaces(&["/{rest*}"]);
        let longest = format!("/{}", "x".repeat(MAX_NAMESPACE_BYTES - 1));
        assert!(offered.get(&longest).is_some());
        assert!(offered.get(&format!("{longest}x")).is_none());
        for name in ["/a,b", "/a?b", "/a#b", "/a\nb", "/a\u{0}", "/\u{85}"] {
            assert!(offered.get(name).is_none(), "{name:?}");
        }
        assert!(offered.get("/grüße-\u{1f426}").is_some());
    }

    #[test]
    fn malformed_entries_are_refused_with_their_position() {
        let cases = [
            ("chat", NamespaceProblem::Name),
            ("{all}", NamespaceProblem::Name),
            ("/a?b", NamespaceProblem::Name),
            ("/a#{b}", NamespaceProblem::Hash),
            ("/{a}{b}", TemplateError::Ambiguous("a".into(), "b".into()).into()),
            ("/{a", TemplateError::Unclosed(1).into()),
            ("/a}", TemplateError::Unopened(2).into()),
            ("/{a}/{a}", TemplateError::Twice("a".into()).into()),
        ];
        for (entry, problem) in cases {
            let error = Namespaces::compile(&["/", entry]).unwrap_err();
            assert_eq!(error, NamespaceError { index: 1, problem }, "{entry}");
        }
    }

    #[test]
    fn each_entry_has_an_example_that_it_offers() {
        let offered = namespaces(&["/", "/tenant-{id}", "/{a}x:y{b}/{c*}"]);
        let examples = offered.examples();
        assert_eq!(examples.len(), 3);
        for (at, example) in examples.iter().enumerate() {
            assert_eq!(offered.pattern_of(example), at.checked_sub(1), "{example}");
            assert!(offered.get(example).is_some());
        }
        assert_eq!(offered.entries().collect::<Vec<_>>()[1], "/tenant-{id}");
    }
}
