//! [`RoomHooks`]: what the backend is told of a room.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, SeqAccess, Visitor};
use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Something that happens to a room, of which the backend is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RoomHook {
    /// Somebody is in the room, and nobody was.
    RoomOccupied,
    /// Nobody has been in the room for `backend.vacatedDelay`.
    RoomVacated,
    /// Somebody came.
    MemberJoined,
    /// Somebody went.
    MemberLeft,
}

/// The events of a room that the backend is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoomHooks(u8);

impl RoomHook {
    /// Every event, in declaration order.
    pub const ALL: [RoomHook; 4] = [
        RoomHook::RoomOccupied,
        RoomHook::RoomVacated,
        RoomHook::MemberJoined,
        RoomHook::MemberLeft,
    ];

    /// The event as it is written in the configuration, in requests and in the label `type` of
    /// metrics.
    pub fn label(self) -> &'static str {
        match self {
            RoomHook::RoomOccupied => "room_occupied",
            RoomHook::RoomVacated => "room_vacated",
            RoomHook::MemberJoined => "member_joined",
            RoomHook::MemberLeft => "member_left",
        }
    }

    /// The event that is written like this.
    pub fn parse(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hook| hook.label() == label)
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl RoomHooks {
    /// Every event.
    pub const ALL: RoomHooks = RoomHooks(0b1111);

    /// Whether the backend is told nothing.
    pub fn is_empty(&self) -> bool {
        self.0 == 0
    }

    /// Whether the backend is told of this.
    pub fn has(self, hook: RoomHook) -> bool {
        self.0 & hook.bit() != 0
    }

    /// Whether the backend is told who is in the room.
    pub fn has_members(self) -> bool {
        self.has(RoomHook::MemberJoined) || self.has(RoomHook::MemberLeft)
    }

    fn iter(self) -> impl Iterator<Item = RoomHook> {
        RoomHook::ALL.into_iter().filter(move |hook| self.has(*hook))
    }
}

impl FromIterator<RoomHook> for RoomHooks {
    fn from_iter<I: IntoIterator<Item = RoomHook>>(hooks: I) -> Self {
        RoomHooks(hooks.into_iter().fold(0, |all, hook| all | hook.bit()))
    }
}

impl Serialize for RoomHooks {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut list = s.serialize_seq(None)?;
        for hook in self.iter() {
            list.serialize_element(hook.label())?;
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for RoomHooks {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(HooksVisitor)
    }
}

struct HooksVisitor;

impl<'de> Visitor<'de> for HooksVisitor {
    type Value = RoomHooks;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(
            "true, false or a list of room_occupied, room_vacated, member_joined, member_left",
        )
    }

    fn visit_bool<E>(self, on: bool) -> Result<RoomHooks, E> {
        Ok(if on { RoomHooks::ALL } else { RoomHooks::default() })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<RoomHooks, A::Error> {
        let mut hooks = RoomHooks::default();
        while let Some(name) = list.next_element::<Cow<'de, str>>()? {
            let hook = RoomHook::parse(&name).ok_or_else(|| {
                A::Error::custom(
                    "expected room_occupied, room_vacated, member_joined or member_left in the list",
                )
            })?;
            if hooks.has(hook) {
                return Err(A::Error::custom(format!("{} is named again", hook.label())));
            }
            hooks.0 |= hook.bit();
        }
        Ok(hooks)
    }
}

impl JsonSchema for RoomHooks {
    fn schema_name() -> Cow<'static, str> {
        "RoomHooks".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "What the backend is told of the rooms: a list of events, or `true` for all.",
            "anyOf": [
                { "type": "boolean" },
                {
                    "type": "array",
                    "uniqueItems": true,
                    "items": {
                        "type": "string",
                        "enum": ["room_occupied", "room_vacated", "member_joined", "member_left"],
                    },
                },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_are_written_as_a_list_or_a_boolean() {
        let read = |json: &str| serde_json::from_str::<RoomHooks>(json).map_err(|e| e.to_string());
        assert_eq!(read("true"), Ok(RoomHooks::ALL));
        assert_eq!(read("false"), Ok(RoomHooks::default()));
        let some = read(r#"["member_left","room_occupied"]"#).unwrap();
        assert!(some.has(RoomHook::MemberLeft) && some.has(RoomHook::RoomOccupied));
        assert!(!some.has(RoomHook::RoomVacated) && some.has_members());
        assert!(!read(r#"["room_occupied","room_vacated"]"#).unwrap().has_members());
        for wrong in [r#"["joined"]"#, "1", "\"all\""] {
            assert!(read(wrong).unwrap_err().contains("room_occupied"), "{wrong}");
        }
        let twice = read(r#"["room_vacated","room_vacated"]"#).unwrap_err();
        assert!(twice.contains("room_vacated is named again"), "{twice}");
        let written = serde_json::to_string(&some).unwrap();
        assert_eq!(written, r#"["room_occupied","member_left"]"#);
        assert_eq!(read(&written), Ok(some));
    }
}
