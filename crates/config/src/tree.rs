//! [`Node`]: a YAML document as a tree with line numbers.
//!
//! Typed parsing stops at the first mistake and knows lines but not keys. With this tree, a refusal
//! can name every mistake by key and line.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Spanned};

use crate::error::{MAX_PROBLEMS, Problem};

/// The most items of a list, and keys of a section, in a configuration and in a `Rookery`.
pub const MAX_ITEMS: usize = 1000;

/// The longest text in a configuration and in a `Rookery`, in bytes.
pub const MAX_TEXT: usize = 16 << 10;

/// The deepest nesting, in levels of sections and lists. Reading is recursive, and an unoptimised
/// build takes about 32 KiB of stack for a level.
const MAX_DEPTH: usize = 32;

/// A value and the line that it starts on.
#[derive(Clone, Debug)]
pub struct Node {
    /// The line number, from 1; 0 if it is unknown.
    pub line: u64,
    /// The value.
    pub value: Value,
}

/// A YAML value.
#[derive(Clone, Debug)]
pub enum Value {
    /// Nothing: `~`, `null` or no value at all.
    Null,
    /// `true` or `false`; `yes` and `on` are text.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping in the order of the document, repeated keys included.
    Map(Vec<Entry>),
}

/// A key of a mapping and its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key as it is written.
    pub key: String,
    /// The line number of the key, from 1.
    pub line: u64,
    /// The value of the key.
    pub node: Node,
}

impl Node {
    /// Parses one YAML document; an empty one is [`Value::Null`].
    ///
    /// # Errors
    /// Fails for malformed YAML and for more than one document, and names the line.
    pub fn parse(text: &str) -> Result<Node, Problem> {
        let options = serde_saphyr::options! {
            // `duplicates` finds repeated keys with their paths.
            duplicate_keys: DuplicateKeyPolicy::PassThrough,
            // `on` and `no` are text, as in YAML 1.2.
            strict_booleans: true,
            with_snippet: false,
            budget: serde_saphyr::budget! { max_depth: MAX_DEPTH },
        };
        serde_saphyr::from_str_with_options::<Node>(text, options).map_err(|error| {
            let line = error.location().map(|at| at.line()).filter(|line| *line > 0);
            Problem { key: None, line, text: format!("this is not readable as YAML: {error}") }
        })
    }

    /// The line number of the key at `path`, or of the nearest enclosing one that is there.
    pub fn line_near(&self, path: &str) -> Option<u64> {
        let inner = match &self.value {
            Value::Map(entries) => entries.iter().find_map(|entry| {
                let rest = path.strip_prefix(entry.key.as_str())?;
                let whole = rest.is_empty() || rest.starts_with(['.', '[']);
                whole.then(|| (entry.line, &entry.node, rest.strip_prefix('.').unwrap_or(rest)))
            }),
            Value::List(items) => item_of(path).and_then(|(index, rest)| {
                let item = items.get(index)?;
                Some((item.line, item, rest.strip_prefix('.').unwrap_or(rest)))
            }),
            _ => None,
        };
        let (line, node, rest) = inner?;
        node.line_near(rest).or(Some(line))
    }

    /// A problem for every key that repeats an earlier one of its mapping, up to one more than
    /// [`MAX_PROBLEMS`].
    pub fn duplicates(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        self.find_duplicates(&Path::Root, &mut problems);
        problems
    }

    fn find_duplicates(&self, path: &Path, problems: &mut Vec<Problem>) {
        match &self.value {
            Value::Map(entries) => {
                let mut lines: HashMap<&str, u64> = HashMap::with_capacity(entries.len());
                for entry in entries {
                    let path = Path::Key(path, &entry.key);
                    match lines.entry(&entry.key) {
                        Slot::Vacant(slot) => drop(slot.insert(entry.line)),
                        Slot::Occupied(first) if problems.len() <= MAX_PROBLEMS => {
                            problems.push(written_twice(&path, entry.line, *first.get()));
                        }
                        Slot::Occupied(_) => {}
                    }
                    entry.node.find_duplicates(&path, problems);
                }
            }
            Value::List(items) => {
                for (i, item) in items.iter().enumerate() {
                    item.find_duplicates(&Path::Item(path, i), problems);
                }
            }
            _ => {}
        }
    }

    /// A problem for every list, section or text that is larger than [`MAX_ITEMS`] or [`MAX_TEXT`],
    /// up to one more than [`MAX_PROBLEMS`].
    pub fn oversized(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        self.find_oversized(&Path::Root, &mut problems);
        problems
    }

