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

/// The largest document, in bytes; also the most text in it when every alias is replaced by what it
/// stands for.
pub const MAX_BYTES: usize = 4 << 20;

/// The most values and keys in a document, counted where an alias stands for them, too.
pub const MAX_NODES: usize = 250_000;

/// The deepest nesting of lists and sections. All that read them do so by recursion.
pub const MAX_DEPTH: usize = 32;

/// The longest key, in bytes: messages repeat the keys on the way to a mistake.
pub const MAX_KEY_BYTES: usize = 512;

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
    /// Fails for malformed YAML, for more than one document, and for a document that is larger or
    /// nests deeper than [`MAX_BYTES`], [`MAX_NODES`], [`MAX_DEPTH`] and [`MAX_KEY_BYTES`] allow,
    /// and names the line.
    pub fn parse(text: &str) -> Result<Node, Problem> {
        if text.len() > MAX_BYTES {
            let text = format!(
                "the document has {} bytes; at most {MAX_BYTES} are allowed: make it smaller",
                text.len()
            );
            return Err(Problem { key: None, line: None, text });
        }
        let options = serde_saphyr::options! {
            // Counted with every use of an alias.
            budget: serde_saphyr::budget! {
                max_nodes: MAX_NODES,
                max_depth: MAX_DEPTH,
                max_total_scalar_bytes: MAX_BYTES,
            },
            // `duplicates` finds repeated keys with their paths.
            duplicate_keys: DuplicateKeyPolicy::PassThrough,
            // `on` and `no` are text, as in YAML 1.2.
            strict_booleans: true,
            with_snippet: false,
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

    /// A problem for every `join` and `publish` of a room rule that has no value, which would
    /// otherwise count as absent and allow everyone.
    pub fn rules_without_value(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for rooms in self.values("rooms") {
            let Value::List(rules) = &rooms.node.value else { continue };
            for (i, rule) in rules.iter().enumerate() {
                for key in ["join", "publish"] {
                    let empty =
                        rule.values(key).find(|entry| matches!(entry.node.value, Value::Null));
                    if let Some(entry) = empty
                        && problems.len() <= MAX_PROBLEMS
                    {
                        problems.push(without_value(&format!("rooms[{i}].{key}"), entry.line));
                    }
                }
            }
        }
        problems
    }

    /// The entries of a mapping with this key, usually one.
    fn values<'n>(&'n self, key: &'n str) -> impl Iterator<Item = &'n Entry> {
        let entries = match &self.value {
            Value::Map(entries) => entries.as_slice(),
            _ => &[],
        };
        entries.iter().filter(move |entry| entry.key == key)
    }
}

fn without_value(path: &str, line: u64) -> Problem {
    let text = format!(
        "`{path}` has no value; write an expression such as \"false\", or leave the key out to \
         allow everyone"
    );
    Problem { key: Some(path.to_owned()), line: Some(line), text }
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
            if key.value.len() > MAX_KEY_BYTES {
                let (length, line) = (key.value.len(), key.referenced.line());
                return Err(A::Error::custom(format_args!(
                    "a key on line {line} has {length} bytes; at most {MAX_KEY_BYTES} are allowed"
                )));
            }
            entries.push(Entry { key: key.value, line: key.referenced.line(), node });
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests;
