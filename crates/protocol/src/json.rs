//! [`Data`] as JSON, with binary values written as `{"$binary": "<base64>"}`.
//!
//! Reading keeps the order of keys. An object whose only key is `$binary` is a binary value, which
//! must be base64 (RFC 4648, section 4; padding is optional), except in [`parse_plain_json`].
//! serde_json bounds the depth at 128.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_PAD_INDIFFERENT};
use bytes::Bytes;
use compact_str::CompactString;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::data::Data;

/// The key of an object that stands for a binary value.
pub const BINARY_KEY: &str = "$binary";

/// Parses one JSON text. An unpaired surrogate becomes U+FFFD.
///
/// # Errors
/// Fails if it is not JSON, nests deeper than 128 levels, is followed by more text, or if a
/// `$binary` is not base64.
pub fn parse_json(text: &[u8]) -> Result<Data, serde_json::Error> {
    parse(text, DataVisitor { has_binary: true })
}

/// Parses one JSON text in which `$binary` is a key like any other, such as what Node servers send each
/// other. An unpaired surrogate becomes U+FFFD.
///
/// # Errors
/// Fails if it is not JSON, nests deeper than 128 levels, or is followed by more text.
pub fn parse_plain_json(text: &[u8]) -> Result<Data, serde_json::Error> {
    parse(text, DataVisitor { has_binary: false })
}

fn parse(text: &[u8], visitor: DataVisitor) -> Result<Data, serde_json::Error> {
    let read = |text: &[u8]| {
        let mut json = serde_json::Deserializer::from_slice(text);
        let data = visitor.deserialize(&mut json)?;
        json.end().map(|()| data)
    };
    read(text).or_else(|error| {
        let repaired = std::str::from_utf8(text).ok().and_then(replace_unpaired_surrogates);
        repaired.ok_or(error).and_then(|text| read(text.as_bytes()))
    })
}

/// The JSON text with every escape of an unpaired surrogate replaced by U+FFFD; `None` if there is
/// none. JavaScript strings may hold unpaired surrogates, which it writes as escapes; UTF-8 cannot.
pub fn replace_unpaired_surrogates(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut found = false;
    while let Some(at) = rest.find('\\') {
        let escape = |text: &str| -> Option<u16> {
            let digits = text.strip_prefix("\\u")?.get(..4)?;
            u16::from_str_radix(digits, 16).ok()
        };
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let unit = escape(from);
        let pair = || escape(&from[6..]).is_some_and(|low| (0xDC00..0xE000).contains(&low));
        let taken = match unit {
            Some(0xD800..0xDC00) if pair() => 12,
            Some(0xD800..0xE000) => {
                found = true;
                out.push_str("\\ufffd");
                rest = &from[6..];
                continue;
            }
            Some(_) => 6,
            // The backslash and what it escapes, which is ASCII in valid JSON.
            None => 1 + from[1..].chars().next().map_or(0, char::len_utf8),
        };
        out.push_str(&from[..taken]);
        rest = &from[taken..];
    }
    out.push_str(rest);
    found.then_some(out)
}

impl Data {
    /// Converts a parsed JSON value, whose `$binary` objects become binary values.
    ///
    /// # Errors
    /// Fails if a `$binary` is not base64.
    pub fn from_json(value: serde_json::Value) -> Result<Data, serde_json::Error> {
        Data::deserialize(value)
    }

    /// Converts to a JSON value, which does not keep the order of keys. Serializing the `Data`
    /// itself does.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value;
        match self {
            Data::Null => Value::Null,
            Data::Bool(b) => Value::Bool(*b),
            Data::Number(n) => Value::Number(n.clone()),
            Data::String(s) => Value::String(s.to_string()),
            Data::Binary(bytes) => serde_json::json!({ BINARY_KEY: STANDARD.encode(bytes) }),
            Data::Array(items) => items.iter().map(Data::to_json).collect(),
            Data::Object(entries) => {
                entries.iter().map(|(k, v)| (k.to_string(), v.to_json())).collect()
            }
        }
    }
}

impl Serialize for Data {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Data::Null => s.serialize_unit(),
            Data::Bool(b) => s.serialize_bool(*b),
            Data::Number(n) => n.serialize(s),
            Data::String(text) => s.serialize_str(text),
            Data::Binary(bytes) => {
                let mut map = s.serialize_map(Some(1))?;
                map.serialize_entry(BINARY_KEY, &STANDARD.encode(bytes))?;
                map.end()
            }
            Data::Array(items) => {
                let mut seq = s.serialize_seq(Some(items.len()))?;
                for item in items {
                    seq.serialize_element(item)?;
                }
                seq.end()
            }
            Data::Object(entries) => {
                let mut map = s.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        DataVisitor { has_binary: true }.deserialize(d)
    }
}

