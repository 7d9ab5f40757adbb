//! Broadcasts on Node's classic wire: `[uid, {type, data, nsp}, {rooms, except, flags}]` in
//! MessagePack, with our own fields as a fourth element, which Node ignores.
//!
//! The fourth element is a map: `t` the origin's time of acceptance in microseconds of Redis'
//! clock, `id` the publication's id, `tp` its W3C traceparent, `n` its
//! [sequence number](SequenceNumber) on its channel, which comes last.

use std::time::Instant;

use std::sync::Arc;

use crate::backplane::sequence::SequenceNumber;
use crate::message::{Publication, Source};
use rookery_protocol::Data;
use rookery_protocol::Room;
use rookery_protocol::msgpack::{self, WireError};

const EVENT: u64 = 2;
const BINARY_EVENT: u64 = 5;

/// The longest id and traceparent that are taken over from the wire, in bytes.
const MAX_OWN_TEXT: usize = 255;

/// A broadcast as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Broadcast {
    /// Who sent it: six characters for Node, `emitter`, or a pod's eight.
    pub uid: String,
    /// The namespace; `/` where the sender left it out.
    pub namespace: String,
    /// The event's name.
    pub event: String,
    /// The arguments after it.
    pub args: Vec<Data>,
    /// Target rooms; empty: the whole namespace.
    pub rooms: Vec<Room>,
    /// Rooms whose members do not get it.
    pub except: Vec<Room>,
    /// Only for clients that can take it at once.
    pub volatile: bool,
    /// When its origin accepted it, in microseconds of Redis' clock. Node does not say.
    pub origin: Option<u64>,
    /// Its id, from a pod.
    pub id: Option<String>,
    /// Its trace, from a pod.
    pub traceparent: Option<String>,
    /// Its place among what its pod published on its channel.
    pub sequence: Option<SequenceNumber>,
}

impl Broadcast {
    /// The publication that it is here, in the namespace as this instance holds it.
    pub fn into_publication(
        self,
        namespace: Arc<str>,
        id: impl FnOnce() -> Arc<str>,
        accepted: Instant,
    ) -> Publication {
        Publication {
            id: self.id.map_or_else(id, Arc::from).into(),
            namespace,
            rooms: self.rooms.into(),
            except: self.except.into(),
            event: self.event,
            args: self.args.into(),
            volatile: self.volatile,
            source: Source::Redis,
            accepted,
            traceparent: self.traceparent.map(Arc::from),
        }
    }
}

/// Reads a broadcast. Never panics, whatever the bytes.
///
/// # Errors
/// See [`WireError`].
pub fn decode(bytes: &[u8]) -> Result<Broadcast, WireError> {
    let Data::Array(parts) = msgpack::read(bytes)? else {
        return Err(WireError::Shape("no array"));
    };
    let mut parts = parts.into_iter();
    let uid = parts.next().map(text).ok_or(WireError::Shape("no sender"))?.unwrap_or_default();
    let packet = parts.next().ok_or(WireError::Shape("no packet"))?;
    let options = parts.next().unwrap_or(Data::Null);
    let mut broadcast = from_packet(packet, &options)?;
    broadcast.uid = uid;
    if let Some(own) = parts.next() {
        broadcast.origin = own.get("t").and_then(number);
        broadcast.id = own_text(&own, "id");
        broadcast.traceparent = own_text(&own, "tp");
        broadcast.sequence = own.get("n").and_then(sequence);
    }
    Ok(broadcast)
}

