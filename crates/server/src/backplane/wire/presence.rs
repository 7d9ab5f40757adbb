//! How rooms with presence are stored in Redis, and what instances tell each other of them. Pure.
//!
//! A room is one hash. Each instance with somebody in it has the field `<pod>`, the number of its
//! last change, and for each occupant a field `<pod>:u:<user>` or `<pod>:m:<member id>`, with the
//! occupant's user (of a member) and info as JSON.

use std::sync::Arc;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use rookery_protocol::Room;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::hashing::HashMap;
use crate::message::{PodId, RoomKey};
use crate::rooms::presence::occupant::{Occupant, OccupantKey};
use crate::rooms::presence::view::{PodChange, PodOccupants};

/// What would end the hash tag of a key, or looks like it is escaped.
pub(super) const ESCAPED: &AsciiSet = &CONTROLS.add(b'{').add(b'}').add(b'%');

/// What an instance tells the others of a room with presence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PresenceMessage {
    namespace: String,
    room: String,
    /// `None`: whoever has members in the room is to read it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    change: Option<WireChange>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct WireChange {
    previous: u64,
    version: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    joined: Vec<(String, StoredOccupant)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    left: Vec<String>,
}

/// What is stored of an occupant beside its key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct StoredOccupant {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    info: Option<Json>,
}

/// The key of a room's hash. The hash tag is the room, so that all keys of a room are in one slot of
/// a Redis Cluster.
pub fn redis_key(prefix: &str, key: &RoomKey) -> String {
    let escaped = |text| utf8_percent_encode(text, ESCAPED);
    format!("{prefix}:rookery:presence:{{{}#{}}}", escaped(&key.namespace), escaped(&key.room))
}

/// The occupant with this key, of the value of its field.
pub(super) fn read_occupant(key: OccupantKey, value: &[u8]) -> Option<Occupant> {
    Some(occupant(key, serde_json::from_slice(value).ok()?))
}

/// The field of an occupant on an instance.
pub fn field(pod: &str, key: &OccupantKey) -> String {
    format!("{pod}:{}", wire_key(key))
}

/// The value of an occupant's field.
pub fn value(occupant: &Occupant) -> Vec<u8> {
    serde_json::to_vec(&stored(occupant)).expect("it has text keys and nothing that can fail")
}

/// The occupants of each instance, of the fields of a room's hash. A field that is not understood
/// is passed over.
pub fn read(fields: Vec<(String, Vec<u8>)>) -> HashMap<String, PodOccupants> {
    let mut pods: HashMap<String, PodOccupants> = HashMap::default();
    for (field, value) in fields {
        let Some((pod, rest)) = field.split_at_checked(PodId::LENGTH) else { continue };
        let of_pod = pods.entry(pod.to_owned()).or_default();
        if rest.is_empty() {
            let version = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok());
            of_pod.version = version.unwrap_or_default();
        } else if let Some(key) = rest.strip_prefix(':').and_then(parse_key)
            && let Ok(stored) = serde_json::from_slice(&value)
        {
            let occupant = Arc::new(occupant(key, stored));
            of_pod.occupants.insert(occupant.key.clone(), occupant);
        }
    }
    pods.retain(|_, of_pod| !of_pod.occupants.is_empty());
    pods
}

impl PresenceMessage {
    /// A change of a room; `None`: whoever has members in it is to read it again.
    pub fn new(key: &RoomKey, change: Option<&PodChange>) -> Self {
        let change = change.map(|change| WireChange {
            previous: change.previous,
            version: change.version,
            joined: change.joined.iter().map(|o| (wire_key(&o.key), stored(o))).collect(),
            left: change.left.iter().map(wire_key).collect(),
        });
        let (namespace, room) = (key.namespace.to_string(), key.room.to_string());
        PresenceMessage { namespace, room, change }
    }

    /// The room, and what changed; `None`: it is to be read again, also where a version that this
    /// one does not know wrote it.
    pub fn into_parts(self) -> (RoomKey, Option<PodChange>) {
        let change = self.change.and_then(|change| {
            let joined = change.joined.into_iter();
            Some(PodChange {
                previous: change.previous,
                version: change.version,
                joined: joined
                    .map(|(key, stored)| Some(occupant(parse_key(&key)?, stored)))
                    .collect::<Option<_>>()?,
                left: change.left.iter().map(|key| parse_key(key)).collect::<Option<_>>()?,
            })
        });
        (RoomKey::new(self.namespace, Room::from(self.room)), change)
    }
}

pub(super) fn wire_key(key: &OccupantKey) -> String {
    match key {
        OccupantKey::User(user) => format!("u:{user}"),
        OccupantKey::Member(id) => format!("m:{id}"),
    }
}

pub(super) fn parse_key(text: &str) -> Option<OccupantKey> {
    match text.split_once(':')? {
        ("u", user) => Some(OccupantKey::User(user.into())),
        ("m", id) => Some(OccupantKey::Member(id.into())),
        _ => None,
    }
}

fn stored(occupant: &Occupant) -> StoredOccupant {
    let user = match &occupant.key {
        OccupantKey::User(_) => None,
        OccupantKey::Member(_) => occupant.user.as_deref().map(str::to_owned),
    };
    StoredOccupant { user, info: occupant.info.clone() }
}

fn occupant(key: OccupantKey, stored: StoredOccupant) -> Occupant {
    let user = match &key {
        OccupantKey::User(user) => Some(user.clone()),
        OccupantKey::Member(_) => stored.user.map(Into::into),
    };
    Occupant { key, user, info: stored.info }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::message::MemberId;

    fn occupants() -> Vec<Occupant> {
        let id = MemberId::from("pod-aaaa000000000001");
        vec![
            Occupant::user("ada:1".into(), Some(json!({ "name": "Ada" }))),
            Occupant::member(&id, Some("bob".into()), Some(json!(null))),
            Occupant::member(&id, None, None),
        ]
    }

    #[test]
    fn what_is_stored_is_read_again() {
        for occupant in occupants() {
            // An info of null is none.
            let info = occupant.info.clone().filter(|info| !info.is_null());
            let expected = Occupant { info, ..occupant.clone() };
            let fields = vec![
                ("pod-aaaa".to_owned(), b"7".to_vec()),
                (field("pod-aaaa", &occupant.key), value(&occupant)),
                ("pod-bbbb".to_owned(), b"9".to_vec()),
                ("x".to_owned(), Vec::new()),
                ("pod-bbbb:z:1".to_owned(), b"{}".to_vec()),
            ];
            let pods = read(fields);
            assert_eq!(pods.len(), 1, "an instance without occupants is none");
            assert_eq!(pods["pod-aaaa"].version, 7);
            assert_eq!(*pods["pod-aaaa"].occupants[&occupant.key], expected);
        }
    }

    #[test]
    fn a_change_reads_as_it_was_written() {
        let key = RoomKey::new("/chat", "a:b");
        let [joined, left, _]: [Occupant; 3] = occupants().try_into().unwrap();
        let change =
            PodChange { previous: 3, version: 4, joined: vec![joined], left: vec![left.key] };
        for change in [Some(change), None] {
            let json = serde_json::to_string(&PresenceMessage::new(&key, change.as_ref())).unwrap();
            let read: PresenceMessage = serde_json::from_str(&json).unwrap();
            assert_eq!(read.into_parts(), (key.clone(), change));
        }
    }

    #[test]
    fn the_hash_tag_of_a_key_is_the_whole_room() {
        let key = redis_key("socket.io", &RoomKey::new("/", "a}{b"));
        assert_eq!(key, "socket.io:rookery:presence:{/#a%7D%7Bb}");
    }
}
