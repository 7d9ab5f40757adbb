//! The [`Occupant`] of a room, and the [`Roster`] of all of them.

use std::sync::{Arc, OnceLock};

use rookery_protocol::json::parse_plain_json;
use rookery_protocol::{Data, Room};
use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};
use serde_json::Value as Json;

use crate::message::MemberId;

/// Why JSON is written without a failure.
const WRITTEN: &str = "its keys are text, and writing to memory works";

/// What counts as one in a room.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OccupantKey {
    /// A user, with all its members.
    User(Arc<str>),
    /// A member, by its public id.
    Member(Arc<str>),
}

/// Somebody who is in a room, as its members are told.
#[derive(Clone, Debug, PartialEq)]
pub struct Occupant {
    /// What counts as one.
    pub key: OccupantKey,
    /// The user of the member, where it has one.
    pub user: Option<Arc<str>>,
    /// What the rule's `presenceInfo` gives.
    pub info: Option<Json>,
}

/// What a member is in a room whose rule has presence or hooks.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackedOccupant {
    /// Who is there.
    pub occupant: Occupant,
    /// Whether the room's members are told; otherwise only the backend is.
    pub is_shown: bool,
}

/// Who is in a room. Cloning is shallow.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    /// How many there are.
    pub count: usize,
    /// Who they are, ordered by their keys; `None` where they are more than `presence.max`.
    pub occupants: Option<Arc<[Arc<Occupant>]>>,
    /// What clients are told, once it is needed: many may join at the same time.
    json: Arc<OnceLock<String>>,
}

/// The roster of a room that a member joined.
#[derive(Clone, Debug, PartialEq)]
pub struct JoinedRoster {
    /// The room.
    pub room: Room,
    /// Who is there, with the member itself.
    pub roster: Roster,
}

impl Occupant {
    /// A user, whichever of its members is there.
    pub fn user(user: Arc<str>, info: Option<Json>) -> Self {
        Occupant { key: OccupantKey::User(user.clone()), user: Some(user), info }
    }

    /// A member.
    pub fn member(id: &MemberId, user: Option<Arc<str>>, info: Option<Json>) -> Self {
        Occupant { key: OccupantKey::Member((&**id).into()), user, info }
    }

    /// As an argument of an event: `user` or, of a member, `id` and its `user`; and `info`.
    pub fn to_data(&self) -> Data {
        let json = serde_json::to_vec(self).expect(WRITTEN);
        parse_plain_json(&json).unwrap_or(Data::Null)
    }
}

/// As clients are told.
impl Serialize for Occupant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_map(None)?;
        if let OccupantKey::Member(id) = &self.key {
            fields.serialize_entry("id", &**id)?;
        }
        if let Some(user) = &self.user {
            fields.serialize_entry("user", &**user)?;
        }
        if let Some(info) = &self.info {
            fields.serialize_entry("info", info)?;
        }
        fields.end()
    }
}

impl Roster {
    /// So many, and who they are unless they are too many to name.
    pub fn new(count: usize, occupants: Option<Arc<[Arc<Occupant>]>>) -> Self {
        Roster { count, occupants, json: Arc::default() }
    }

    /// `{members, count}` in JSON, or `{count}` where there are too many to name; made once for all that
    /// are told of this roster.
    pub fn json(&self) -> &str {
        self.json.get_or_init(|| {
            let Some(occupants) = &self.occupants else {
                return format!(r#"{{"count":{}}}"#, self.count);
            };
            let members: Vec<&Occupant> = occupants.iter().map(|occupant| &**occupant).collect();
            let members = serde_json::to_string(&members).expect(WRITTEN);
            format!(r#"{{"members":{members},"count":{}}}"#, self.count)
        })
    }
}

impl PartialEq for Roster {
    fn eq(&self, other: &Self) -> bool {
        (self.count, &self.occupants) == (other.count, &other.occupants)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_occupant_is_told_by_its_user_or_its_id() {
        let told = |occupant: Occupant| occupant.to_data().to_json();
        let user = Occupant::user("ada".into(), Some(json!({ "name": "Ada" })));
        assert_eq!(told(user), json!({ "user": "ada", "info": { "name": "Ada" } }));
        let id = MemberId::from("pod-aaaa000000000001");
        let member = Occupant::member(&id, Some("ada".into()), None);
        assert_eq!(told(member), json!({ "id": "pod-aaaa000000000001", "user": "ada" }));
        let anonymous = Occupant::member(&id, None, None);
        assert_eq!(told(anonymous), json!({ "id": "pod-aaaa000000000001" }));
    }

    #[test]
    fn all_that_are_told_of_a_roster_share_its_text() {
        let id = MemberId::from("pod-aaaa000000000001");
        let info = json!({ "name": "\"Ada\"\n" });
        let occupants = [
            Occupant::user("ada".into(), Some(info)),
            Occupant::member(&id, Some("bob".into()), Some(json!({ "$binary": "AQID" }))),
            Occupant::member(&id, None, None),
        ];
        let roster = Roster::new(3, Some(occupants.clone().map(Arc::new).into()));
        let clone = roster.clone();
        assert_eq!(roster.json().as_ptr(), clone.json().as_ptr());
        let told = occupants.map(|occupant| occupant.to_data().to_json());
        let answer: Json = serde_json::from_str(roster.json()).unwrap();
        assert_eq!(answer, json!({ "members": told, "count": 3 }));
        assert_eq!(roster, Roster::new(3, roster.occupants.clone()), "whether it was told or not");
    }

    #[test]
    fn a_roster_without_names_tells_the_count_alone() {
        let ada = Arc::new(Occupant::user("ada".into(), None));
        let named = Roster::new(1, Some([ada].into()));
        assert_eq!(named.json(), r#"{"members":[{"user":"ada"}],"count":1}"#);
        assert_eq!(Roster::new(1_001, None).json(), r#"{"count":1001}"#);
    }
}
