//! [`Presence`]: whether a room tells its members who is in it.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Whether the rooms of a rule tell their members who is there, and what counts as one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// Nobody is told.
    #[default]
    Off,
    /// A user counts once, however many members it has in the room. A member without a user counts
    /// as itself.
    User,
    /// Each member counts.
    Member,
}

impl Presence {
    /// Whether nobody is told.
    pub fn is_off(&self) -> bool {
        *self == Presence::Off
    }
}

impl Serialize for Presence {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Presence::Off => s.serialize_bool(false),
            Presence::User => s.serialize_bool(true),
            Presence::Member => s.serialize_str("member"),
        }
    }
}

impl<'de> Deserialize<'de> for Presence {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(PresenceVisitor)
    }
}

struct PresenceVisitor;

impl Visitor<'_> for PresenceVisitor {
    type Value = Presence;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("true, false, user or member")
    }

    fn visit_bool<E>(self, on: bool) -> Result<Presence, E> {
        Ok(if on { Presence::User } else { Presence::Off })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Presence, E> {
        match text {
            "user" => Ok(Presence::User),
            "member" => Ok(Presence::Member),
            _ => Err(E::custom("expected true, false, user or member, found other text")),
        }
    }
}

impl JsonSchema for Presence {
    fn schema_name() -> Cow<'static, str> {
        "Presence".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Whether the rooms tell their members who is there: `true` or `user`, where a user with several members counts once, or `member`.",
            "anyOf": [
                { "type": "boolean" },
                { "type": "string", "enum": ["user", "member"] },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presence_is_written_as_a_boolean_or_by_what_counts() {
        let read = |json: &str| serde_json::from_str::<Presence>(json).map_err(|e| e.to_string());
        assert_eq!(read("true"), Ok(Presence::User));
        assert_eq!(read("\"user\""), Ok(Presence::User));
        assert_eq!(read("\"member\""), Ok(Presence::Member));
        assert_eq!(read("false"), Ok(Presence::Off));
        for wrong in ["\"users\"", "1", "null", "[]"] {
            assert!(read(wrong).unwrap_err().contains("true, false, user or member"), "{wrong}");
        }
        for presence in [Presence::Off, Presence::User, Presence::Member] {
            let written = serde_json::to_string(&presence).unwrap();
            assert_eq!(read(&written), Ok(presence));
        }
    }
}