#[derive(Clone, Copy)]
struct DataVisitor {
    /// Whether an object whose only key is `$binary` is a binary value.
    has_binary: bool,
}

impl<'de> DeserializeSeed<'de> for DataVisitor {
    type Value = Data;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Data, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> de::Visitor<'de> for DataVisitor {
    type Value = Data;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Data, E> {
        Ok(Data::Null)
    }

    fn visit_bool<E>(self, b: bool) -> Result<Data, E> {
        Ok(Data::Bool(b))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Data, E> {
        Ok(Data::Number(n.into()))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Data, E> {
        Ok(Data::Number(n.into()))
    }

    fn visit_f64<E>(self, n: f64) -> Result<Data, E> {
        Ok(serde_json::Number::from_f64(n).map_or(Data::Null, Data::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Data, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Data, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Data, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Data::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Data, A::Error> {
        let mut entries: Vec<(CompactString, Data)> = Vec::new();
        while let Some(key) = map.next_key()? {
            entries.push((key, map.next_value_seed(self)?));
        }
        match entries.as_slice() {
            [(key, value)] if self.has_binary && key == BINARY_KEY => {
                binary(value).map(Data::Binary)
            }
            _ => Ok(Data::Object(entries)),
        }
    }
}

fn binary<E: de::Error>(value: &Data) -> Result<Bytes, E> {
    value
        .as_str()
        .and_then(|text| STANDARD_PAD_INDIFFERENT.decode(text).ok())
        .map(Bytes::from)
        .ok_or_else(|| E::custom("the value of `$binary` must be text in base64"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any value that JSON can carry, which excludes objects whose only key is `$binary`.
    fn any_data() -> impl Strategy<Value = Data> {
        let leaf = prop_oneof![
            Just(Data::Null),
            any::<bool>().prop_map(Data::Bool),
            any::<i64>().prop_map(|n| Data::Number(n.into())),
            any::<u64>().prop_map(|n| Data::Number(n.into())),
            any::<String>().prop_map(Data::from),
            any::<Vec<u8>>().prop_map(|b| Data::Binary(b.into())),
        ];
        leaf.prop_recursive(6, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Data::Array),
                prop::collection::vec((any::<String>().prop_map_into(), inner), 0..8)
                    .prop_map(Data::Object),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_value_that_is_written_reads_back_the_same(data in any_data()) {
            let text = serde_json::to_vec(&data).unwrap();
            prop_assert_eq!(parse_json(&text).unwrap(), data);
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes in any::<Vec<u8>>()) {
            let _ = parse_json(&bytes);
        }
    }

    #[test]
    fn binary_is_read_at_any_depth_and_keys_keep_their_order() {
        let data = parse_json(br#"{"z": [{"$binary": "AQI="}], "a": {"$binary": "AQ"}}"#).unwrap();
        let expected = Data::Object(vec![
            ("z".into(), Data::Array(vec![Data::Binary(Bytes::from_static(&[1, 2]))])),
            ("a".into(), Data::Binary(Bytes::from_static(&[1]))),
        ]);
        assert_eq!(data, expected);
        let text = r#"{"z":[{"$binary":"AQI="}],"a":{"$binary":"AQ=="}}"#;
        assert_eq!(serde_json::to_string(&data).unwrap(), text);
        assert_eq!(Data::from_json(data.to_json()).unwrap().get("z"), data.get("z"));
    }

    #[test]
    fn a_malformed_binary_is_an_error_where_binary_is_expected_and_a_second_key_makes_an_object() {
        for bad in [r#"[{"$binary": "?"}]"#, r#"{"$binary": 1}"#] {
            assert!(
                parse_json(bad.as_bytes()).unwrap_err().to_string().contains("base64"),
                "{bad}"
            );
        }
        for plain in [r#"[{"$binary":"?"}]"#, r#"{"$binary":1}"#, r#"{"$binary":"AQI="}"#] {
            let data = parse_plain_json(plain.as_bytes()).unwrap();
            assert_eq!(serde_json::to_string(&data).unwrap(), plain);
        }
        let object = parse_json(br#"{"$binary": "AQI=", "more": 1}"#).unwrap();
        assert_eq!(object.get("$binary"), Some(&Data::from("AQI=")));
    }

    #[test]
    fn depth_is_bounded() {
        let deep = "[".repeat(200_000);
        assert!(parse_json(deep.as_bytes()).is_err());
    }
}
