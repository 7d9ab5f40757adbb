//! The section `rooms`: room rules, or `open`.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use rookery_policy::RoomRule;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What to write to open every room.
pub const OPEN: &str = "open";

/// Who may join and publish to which rooms. It dereferences to the rules: none where every room is
/// open.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Rooms {
    /// The key is not written: every room is open.
    #[default]
    Unset,
    /// `rooms: open`: every room is open.
    Open,
    /// The rules; the first that matches a room decides.
    Rules(Vec<RoomRule>),
}

impl Rooms {
    /// Whether every room is open, although nobody wrote so.
    pub fn is_unset(&self) -> bool {
        matches!(self, Rooms::Unset)
    }
}

impl Deref for Rooms {
    type Target = [RoomRule];

    fn deref(&self) -> &[RoomRule] {
        match self {
            Rooms::Unset | Rooms::Open => &[],
            Rooms::Rules(rules) => rules,
        }
    }
}

impl Serialize for Rooms {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Rooms::Unset => s.serialize_none(),
            Rooms::Open => s.serialize_str(OPEN),
            Rooms::Rules(rules) => rules.serialize(s),
        }
    }
}

impl<'de> Deserialize<'de> for Rooms {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(RoomsVisitor)
    }
}

struct RoomsVisitor;

impl<'de> Visitor<'de> for RoomsVisitor {
    type Value = Rooms;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list of rules, or the word open")
    }

    fn visit_unit<E>(self) -> Result<Rooms, E> {
        Ok(Rooms::Unset)
    }

    fn visit_none<E>(self) -> Result<Rooms, E> {
        Ok(Rooms::Unset)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Rooms, E> {
        match text {
            OPEN => Ok(Rooms::Open),
            _ => Err(E::custom("expected a list of rules, or the word open, found other text")),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Rooms, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(seq)).map(Rooms::Rules)
    }
}

impl JsonSchema for Rooms {
    fn schema_name() -> Cow<'static, str> {
        "Rooms".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let rule = generator.subschema_for::<RoomRule>();
        json_schema!({
            "description": "Who may join and publish to which rooms: a list of rules, of which the first that matches a room decides, or `open`.",
            "anyOf": [
                { "type": "array", "items": rule, "minItems": 1 },
                { "type": "string", "enum": [OPEN] },
            ],
        })
    }
}
