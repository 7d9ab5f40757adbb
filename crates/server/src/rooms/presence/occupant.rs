//! The [`Occupant`] of a room, and the [`Roster`] of all of them.

use std::sync::Arc;

use rookery_protocol::{Data, Room};
use serde_json::Value as Json;

use crate::message::MemberId;

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
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Roster {
    /// How many there are.
    pub count: usize,
    /// Who they are, ordered by their keys; `None` where they are more than `presence.max`.
    pub occupants: Option<Arc<[Arc<Occupant>]>>,
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

    /// As clients are told: `user` or, of a member, `id` and its `user`; and `info`.
    pub fn fields(&self) -> Vec<(&'static str, Json)> {
        let mut fields = Vec::with_capacity(3);
        if let OccupantKey::Member(id) = &self.key {
            fields.push(("id", Json::from(&**id)));
        }
        if let Some(user) = &self.user {
            fields.push(("user", Json::from(&**user)));
        }
        if let Some(info) = &self.info {
            fields.push(("info", info.clone()));
        }
        fields
    }

    /// The same as an argument of an event.
    pub fn to_data(&self) -> Data {
        let data = |json: Json| Data::from_json(json).unwrap_or(Data::Null);
        let fields = self.fields().into_iter();
        Data::Object(fields.map(|(name, value)| (name.into(), data(value))).collect())
    }
}

impl Roster {
    /// `{members, count}`, or `{count}` where there are too many to name.
    pub fn to_data(&self) -> Data {
        let mut fields = Vec::with_capacity(2);
        if let Some(occupants) = &self.occupants {
            let members = occupants.iter().map(|occupant| occupant.to_data());
            fields.push(("members".into(), Data::Array(members.collect())));
        }
        fields.push(("count".into(), Data::Number(self.count.into())));
        Data::Object(fields)
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
    fn a_roster_without_names_tells_the_count_alone() {
        let ada = Arc::new(Occupant::user("ada".into(), None));
        let named = Roster { count: 1, occupants: Some([ada].into()) };
        let expected = json!({ "members": [{ "user": "ada" }], "count": 1 });
        assert_eq!(named.to_data().to_json(), expected);
        let many = Roster { count: 1_001, occupants: None };
        assert_eq!(many.to_data().to_json(), json!({ "count": 1_001 }));
    }
}
