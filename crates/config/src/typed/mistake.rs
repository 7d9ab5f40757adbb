//! [`Mistake`]: a value or key that does not have the expected form, in the words of the
//! configuration.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error, Expected, Unexpected};

use crate::error::Problem;
use crate::tree::{Node, key_path};

/// The longest text that a message quotes from the document, in characters.
const MAX_QUOTED: usize = 64;

/// A value or key that does not have the expected form.
#[derive(Debug)]
pub(super) struct Mistake {
    /// Where it is; `None` until the innermost deserializer that knows it has filled it in.
    pub(super) place: Option<Place>,
    pub(super) cause: Cause,
}

/// The place of a [`Mistake`].
#[derive(Debug)]
pub(super) struct Place {
    /// The path of the value or key; empty at the root.
    pub(super) path: String,
    /// The line number of the key or item; 0 if it is unknown.
    pub(super) line: u64,
    /// The identity of the value's node.
    pub(super) node: NodeId,
}

/// The address of a node, which does not move while it is read.
pub(super) type NodeId = *const Node;

/// What is wrong at a [`Mistake`]'s path.
#[derive(Debug)]
pub(super) enum Cause {
    /// Anything that is said completely by this text.
    Message(String),
    /// The section lacks this key.
    MissingKey(&'static str),
    /// The key is not one of `known`, the keys of its section.
    UnknownKey { known: &'static [&'static str], nearest: Option<&'static str> },
}

impl Mistake {
    /// Completes the mistake with its place, unless a deserializer further in did.
    pub(super) fn at(mut self, place: impl FnOnce() -> Place) -> Self {
        self.place.get_or_insert_with(place);
        self
    }

    /// The sentence for whoever wrote the document.
    pub(super) fn problem(&self) -> Problem {
        match &self.place {
            Some(Place { path, line, .. }) if !path.is_empty() => {
                let text = match example(path) {
                    Some(example) => format!("`{path}` expected {example}"),
                    None => format!("`{path}` {}", self.cause),
                };
                let line = (*line > 0).then_some(*line);
                Problem { line, ..Problem::new(path, text) }
            }
            _ => Problem { key: None, line: None, text: self.cause.to_string() },
        }
    }
}

impl Cause {
    /// Completes the cause with the path of the section that the key is in.
    pub(super) fn in_section(self, section: &str) -> Self {
        let Cause::UnknownKey { known, nearest } = self else { return self };
        let hint = match nearest {
            Some(near) => format!("did you mean `{}`?", key_path(section, near)),
            None if section.is_empty() => format!("known here: {}", listed(known)),
            None => format!("known under `{section}`: {}", listed(known)),
        };
        Cause::Message(format!("is not a known key; {hint}"))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Cause::Message(text) => f.write_str(text),
            Cause::MissingKey(key) => write!(f, "needs the key `{key}`"),
            Cause::UnknownKey { .. } => f.write_str("is not a known key"),
        }
    }
}

/// What a key expects whose type's own message does not say so.
fn example(path: &str) -> Option<&'static str> {
    match path.split('[').next()? {
        "listen" | "internal" => Some("an address with a port, such as 127.0.0.1:3000"),
        "trustedProxies" if path.ends_with(']') => {
            Some("a network such as 10.0.0.0/8, or 192.0.2.1/32 for one address")
        }
        _ => None,
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl std::error::Error for Mistake {}

impl Error for Mistake {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Mistake { place: None, cause: Cause::Message(without_middle(text.to_string())) }
    }

    fn invalid_type(found: Unexpected, expected: &dyn Expected) -> Self {
        let wanted = wanted(expected);
        let found = match found {
            // A misplaced value may be a secret, such as the URL of Redis.
            Unexpected::Str(_) if wanted.starts_with("a section") || wanted == "a list" => {
                "text".to_owned()
            }
            Unexpected::Bool(_) | Unexpected::Unsigned(_) | Unexpected::Signed(_)
                if wanted == "text" =>
            {
                format!("{}; put it in quotes", shown(found))
            }
            _ => shown(found),
        };
        Self::custom(format_args!("expected {wanted}, found {found}"))
    }

    fn invalid_value(found: Unexpected, expected: &dyn Expected) -> Self {
        Self::custom(format_args!("expected {}, found {}", wanted(expected), shown(found)))
    }

    fn missing_field(field: &'static str) -> Self {
        Mistake { place: None, cause: Cause::MissingKey(field) }
    }

    fn unknown_variant(found: &str, known: &'static [&'static str]) -> Self {
        Self::custom(format_args!("expected {}, found `{}`", listed(known), cut(found)))
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        let nearest = nearest(field, known);
        Mistake { place: None, cause: Cause::UnknownKey { known, nearest } }
    }
}

/// What serde expects, in the words of the configuration.
fn wanted(expected: &dyn Expected) -> String {
    let text = expected.to_string();
    match text.as_str() {
        "a string" => "text".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more".to_owned(),
        "a sequence" => "a list".to_owned(),
        "path string" => "the path of a file".to_owned(),
        _ if text.starts_with("struct ") => "a section with keys of its own".to_owned(),
        _ if text.starts_with("variant ") || text.starts_with("enum ") => "one word".to_owned(),
        _ => text,
    }
}

fn shown(found: Unexpected) -> String {
    match found {
        Unexpected::Bool(b) => format!("`{b}`"),
        Unexpected::Unsigned(n) => format!("the number `{n}`"),
        Unexpected::Signed(n) => format!("the number `{n}`"),
        Unexpected::Float(n) => format!("the number `{n}`"),
        Unexpected::Str(s) => format!("`{}`", cut(s)),
        Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a section".to_owned(),
        other => other.to_string(),
    }
}

/// A message without its middle if it is long: it may quote a value, and ends with what to do.
fn without_middle(text: String) -> String {
    const ENDS: usize = 200;
    if text.len() <= 3 * ENDS {
        return text;
    }
    let (first, last) =
        (text.floor_char_boundary(ENDS), text.ceil_char_boundary(text.len() - ENDS));
    format!("{}…{}", &text[..first], &text[last..])
}

/// The beginning of a text that may be long.
pub(super) fn cut(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MAX_QUOTED) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

pub(super) fn listed(known: &[&str]) -> String {
    let quoted: Vec<String> = known.iter().map(|k| format!("`{k}`")).collect();
    match quoted.as_slice() {
        [one] => one.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
        [] => "nothing".to_owned(),
    }
}

/// The known key that was probably meant: one that differs only in case, `_` or `-`, or by a few
/// edits.
pub fn nearest<'k>(field: &str, known: &[&'k str]) -> Option<&'k str> {
    let plain = |s: &str| s.to_lowercase().replace(['_', '-'], "");
    let longest = known.iter().map(|k| k.len()).max()?;
    // Nothing is near to a much longer one, and the distance takes the product of both lengths.
    if field.len() > 4 * longest {
        return None;
    }
    let field = plain(field);
    known
        .iter()
        .map(|k| (strsim::damerau_levenshtein(&field, &plain(k)), *k))
        .filter(|(edits, k)| *edits <= 1.max(k.len().min(field.len()) / 3))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, k)| k)
}