    fn find_oversized(&self, path: &Path, problems: &mut Vec<Problem>) {
        if problems.len() > MAX_PROBLEMS {
            return;
        }
        let mut too_many = |count: usize, what: &str, most: usize| {
            if count > most {
                let key = path.to_string();
                let text = match key.is_empty() {
                    true => format!("the file has {count} {what}; at most {most} are allowed"),
                    false => format!("`{key}` has {count} {what}; at most {most} are allowed"),
                };
                problems.push(Problem {
                    key: Some(key).filter(|key| !key.is_empty()),
                    line: None,
                    text,
                });
            }
        };
        match &self.value {
            Value::Text(text) => too_many(text.len(), "bytes", MAX_TEXT),
            Value::List(items) => {
                too_many(items.len(), "items", MAX_ITEMS);
                for (i, item) in items.iter().enumerate() {
                    item.find_oversized(&Path::Item(path, i), problems);
                }
            }
            Value::Map(entries) => {
                too_many(entries.len(), "keys", MAX_ITEMS);
                for entry in entries {
                    entry.node.find_oversized(&Path::Key(path, &entry.key), problems);
                }
            }
            _ => {}
        }
    }

    /// A problem for every `join` and `publish` of a room rule that has no value, which would
    /// otherwise count as absent and allow everyone.
    pub fn rules_without_value(&self) -> Vec<Problem> {
        fn entries<'n>(node: &'n Node, key: &str) -> Vec<&'n Entry> {
            match &node.value {
                Value::Map(entries) => entries.iter().filter(|e| e.key == key).collect(),
                _ => Vec::new(),
            }
        }
        let mut problems = Vec::new();
        for rooms in entries(self, "rooms") {
            let Value::List(rules) = &rooms.node.value else { continue };
            for (i, rule) in rules.iter().enumerate() {
                for key in ["join", "publish"] {
                    let empty = entries(rule, key);
                    let Some(entry) = empty.iter().find(|e| matches!(e.node.value, Value::Null))
                    else {
                        continue;
                    };
                    let path = format!("rooms[{i}].{key}");
                    let text = format!(
                        "`{path}` has no value; write an expression such as \"false\", or leave the \
                         key out to allow everyone"
                    );
                    problems.push(Problem { key: Some(path), line: Some(entry.line), text });
                }
            }
        }
        problems
    }
}

fn written_twice(path: &Path, line: u64, first: u64) -> Problem {
    Problem {
        key: Some(path.to_string()),
        line: Some(line),
        text: format!("`{path}` is written twice, first on line {first}; keep one"),
    }
}

/// The index that `path` begins with, and what follows: of `[2].room`, 2 and `.room`.
fn item_of(path: &str) -> Option<(usize, &str)> {
    let (index, rest) = path.strip_prefix('[')?.split_once(']')?;
    Some((index.parse().ok()?, rest))
}

/// The path of a key or item, written out only where a message names it.
#[derive(Clone, Copy, Debug)]
pub enum Path<'p> {
    /// The document itself.
    Root,
    /// A key of a mapping.
    Key(&'p Path<'p>, &'p str),
    /// An item of a list, counted from 0.
    Item(&'p Path<'p>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Key(Path::Root, key) => f.write_str(key),
            Path::Key(parent, key) => write!(f, "{parent}.{key}"),
            Path::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// The path of a key: `limits.connections`.
pub fn key_path(parent: &str, key: &str) -> String {
    if parent.is_empty() { key.to_owned() } else { format!("{parent}.{key}") }
}

/// The path of an item, counted from 0: `events[2]`.
pub fn item_path(parent: &str, index: usize) -> String {
    format!("{parent}[{index}]")
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Value::Null => f.write_str("nothing"),
            Value::Bool(b) => write!(f, "`{b}`"),
            Value::Int(n) => write!(f, "the number `{n}`"),
            Value::Float(n) => write!(f, "the number `{n}`"),
            Value::Text(s) => write!(f, "`{s}`"),
            Value::List(_) => f.write_str("a list"),
            Value::Map(_) => f.write_str("a section"),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(d)?;
        Ok(Node { line: spanned.referenced.line(), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        Value::deserialize(d)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Int(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Value, E> {
        i128::try_from(value).map(Value::Int).map_err(|_| E::custom("a number is too large"))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, node)) = map.next_entry::<Spanned<String>, Node>()? {
            entries.push(Entry { key: key.value, line: key.referenced.line(), node });
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests;
