//! Reads a [`Node`] into a type and finds every mistake on the way.
//!
//! A key without a value counts as absent, so that a section may be empty.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, Error, Expected, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, Visitor,
};

use crate::error::Problem;
use crate::tree::{Entry, Node, Value, item_path, key_path};

/// Reads `node` as a `T`.
///
/// # Errors
/// Returns every independent mistake: after each one, `node` is read again without the value that
/// was wrong.
pub fn read<T: for<'de> Deserialize<'de>>(node: &Node) -> Result<T, Vec<Problem>> {
    let mut skip = BTreeSet::new();
    let mut problems: Vec<Problem> = Vec::new();
    loop {
        match T::deserialize(At { node, path: String::new(), skip: &skip }) {
            Ok(value) if problems.is_empty() => return Ok(value),
            Ok(_) => return Err(problems),
            Err(mistake) => {
                let path = mistake.path.clone().unwrap_or_default();
                let below = format!("{path}.");
                let consequence = matches!(mistake.cause, Cause::MissingKey(_))
                    && skip.iter().any(|s: &String| s.starts_with(&below));
                if !consequence {
                    problems.push(mistake.problem());
                }
                if path.is_empty() || !skip.insert(path) {
                    return Err(problems);
                }
            }
        }
    }
}

/// A value or key that does not have the expected form.
#[derive(Debug)]
struct Mistake {
    /// The path of the value or key: empty at the root, `None` until the innermost deserializer
    /// that knows it has filled it in.
    path: Option<String>,
    cause: Cause,
}

/// What is wrong at a [`Mistake`]'s path.
#[derive(Debug)]
enum Cause {
    /// Anything that is said completely by this text.
    Message(String),
    /// The section lacks this key.
    MissingKey(&'static str),
    /// The key is not one of `known`, the keys of its section.
    UnknownKey { known: &'static [&'static str], nearest: Option<&'static str> },
}

impl Mistake {
    fn at(mut self, path: &str) -> Self {
        self.path.get_or_insert_with(|| path.to_owned());
        self
    }

    fn problem(&self) -> Problem {
        match self.path.as_deref().unwrap_or_default() {
            "" => Problem { key: None, line: None, text: self.cause.to_string() },
            path => {
                let text = match example(path) {
                    Some(example) => format!("`{path}` expected {example}"),
                    None => format!("`{path}` {}", self.cause),
                };
                Problem::new(path, text)
            }
        }
    }
}

impl Cause {
    /// Completes the cause with the path of the section that the key is in.
    fn in_section(self, section: &str) -> Self {
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
        Mistake { path: None, cause: Cause::Message(text.to_string()) }
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
        Mistake { path: None, cause: Cause::MissingKey(field) }
    }

    fn unknown_variant(found: &str, known: &'static [&'static str]) -> Self {
        Self::custom(format_args!("expected {}, found `{found}`", listed(known)))
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        let nearest = nearest(field, known);
        Mistake { path: None, cause: Cause::UnknownKey { known, nearest } }
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
        Unexpected::Str(s) => format!("`{s}`"),
        Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a section".to_owned(),
        other => other.to_string(),
    }
}

fn listed(known: &[&str]) -> String {
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
    let field = plain(field);
    known
        .iter()
        .map(|k| (strsim::damerau_levenshtein(&field, &plain(k)), *k))
        .filter(|(edits, k)| *edits <= 1.max(k.len().min(field.len()) / 3))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, k)| k)
}

/// A node at its path.
struct At<'n> {
    node: &'n Node,
    path: String,
    skip: &'n BTreeSet<String>,
}

impl<'n> At<'n> {
    fn visit<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        let (path, skip) = (self.path, self.skip);
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(b) => visitor.visit_bool(*b),
            Value::Int(n) => match (u64::try_from(*n), i64::try_from(*n)) {
                (Ok(n), _) => visitor.visit_u64(n),
                (_, Ok(n)) => visitor.visit_i64(n),
                _ => visitor.visit_i128(*n),
            },
            Value::Float(n) => visitor.visit_f64(*n),
            Value::Text(text) => visitor.visit_str(text),
            Value::List(items) => visitor.visit_seq(Items { items, next: 0, path: &path, skip }),
            Value::Map(entries) => {
                visitor.visit_map(Entries { entries, next: 0, path: &path, skip })
            }
        }
        .map_err(|mistake| mistake.at(&path))
    }
}

impl<'de> Deserializer<'de> for At<'_> {
    type Error = Mistake;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        self.visit(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        match &self.node.value {
            // An empty document, or an empty item of a list.
            Value::Null => visitor
                .visit_map(Entries { entries: &[], next: 0, path: &self.path, skip: self.skip })
                .map_err(|mistake| mistake.at(&self.path)),
            // serde would take a list for the fields in order.
            Value::List(_) => Err(Mistake::invalid_type(Unexpected::Seq, &visitor).at(&self.path)),
            _ => self.visit(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mistake> {
        match &self.node.value {
            Value::Text(text) => visitor
                .visit_enum(IntoDeserializer::<Mistake>::into_deserializer(text.as_str()))
                .map_err(|mistake| mistake.at(&self.path)),
            other => {
                Err(Mistake::custom(format_args!("expected {}, found {other}", listed(variants)))
                    .at(&self.path))
            }
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

struct Items<'n> {
    items: &'n [Node],
    next: usize,
    path: &'n str,
    skip: &'n BTreeSet<String>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Mistake;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Mistake> {
        while let Some(node) = self.items.get(self.next) {
            let path = item_path(self.path, self.next);
            self.next += 1;
            if !self.skip.contains(&path) {
                return seed.deserialize(At { node, path, skip: self.skip }).map(Some);
            }
        }
        Ok(None)
    }
}

struct Entries<'n> {
    entries: &'n [Entry],
    next: usize,
    path: &'n str,
    skip: &'n BTreeSet<String>,
}

impl Entries<'_> {
    /// Whether the entry counts: it has a value, is not skipped, and repeats no earlier key.
    fn counts(&self, index: usize) -> bool {
        let entry = &self.entries[index];
        !matches!(entry.node.value, Value::Null)
            && !self.skip.contains(&key_path(self.path, &entry.key))
            && !self.entries[..index].iter().any(|earlier| earlier.key == entry.key)
    }
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Mistake;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Mistake> {
        while self.next < self.entries.len() && !self.counts(self.next) {
            self.next += 1;
        }
        match self.entries.get(self.next) {
            Some(entry) => seed.deserialize(KeyAt { key: &entry.key, parent: self.path }).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Mistake> {
        let entry = &self.entries[self.next];
        self.next += 1;
        let path = key_path(self.path, &entry.key);
        seed.deserialize(At { node: &entry.node, path, skip: self.skip })
    }
}

/// A key of a section. serde refuses it if it is unknown.
struct KeyAt<'n> {
    key: &'n str,
    parent: &'n str,
}

impl<'de> Deserializer<'de> for KeyAt<'_> {
    type Error = Mistake;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        let key = StrDeserializer::<Mistake>::new(self.key);
        de::Deserializer::deserialize_any(key, visitor).map_err(|mistake| {
            let cause = mistake.cause.in_section(self.parent);
            Mistake { cause, ..mistake }.at(&key_path(self.parent, self.key))
        })
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}
