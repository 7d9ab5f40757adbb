//! The [`PendingEvent`]: an event of a room that the backend has not accepted yet. Pure.

use std::time::SystemTime;

use bytes::Bytes;
use rookery_policy::RoomHook;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::message::RoomKey;
use crate::message::id_source::random_id;
use crate::rooms::presence::occupant::{Occupant, OccupantKey};

/// Characters of an event's id.
const ID_LENGTH: usize = 20;

/// An event of a room that the backend has not accepted yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingEvent {
    /// What tells it from others; the same in each repetition.
    pub id: String,
    /// What happened.
    pub hook: RoomHook,
    /// The event as JSON, as the backend gets it and Redis keeps it.
    pub body: Bytes,
}

#[derive(Serialize)]
struct Event<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    hook: &'static str,
    namespace: &'a str,
    room: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<&'a Json>,
    at: String,
}

/// What is read again of an event.
#[derive(Deserialize)]
struct Known {
    id: String,
    #[serde(rename = "type")]
    hook: String,
}

impl PendingEvent {
    /// A new event of a room, and of who came or went where it is about somebody.
    ///
    /// # Panics
    /// When the operating system has no randomness.
    pub fn new(hook: RoomHook, key: &RoomKey, who: Option<&Occupant>, at: SystemTime) -> Self {
        let id = random_id(ID_LENGTH);
        let member = who.and_then(|who| match &who.key {
            OccupantKey::Member(id) => Some(&**id),
            OccupantKey::User(_) => None,
        });
        let event = Event {
            id: &id,
            hook: hook.label(),
            namespace: &key.namespace,
            room: &key.room,
            member,
            user: who.and_then(|who| who.user.as_deref()),
            info: who.and_then(|who| who.info.as_ref()),
            at: humantime::format_rfc3339_millis(at).to_string(),
        };
        let body = serde_json::to_vec(&event).expect("its keys are text, and it is in memory");
        PendingEvent { id, hook, body: body.into() }
    }

    /// The event that this is the JSON of; `None` where this version does not know it.
    pub fn read(body: &[u8]) -> Option<Self> {
        let known: Known = serde_json::from_slice(body).ok()?;
        let hook = RoomHook::parse(&known.hook)?;
        Some(PendingEvent { id: known.id, hook, body: Bytes::copy_from_slice(body) })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::message::MemberId;

    #[test]
    fn an_event_says_what_happened_where_to_whom_and_when() {
        let key = RoomKey::new("/", "doc:1");
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        let of = |who: Option<&Occupant>| {
            let event = PendingEvent::new(RoomHook::MemberJoined, &key, who, at);
            assert_eq!(PendingEvent::read(&event.body), Some(event.clone()));
            let mut json: Json = serde_json::from_slice(&event.body).unwrap();
            assert_eq!(json["id"], *event.id);
            json.as_object_mut().unwrap().remove("id");
            json
        };
        let mut expected = json!({
            "type": "member_joined", "namespace": "/", "room": "doc:1",
            "at": "2023-11-14T22:13:20.123Z",
        });
        assert_eq!(of(None), expected);
        let ann = Occupant::user("ann".into(), Some(json!({ "name": "Ann" })));
        expected["user"] = json!("ann");
        expected["info"] = json!({ "name": "Ann" });
        assert_eq!(of(Some(&ann)), expected);
        let id = MemberId::from("pod-aaaa000000000001");
        let member = Occupant::member(&id, Some("ann".into()), None);
        expected.as_object_mut().unwrap().remove("info");
        expected["member"] = json!("pod-aaaa000000000001");
        assert_eq!(of(Some(&member)), expected);
    }

    #[test]
    fn what_another_version_wrote_is_passed_over() {
        for unknown in [&b"x"[..], b"{}", br#"{"id":"a","type":"room_renamed"}"#] {
            assert_eq!(PendingEvent::read(unknown), None);
        }
    }
}
