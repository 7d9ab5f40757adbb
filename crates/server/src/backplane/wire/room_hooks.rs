//! How Redis keeps what the backend was told of rooms. Pure.
//!
//! A room's record is one hash: `v` is its version, `s` the instance that sends its events, `o` stands
//! for a room that was told as occupied, `u:<user>` and `m:<member id>` for whoever was told to be
//! there, and `p:<number>` for an event that the backend has not accepted yet. Each instance has a set
//! of the rooms that it sees to, and one set names all these instances.

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use rookery_protocol::Room;

use super::presence::{self, parse_key, read_occupant, wire_key};
use crate::message::RoomKey;
use crate::rooms::hooks::event::PendingEvent;
use crate::rooms::hooks::record::{Change, Record, Version};
use crate::rooms::hooks::room::{Content, RecordWrite};

/// The field of the version.
pub const VERSION: &str = "v";

/// The field of the instance that sends the events.
pub const SENDER: &str = "s";

/// The field that a room has that was told as occupied.
const OCCUPIED: &str = "o";

/// What separates the namespace from the room in a list.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'#').add(b'%');

/// Fields of a record that are removed, and those that are set with their values.
#[derive(Debug, Default, PartialEq)]
pub struct Fields {
    /// Removed.
    pub remove: Vec<String>,
    /// Set.
    pub set: Vec<(String, Vec<u8>)>,
}

/// The key of a room's record, in the slot of the room.
pub fn record_key(prefix: &str, key: &RoomKey) -> String {
    let escaped = |text| utf8_percent_encode(text, presence::ESCAPED);
    format!("{prefix}:rookery:hooks:{{{}#{}}}", escaped(&key.namespace), escaped(&key.room))
}

/// The key of the set of all instances that see to rooms.
pub fn pods_key(prefix: &str) -> String {
    format!("{prefix}:rookery:hooks:pods")
}

/// The key of the set of the rooms that an instance sees to.
pub fn held_key(prefix: &str, pod: &str) -> String {
    format!("{prefix}:rookery:hooks:rooms:{pod}")
}

/// A room in such a set.
pub fn held_room(key: &RoomKey) -> String {
    format!("{}#{}", utf8_percent_encode(&key.namespace, ESCAPED), &*key.room)
}

/// The room of such a set that is written like this.
pub fn parse_held(text: &str) -> Option<RoomKey> {
    let (namespace, room) = text.split_once('#')?;
    let namespace = percent_decode_str(namespace).decode_utf8().ok()?;
    Some(RoomKey::new(&*namespace, Room::from(room)))
}

/// The field of an event.
pub fn event_field(number: u64) -> String {
    format!("p:{number}")
}

/// What is written of a record, but for the version, by this instance.
pub fn fields(write: &RecordWrite, pod: &str) -> Fields {
    match &write.content {
        Content::Sender => {
            Fields { set: vec![(SENDER.to_owned(), pod.into())], ..Fields::default() }
        }
        Content::Change(change) => of_change(change, &write.version, pod),
        Content::Whole(record) => of_record(record),
    }
}

fn of_change(change: &Change, version: &Version, pod: &str) -> Fields {
    let mut fields = Fields::default();
    fields.remove.extend(change.left.iter().map(wire_key));
    match change.is_occupied {
        true => fields.set.push(occupied()),
        false => fields.remove.push(OCCUPIED.to_owned()),
    }
    let joined = change.joined.iter();
    fields.set.extend(joined.map(|who| (wire_key(&who.key), presence::value(who))));
    let events = (version.first_event()..).zip(&change.events);
    fields.set.extend(events.map(|(number, event)| (event_field(number), event.body.to_vec())));
    if !change.events.is_empty() {
        fields.set.push((SENDER.to_owned(), pod.into()));
    }
    fields
}

