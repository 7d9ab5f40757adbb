//! Parses the JSON of a packet straight into [`Data`], with its placeholders resolved.

use std::cell::Cell;
use std::fmt;

use bytes::Bytes;
use compact_str::CompactString;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};

use super::error::PacketError;
use crate::data::Data;
use crate::json::replace_unpaired_surrogates;

/// The form of an event's payload.
pub(super) const EVENT: &str = "an array that starts with the event's name";

/// Parses any JSON; with `attachments`, objects that are placeholders become binary values.
pub(super) fn value(text: &str, attachments: Option<&[Bytes]>) -> Result<Data, PacketError> {
    let lost = Cell::new(false);
    parse(text, Values { attachments, lost: &lost }, &lost)
}

/// Parses the array of an event: its name, then its arguments. A number is taken as text.
pub(super) fn event(
    text: &str,
    attachments: Option<&[Bytes]>,
) -> Result<(String, Vec<Data>), PacketError> {
    let lost = Cell::new(false);
    parse(text, EventArray(Values { attachments, lost: &lost }), &lost)
}

fn parse<T, S>(text: &str, seed: S, lost: &Cell<bool>) -> Result<T, PacketError>
where
    S: Copy + for<'de> DeserializeSeed<'de, Value = T>,
{
    match strict(text, seed, lost) {
        Err(PacketError::Json(error)) => match replace_unpaired_surrogates(text) {
            Some(text) => strict(&text, seed, lost),
            None => Err(PacketError::Json(error)),
        },
        result => result,
    }
}

fn strict<T, S>(text: &str, seed: S, lost: &Cell<bool>) -> Result<T, PacketError>
where
    S: for<'de> DeserializeSeed<'de, Value = T>,
{
    let mut deserializer = serde_json::Deserializer::from_str(text);
    match seed.deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value)) {
        Ok(value) => Ok(value),
        Err(_) if lost.get() => Err(PacketError::Placeholder),
        // Of the seeds, only an event's expects a certain form.
        Err(error) if error.is_data() => Err(PacketError::Payload(EVENT)),
        Err(error) => Err(PacketError::Json(error.to_string())),
    }
}

/// Deserializes the array of an event.
#[derive(Clone, Copy)]
struct EventArray<'a>(Values<'a>);

impl<'de> DeserializeSeed<'de> for EventArray<'_> {
    type Value = (String, Vec<Data>);

    fn deserialize<D: de::Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for EventArray<'_> {
    type Value = (String, Vec<Data>);

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(EVENT)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let name = match seq.next_element_seed(self.0)? {
            Some(Data::String(name)) => name.into(),
            Some(Data::Number(number)) => number.to_string(),
            _ => return Err(de::Error::custom(EVENT)),
        };
        let mut args = Vec::new();
        while let Some(arg) = seq.next_element_seed(self.0)? {
            args.push(arg);
        }
        Ok((name, args))
    }
}

/// Deserializes any JSON value into [`Data`].
#[derive(Clone, Copy)]
struct Values<'a> {
    attachments: Option<&'a [Bytes]>,
    /// Set when a placeholder refers to no attachment.
    lost: &'a Cell<bool>,
}

impl Values<'_> {
    /// The binary value if these entries are a placeholder. As in the stock parser, that is any
    /// object with `_placeholder: true`, whatever else it holds.
    fn placeholder<E: de::Error>(
        &self,
        entries: &[(CompactString, Data)],
    ) -> Result<Option<Data>, E> {
        let Some(attachments) = self.attachments else { return Ok(None) };
        let last = |key| entries.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v);
        if last("_placeholder") != Some(&Data::Bool(true)) {
            return Ok(None);
        }
        let attachment = match last("num") {
            Some(Data::Number(n)) => n.as_u64().and_then(|n| usize::try_from(n).ok()),
            _ => None,
        }
        .and_then(|n| attachments.get(n));
        match attachment {
            Some(bytes) => Ok(Some(Data::Binary(bytes.clone()))),
            None => {
                self.lost.set(true);
                Err(E::custom("placeholder"))
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for Values<'_> {
    type Value = Data;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Data, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Values<'_> {
    type Value = Data;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Data, E> {
        Ok(Data::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Data, E> {
        Ok(Data::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Data, E> {
        Ok(Data::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Data, E> {
        Ok(Data::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Data, E> {
        serde_json::Number::from_f64(value)
            .map(Data::Number)
            .ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Data, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Data, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Data, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Data::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Data, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<CompactString>()? {
            entries.push((key, map.next_value_seed(self)?));
        }
        match self.placeholder(&entries)? {
            Some(binary) => Ok(binary),
            None => Ok(Data::Object(entries)),
        }
    }
}
