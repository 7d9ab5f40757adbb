//! Reads a [`Node`] into a type and finds every mistake on the way.
//!
//! A key without a value counts as absent, so that a section may be empty.

mod mistake;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, Visitor,
};

use crate::error::{MAX_PROBLEMS, Problem};
use crate::tree::{Entry, Node, Path, Value};

pub use mistake::nearest;
use mistake::{Cause, Mistake, NodeId, Place, listed};

/// Reads `node` as a `T`.
///
/// # Errors
/// Returns every independent mistake, up to one more than [`MAX_PROBLEMS`]: after each one, `node`
/// is read again without the value that was wrong, and without the items of lists that were right.
pub fn read<T: for<'de> Deserialize<'de>>(node: &Node) -> Result<T, Vec<Problem>> {
    Reading::default().all(node)
}

/// What is known of the nodes of a document while it is read.
#[derive(Default)]
struct Reading {
    /// The values that are wrong.
    wrong: HashSet<NodeId>,
    /// The items of lists that are right. They are passed over once there is a mistake.
    right: RefCell<HashSet<NodeId>>,
    /// The number of values read, however often.
    steps: Cell<usize>,
}

impl Reading {
    fn all<T: for<'de> Deserialize<'de>>(&mut self, node: &Node) -> Result<T, Vec<Problem>> {
        let mut problems: Vec<Problem> = Vec::new();
        let mut wrong_paths: Vec<String> = Vec::new();
        loop {
            let root = At { node, line: node.line, path: Path::Root, reading: self };
            let mistake = match T::deserialize(root) {
                Ok(value) if problems.is_empty() => return Ok(value),
                Ok(_) => return Err(problems),
                Err(mistake) => mistake,
            };
            let place = mistake.place.as_ref();
            let path = place.map_or("", |place| &place.path);
            let below = format!("{path}.");
            let consequence = matches!(mistake.cause, Cause::MissingKey(_))
                && wrong_paths.iter().any(|wrong| wrong.starts_with(&below));
            if !consequence {
                problems.push(mistake.problem());
            }
            let known = place.is_none_or(|place| !self.wrong.insert(place.node));
            if path.is_empty() || known || problems.len() > MAX_PROBLEMS {
                return Err(problems);
            }
            wrong_paths.push(path.to_owned());
        }
    }

    /// Whether an item of a list is left out.
    fn passes_over(&self, item: &Node) -> bool {
        let item: NodeId = item;
        !self.wrong.is_empty()
            && (self.wrong.contains(&item) || self.right.borrow().contains(&item))
    }
}

/// A node at its path.
struct At<'n> {
    node: &'n Node,
    /// The line number of its key or item.
    line: u64,
    path: Path<'n>,
    reading: &'n Reading,
}

impl At<'_> {
    fn visit<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Mistake> {
        self.reading.steps.update(|steps| steps + 1);
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
            Value::List(items) => {
                let (path, reading) = (&self.path, self.reading);
                visitor.visit_seq(Items { items, next: 0, path, reading })
            }
            Value::Map(entries) => visitor.visit_map(self.entries(entries)),
        }
        .map_err(|mistake| mistake.at(|| self.place()))
    }

    fn entries<'a>(&'a self, entries: &'a [Entry]) -> Entries<'a> {
        let (path, reading) = (&self.path, self.reading);
        Entries { entries, next: 0, seen: HashSet::new(), path, reading }
    }

    fn place(&self) -> Place {
        Place { path: self.path.to_string(), line: self.line, node: self.node }
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
            Value::Null => {
                visitor.visit_map(self.entries(&[])).map_err(|mistake| mistake.at(|| self.place()))
            }
            // serde would take a list for the fields in order.
            Value::List(_) => {
                Err(Mistake::invalid_type(Unexpected::Seq, &visitor).at(|| self.place()))
            }
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
                .map_err(|mistake| mistake.at(|| self.place())),
            other => {
                Err(Mistake::custom(format_args!("expected {}, found {other}", listed(variants)))
                    .at(|| self.place()))
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
    path: &'n Path<'n>,
    reading: &'n Reading,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Mistake;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Mistake> {
        while let Some(node) = self.items.get(self.next) {
            let path = Path::Item(self.path, self.next);
            self.next += 1;
            if self.reading.passes_over(node) {
                continue;
            }
            let at = At { node, line: node.line, path, reading: self.reading };
            let value = seed.deserialize(at)?;
            self.reading.right.borrow_mut().insert(node);
            return Ok(Some(value));
        }
        Ok(None)
    }
}

struct Entries<'n> {
    entries: &'n [Entry],
    next: usize,
    /// The keys up to the next entry.
    seen: HashSet<&'n str>,
    path: &'n Path<'n>,
    reading: &'n Reading,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Mistake;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Mistake> {
        while let Some(entry) = self.entries.get(self.next) {
            let node: NodeId = &entry.node;
            let repeated = !self.seen.insert(&entry.key);
            let absent = matches!(entry.node.value, Value::Null);
            if !repeated && !absent && !self.reading.wrong.contains(&node) {
                return seed.deserialize(KeyAt { entry, parent: self.path }).map(Some);
            }
            self.next += 1;
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Mistake> {
        let Entry { key, line, node } = &self.entries[self.next];
        self.next += 1;
        let path = Path::Key(self.path, key);
        seed.deserialize(At { node, line: *line, path, reading: self.reading })
    }
}

/// A key of a section. serde refuses it if it is unknown.
struct KeyAt<'n> {
    entry: &'n Entry,
    parent: &'n Path<'n>,
}

impl<'de> Deserializer<'de> for KeyAt<'_> {
    type Error = Mistake;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mistake> {
        let Entry { key, line, node } = self.entry;
        de::Deserializer::deserialize_any(StrDeserializer::<Mistake>::new(key), visitor).map_err(
            |mistake| {
                let cause = mistake.cause.in_section(&self.parent.to_string());
                let path = Path::Key(self.parent, key).to_string();
                Mistake { cause, ..mistake }.at(|| Place { path, line: *line, node })
            },
        )
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}

#[cfg(test)]
mod tests;