fn of_record(record: &Record) -> Fields {
    let mut set = Vec::new();
    if record.is_occupied {
        set.push(occupied());
    }
    if let Some(sender) = &record.sender {
        set.push((SENDER.to_owned(), sender.clone().into_bytes()));
    }
    let members = record.members.values();
    set.extend(members.map(|who| (wire_key(&who.key), presence::value(who))));
    let pending = record.pending.iter();
    set.extend(pending.map(|(number, event)| (event_field(*number), event.body.to_vec())));
    Fields { set, ..Fields::default() }
}

fn occupied() -> (String, Vec<u8>) {
    (OCCUPIED.to_owned(), b"1".to_vec())
}

/// A record, of the fields of its hash. A field that is not understood is passed over.
pub fn read(fields: Vec<(String, Vec<u8>)>) -> Record {
    let mut record = Record::default();
    for (field, value) in fields {
        let text = || std::str::from_utf8(&value).ok();
        match &*field {
            VERSION => record.version = text().and_then(Version::parse).unwrap_or_default(),
            SENDER => record.sender = text().map(str::to_owned),
            OCCUPIED => record.is_occupied = true,
            _ => read_other(&mut record, &field, &value),
        }
    }
    record
}

fn read_other(record: &mut Record, field: &str, value: &[u8]) {
    if let Some(number) = field.strip_prefix("p:") {
        if let (Ok(number), Some(event)) = (number.parse(), PendingEvent::read(value)) {
            record.pending.insert(number, event);
        }
    } else if let Some(key) = parse_key(field)
        && let Some(occupant) = read_occupant(key, value)
    {
        record.members.insert(occupant.key.clone(), occupant.into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::SystemTime;

    use rookery_policy::RoomHook;
    use serde_json::json;

    use super::*;
    use crate::message::MemberId;
    use crate::rooms::presence::occupant::{Occupant, OccupantKey};

    fn room() -> RoomKey {
        RoomKey::new("/", "doc:1")
    }

    fn record() -> Record {
        let event =
            PendingEvent::new(RoomHook::RoomOccupied, &room(), None, SystemTime::UNIX_EPOCH);
        let ada = Occupant::user("ada:1".into(), Some(json!({ "name": "Ada" })));
        let bob = Occupant::member(&MemberId::from("pod-aaaa000000000001"), None, None);
        let members = [ada, bob].map(|who| (who.key.clone(), Arc::new(who)));
        Record {
            version: Version { number: 7, pod: "pod-aaaa".to_owned() },
            sender: Some("pod-bbbb".to_owned()),
            is_occupied: true,
            members: members.into_iter().collect(),
            pending: [(1_792, event)].into(),
        }
    }

    #[test]
    fn a_record_reads_as_it_was_written() {
        let record = record();
        let mut fields = of_record(&record).set;
        fields.push((VERSION.to_owned(), record.version.to_string().into_bytes()));
        fields.push(("z".to_owned(), b"of a later version".to_vec()));
        assert_eq!(read(fields), record);
        assert_eq!(read(Vec::new()), Record::default());
    }

    #[test]
    fn a_change_that_is_written_gives_the_changed_record() {
        let mut record = record();
        let key = OccupantKey::User("ada:1".into());
        let eve = Arc::new(Occupant::user("eve".into(), None));
        let left = PendingEvent::new(RoomHook::MemberLeft, &room(), None, SystemTime::UNIX_EPOCH);
        let change =
            Change { is_occupied: true, joined: vec![eve], left: vec![key], events: vec![left] };
        let mut before = of_record(&record).set;
        let version = record.version.next("pod-bbbb");
        let written = of_change(&change, &version, "pod-bbbb");
        before.retain(|(field, _)| !written.remove.contains(field));
        before.extend(written.set);
        before.push((VERSION.to_owned(), version.to_string().into_bytes()));
        record.apply(&change, "pod-bbbb");
        assert_eq!(read(before), record);
    }

    #[test]
    fn a_room_in_a_list_reads_as_it_was_written() {
        for key in [room(), RoomKey::new("/a#b%", "c#d"), RoomKey::new("/", "%23{}")] {
            assert_eq!(parse_held(&held_room(&key)), Some(key));
        }
    }
}