/// Reads `{type, data, nsp}` and `{rooms, except, flags}`, as broadcasts and requests hold them.
///
/// # Errors
/// [`WireError::Shape`], also where the options name nobody.
pub fn from_packet(packet: Data, options: &Data) -> Result<Broadcast, WireError> {
    match packet.get("type").and_then(number) {
        Some(EVENT | BINARY_EVENT) => {}
        _ => return Err(WireError::Shape("no event")),
    }
    let (rooms, except) = targets(options)?;
    let namespace = packet.get("nsp").and_then(Data::as_str).unwrap_or("/").to_owned();
    let Data::Object(entries) = packet else {
        return Err(WireError::Shape("no packet"));
    };
    let data = entries.into_iter().rev().find(|(key, _)| key == "data").map(|(_, value)| value);
    let Some(Data::Array(mut args)) = data else {
        return Err(WireError::Shape("no event data"));
    };
    if args.is_empty() {
        return Err(WireError::Shape("no event name"));
    }
    let event = text(args.remove(0)).ok_or(WireError::Shape("no event name"))?;
    Ok(Broadcast {
        uid: String::new(),
        namespace,
        event,
        args,
        rooms,
        except,
        volatile: options.get("flags").and_then(|f| f.get("volatile")) == Some(&Data::Bool(true)),
        origin: None,
        id: None,
        traceparent: None,
        sequence: None,
    })
}

/// The sender of a broadcast, without reading the rest: own ones are skipped at this cost.
pub fn sender(bytes: &[u8]) -> Option<&[u8]> {
    let (head, rest) = bytes.split_first()?;
    let (marker, rest) = rest.split_first().filter(|_| matches!(head, 0x91..=0x9f))?;
    match *marker {
        n @ 0xa0..=0xbf => rest.get(..usize::from(n & 0x1f)),
        _ => None,
    }
}

/// Writes a broadcast. `origin` is the time of acceptance in microseconds of Redis' clock, where
/// that is known yet.
pub fn encode(publication: &Publication, uid: &str, origin: Option<u64>) -> Vec<u8> {
    let mut to = Vec::with_capacity(256);
    msgpack::write_array_len(&mut to, 4);
    msgpack::write_str(&mut to, uid);

    msgpack::write_map_len(&mut to, 3);
    msgpack::write_str(&mut to, "type");
    // With binary in it too: Node finds that out itself, and writes a packet that no client can
    // parse where the type says so already.
    msgpack::write_uint(&mut to, EVENT);
    msgpack::write_str(&mut to, "data");
    msgpack::write_array_len(&mut to, 1 + publication.args.len());
    msgpack::write_str(&mut to, &publication.event);
    publication.args.iter().for_each(|arg| msgpack::write(&mut to, arg));
    msgpack::write_str(&mut to, "nsp");
    msgpack::write_str(&mut to, &publication.namespace);

    msgpack::write_map_len(&mut to, 3);
    for (key, rooms) in [("rooms", &publication.rooms), ("except", &publication.except)] {
        msgpack::write_str(&mut to, key);
        msgpack::write_array_len(&mut to, rooms.len());
        rooms.iter().for_each(|room| msgpack::write_str(&mut to, room));
    }
    msgpack::write_str(&mut to, "flags");
    msgpack::write_map_len(&mut to, usize::from(publication.volatile));
    if publication.volatile {
        msgpack::write_str(&mut to, "volatile");
        msgpack::write(&mut to, &Data::Bool(true));
    }

    write_own(&mut to, publication, origin);
    to
}

fn write_own(to: &mut Vec<u8>, publication: &Publication, origin: Option<u64>) {
    let fields = 2 + usize::from(origin.is_some()) + usize::from(publication.traceparent.is_some());
    msgpack::write_map_len(to, fields);
    if let Some(origin) = origin {
        msgpack::write_str(to, "t");
        msgpack::write_uint(to, origin);
    }
    msgpack::write_str(to, "id");
    msgpack::write_str(to, &publication.id.text());
    if let Some(traceparent) = &publication.traceparent {
        msgpack::write_str(to, "tp");
        msgpack::write_str(to, traceparent);
    }
    // Last, where the publisher replaces it.
    msgpack::write_str(to, "n");
    SequenceNumber::write_unknown(to);
}

