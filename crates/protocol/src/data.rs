//! [`Data`]: an argument of an event, which is JSON with binary values; and [`DataRef`], its
//! borrowed form.

use bytes::Bytes;
use compact_str::CompactString;

/// The deepest nesting of an event's argument, in levels of arrays and objects. What is deeper is
/// refused before it is accepted.
pub const MAX_DEPTH: usize = 64;

/// A value as Socket.IO events carry it: JSON with binary values at any depth.
///
/// Objects keep the order of their keys. Every wire form (Socket.IO text with attachments,
/// msgpack, JSON with `{"$binary": "<base64>"}`) converts to and from this one type.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// JSON `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// Any JSON number.
    Number(serde_json::Number),
    /// A string; up to 24 bytes need no allocation.
    String(CompactString),
    /// A binary value; cloning is shallow.
    Binary(Bytes),
    /// An ordered list.
    Array(Vec<Data>),
    /// Keys and values in the order of the message; keys may repeat.
    Object(Vec<(CompactString, Data)>),
}

impl Data {
    /// The value of `key` if this is an object that has it; of repeated keys the last, as in
    /// JavaScript.
    pub fn get(&self, key: &str) -> Option<&Data> {
        match self {
            Data::Object(entries) => entries.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// As [`Data::get`], to change the value.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Data> {
        match self {
            Data::Object(entries) => {
                entries.iter_mut().rev().find(|(k, _)| k == key).map(|(_, v)| v)
            }
            _ => None,
        }
    }

    /// The text if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Data::String(s) => Some(s),
            _ => None,
        }
    }

    /// The number of binary values in this value, at any depth.
    pub fn binaries(&self) -> usize {
        match self {
            Data::Binary(_) => 1,
            Data::Array(items) => items.iter().map(Data::binaries).sum(),
            Data::Object(entries) => entries.iter().map(|(_, v)| v.binaries()).sum(),
            _ => 0,
        }
    }

    /// Whether arrays and objects nest at most this many levels.
    pub fn nests_within(&self, levels: usize) -> bool {
        let inner = || levels.checked_sub(1);
        match self {
            Data::Array(items) => {
                inner().is_some_and(|levels| items.iter().all(|item| item.nests_within(levels)))
            }
            Data::Object(entries) => inner()
                .is_some_and(|levels| entries.iter().all(|(_, value)| value.nests_within(levels))),
            _ => true,
        }
    }

    /// Whether this value holds a binary value, at any depth.
    pub fn has_binary(&self) -> bool {
        match self {
            Data::Binary(_) => true,
            Data::Array(items) => items.iter().any(Data::has_binary),
            Data::Object(entries) => entries.iter().any(|(_, v)| v.has_binary()),
            _ => false,
        }
    }
}

/// A borrowed value, for encoding.
#[derive(Clone, Copy, Debug)]
pub enum DataRef<'a> {
    /// A value of any kind, with what it holds.
    Value(&'a Data),
    /// A string.
    Text(&'a str),
    /// Keys and values of an object that need not exist as [`Data`].
    Object(&'a [(&'a str, DataRef<'a>)]),
    /// The JSON text of a value without binary values.
    Json(&'a str),
}

impl DataRef<'_> {
    /// The number of binary values in this value, at any depth.
    pub fn binaries(self) -> usize {
        match self {
            DataRef::Value(data) => data.binaries(),
            DataRef::Text(_) | DataRef::Json(_) => 0,
            DataRef::Object(entries) => entries.iter().map(|(_, value)| value.binaries()).sum(),
        }
    }
}

impl<'a> From<&'a Data> for DataRef<'a> {
    fn from(data: &'a Data) -> Self {
        DataRef::Value(data)
    }
}

impl From<&str> for Data {
    fn from(text: &str) -> Self {
        Data::String(text.into())
    }
}

impl From<String> for Data {
    fn from(text: String) -> Self {
        Data::String(text.into())
    }
}