/// The rooms and the excepted rooms of `{rooms, except}`. No rooms: the whole namespace, which only
/// an absent or empty list means, as in Node's adapter.
///
/// # Errors
/// [`WireError::Shape`] where nobody is meant: nothing in `rooms` can be a name, or one of the two
/// is no list.
pub fn targets(options: &Data) -> Result<(Vec<Room>, Vec<Room>), WireError> {
    if !matches!(options, Data::Object(_)) {
        return Err(WireError::Shape("opts is no object"));
    }
    let list = |key: &str, why| match options.get(key) {
        None | Some(Data::Null) => Ok(&[][..]),
        Some(Data::Array(list)) => Ok(list.as_slice()),
        Some(_) => Err(WireError::Shape(why)),
    };
    let rooms = list("rooms", "opts.rooms is no list")?;
    let except = list("except", "opts.except is no list")?;
    let named = names(rooms);
    if named.is_empty() && !rooms.is_empty() {
        return Err(WireError::Shape("opts.rooms names no room"));
    }
    Ok((named, names(except)))
}

/// The room names of a list, which in Node may be numbers. What cannot be a name is left out.
pub fn rooms(list: Option<&Data>) -> Vec<Room> {
    match list {
        Some(Data::Array(rooms)) => names(rooms),
        _ => Vec::new(),
    }
}

fn names(list: &[Data]) -> Vec<Room> {
    list.iter().filter_map(|room| text(room.clone())).map(Room::from).collect()
}

/// Text, or a number as JavaScript writes it.
pub fn text(data: Data) -> Option<String> {
    match data {
        Data::String(text) => Some(text.into()),
        Data::Number(n) => Some(match n.as_f64() {
            Some(f) if n.is_f64() && f.fract() == 0.0 && f.abs() < 1e15 => format!("{f:.0}"),
            _ => n.to_string(),
        }),
        _ => None,
    }
}

/// A whole number that is not negative.
pub fn number(data: &Data) -> Option<u64> {
    match data {
        Data::Number(n) => n.as_u64().or_else(|| {
            n.as_f64().filter(|f| f.fract() == 0.0 && (0.0..9e15).contains(f)).map(|f| f as u64)
        }),
        _ => None,
    }
}

/// `[epoch, number]`; `None` also where the publisher gave no number.
fn sequence(data: &Data) -> Option<SequenceNumber> {
    let Data::Array(parts) = data else { return None };
    let [epoch, number] = parts.as_slice() else { return None };
    let sequence = SequenceNumber { epoch: self::number(epoch)?, number: self::number(number)? };
    (sequence.number > 0).then_some(sequence)
}

fn own_text(own: &Data, key: &str) -> Option<String> {
    own.get(key).and_then(Data::as_str).filter(|t| t.len() <= MAX_OWN_TEXT).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn publication(rooms: &[&str], args: Vec<Data>) -> Publication {
        Publication {
            id: "id-1".into(),
            namespace: "/admin".into(),
            rooms: rooms.iter().map(|r| Room::from(*r)).collect(),
            except: ["out".into()].into(),
            event: "hello".into(),
            args: args.into(),
            volatile: true,
            source: Source::Api,
            accepted: Instant::now(),
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        }
    }

    #[test]
    fn a_publication_comes_back_with_everything() {
        let args = vec![Data::from("x"), Data::Binary(Bytes::from_static(&[0, 255]))];
        let publication = publication(&["a", "b"], args.clone());
        let bytes = encode(&publication, "podpodpo", Some(1_700_000_000_000_000));
        assert_eq!(sender(&bytes), Some(&b"podpodpo"[..]));
        let Data::Array(parts) = msgpack::read(&bytes).unwrap() else { panic!("no array") };
        assert_eq!(parts[1].get("type"), Some(&Data::Number(EVENT.into())));
        let broadcast = decode(&bytes).unwrap();
        assert_eq!(broadcast.uid, "podpodpo");
        assert_eq!(broadcast.namespace, "/admin");
        assert_eq!(broadcast.rooms[..], publication.rooms[..]);
        assert_eq!(broadcast.except[..], publication.except[..]);
        assert_eq!((broadcast.event.as_str(), &broadcast.args), ("hello", &args));
        assert!(broadcast.volatile);
        assert_eq!(broadcast.origin, Some(1_700_000_000_000_000));
        assert_eq!(broadcast.sequence, None);
        let sequence = SequenceNumber { epoch: 3, number: 1 };
        let mut numbered = bytes.clone();
        sequence.replace_last(&mut numbered);
        assert_eq!(decode(&numbered).unwrap().sequence, Some(sequence));
        let accepted = Instant::now();
        let back = broadcast.into_publication("/admin".into(), || unreachable!(), accepted);
        assert_eq!((back.id, back.source), (publication.id, Source::Redis));
        assert_eq!(back.traceparent, publication.traceparent);
    }

    /// The exact bytes that notepack.io writes for
    /// `["emitter", {type: 2, data: ["e", 1, undefined], nsp: "/"}, {rooms: ["r", 7], flags: {}, except: []}]`.
    #[test]
    fn an_emitters_broadcast_is_understood() {
        let mut bytes = vec![0x93, 0xa7];
        bytes.extend(b"emitter");
        bytes.extend(b"\x83\xa4type\x02\xa4data\x93\xa1e\x01\xc0\xa3nsp\xa1/");
        bytes.extend(b"\x83\xa5rooms\x92\xa1r\x07\xa5flags\x80\xa6except\x90");
        let broadcast = decode(&bytes).unwrap();
        assert_eq!(broadcast.uid, "emitter");
        assert_eq!(broadcast.args, [Data::Number(1.into()), Data::Null]);
        assert_eq!(broadcast.rooms, [Room::from("r"), Room::from("7")]);
        assert!(!broadcast.volatile && broadcast.origin.is_none() && broadcast.id.is_none());
    }

    /// `options` as `[uid, packet, options]` in MessagePack.
    fn broadcast_to(options: &str) -> Vec<u8> {
        let packet = r#"{"type":2,"data":["e"],"nsp":"/"}"#;
        let json = format!(r#"["emitter",{packet}{options}]"#);
        let mut bytes = Vec::new();
        msgpack::write(&mut bytes, &rookery_protocol::json::parse_json(json.as_bytes()).unwrap());
        bytes
    }

    #[test]
    fn only_an_absent_or_empty_list_of_rooms_is_the_whole_namespace() {
        for options in ["{}", r#"{"rooms":[]}"#, r#"{"rooms":null,"except":[null],"flags":{}}"#] {
            let broadcast = decode(&broadcast_to(&format!(",{options}"))).unwrap();
            assert!(broadcast.rooms.is_empty() && broadcast.except.is_empty(), "{options}");
        }
        let some = decode(&broadcast_to(r#",{"rooms":[null,"a",["b"],7],"except":[{},"c"]}"#));
        let some = some.unwrap();
        assert_eq!(some.rooms, [Room::from("a"), Room::from("7")]);
        assert_eq!(some.except, [Room::from("c")]);
        for nobody in [
            "",
            ",null",
            ",[]",
            ",\"a\"",
            r#",{"rooms":[null]}"#,
            r#",{"rooms":[null,null],"except":[]}"#,
            r#",{"rooms":[["a"],{"a":1},true]}"#,
            r#",{"rooms":"a"}"#,
            r#",{"rooms":""}"#,
            r#",{"rooms":7}"#,
            r#",{"rooms":{}}"#,
            r#",{"rooms":["a"],"except":"b"}"#,
        ] {
            assert!(decode(&broadcast_to(nobody)).is_err(), "{nobody}");
        }
        assert_eq!(decode(&broadcast_to(r#",{"rooms":[""]}"#)).unwrap().rooms, [Room::from("")]);
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for bytes in [
            &b"\x90"[..],
            b"\x92\xa1u\xc0",
            b"\x92\xa1u\x82\xa4type\x03\xa4data\x91\xa1e",
            b"\x92\xa1u\x82\xa4type\x02\xa4data\x90",
            b"\x92\xa1u\x82\xa4type\x02\xa4data\x91\xc0",
            b"\x81\xa1u\xc0",
        ] {
            assert!(matches!(decode(bytes), Err(WireError::Shape(_))), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_answer(bytes in any::<Vec<u8>>()) {
            let _ = decode(&bytes);
            let _ = sender(&bytes);
        }

        #[test]
        fn one_wrong_byte_gives_an_answer(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let args = vec![Data::Array(vec![Data::Null; 20]), Data::from("text")];
            let mut bytes = encode(&publication(&["a"], args), "podpodpo", Some(1));
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = decode(&bytes);
        }
    }
}
