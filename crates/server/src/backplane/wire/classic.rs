//! Broadcasts on Node's classic wire: `[uid, {type, data, nsp}, {rooms, except, flags}]` in
//! MessagePack, with our own fields as a fourth element, which Node ignores. They are read in JSON
//! too, which Node servers with such a `parser` write.
//!
//! The fourth element is a map: `t` the origin's time of acceptance in microseconds of Redis'
//! clock, `id` the publication's id, `tp` its W3C traceparent, `n` its
//! [sequence number](SequenceNumber) on its channel, which comes last.

use std::time::{Duration, Instant};

use std::sync::Arc;

use super::encoding;
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
    /// Whether it may be compressed.
    pub compress: bool,
    /// How long the sender waits for acknowledgements, where it asks for them.
    pub timeout: Option<Duration>,
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
    /// Reads our own fields.
    pub fn read_own(&mut self, own: &Data) {
        self.origin = own.get("t").and_then(number);
        self.id = own_text(own, "id");
        self.traceparent = own_text(own, "tp");
        self.sequence = own.get("n").and_then(sequence);
    }

    /// Leaves one room of several, without the members of those before it. Older emitters publish
    /// once on each room's channel with all rooms in the message: so nobody gets it twice.
    pub fn narrow_to(&mut self, position: usize) {
        self.except.extend(self.rooms.drain(..position));
        self.rooms.truncate(1);
    }

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
            compress: self.compress,
            source: Source::Redis,
            address: None,
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
    let Data::Array(parts) = encoding::read(bytes)? else {
        return Err(WireError::Shape("no array"));
    };
    let mut parts = parts.into_iter();
    let (uid, packet) = match parts.next().ok_or(WireError::Shape("no sender"))? {
        // Emitters for Socket.IO 1.0 name no sender.
        packet @ Data::Object(_) => (String::new(), packet),
        uid => {
            let packet = parts.next().ok_or(WireError::Shape("no packet"))?;
            (text(uid).unwrap_or_default(), packet)
        }
    };
    let options = parts.next().unwrap_or(Data::Null);
    let mut broadcast = from_packet(packet, &options)?;
    broadcast.uid = uid;
    if let Some(own) = parts.next() {
        broadcast.read_own(&own);
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
    // Emitters for Python write `""` for an empty list; JavaScript makes an empty set of it, too.
    let (rooms, except) = read_targets(options, true)?;
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
    let flag = |name: &str| options.get("flags").and_then(|flags| flags.get(name));
    Ok(Broadcast {
        uid: String::new(),
        namespace,
        event,
        args,
        rooms,
        except,
        volatile: flag("volatile") == Some(&Data::Bool(true)),
        compress: flag("compress") != Some(&Data::Bool(false)),
        timeout: flag("timeout").and_then(number).map(Duration::from_millis),
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
    write_packet(&mut to, publication);
    write_options(&mut to, publication, None);
    write_own(&mut to, publication, origin, true);
    to
}

/// Writes `{type, data, nsp}`.
pub fn write_packet(to: &mut Vec<u8>, publication: &Publication) {
    msgpack::write_map_len(to, 3);
    msgpack::write_str(to, "type");
    // With binary in it too: Node finds that out itself, and writes a packet that no client can
    // parse where the type says so already.
    msgpack::write_uint(to, EVENT);
    msgpack::write_str(to, "data");
    msgpack::write_array_len(to, 1 + publication.args.len());
    msgpack::write_str(to, &publication.event);
    publication.args.iter().for_each(|arg| msgpack::write(to, arg));
    msgpack::write_str(to, "nsp");
    msgpack::write_str(to, &publication.namespace);
}

/// Writes `{rooms, except, flags}`; with how long acknowledgements are waited for, where they are.
pub fn write_options(to: &mut Vec<u8>, publication: &Publication, timeout: Option<Duration>) {
    msgpack::write_map_len(to, 3);
    for (key, rooms) in [("rooms", &publication.rooms), ("except", &publication.except)] {
        msgpack::write_str(to, key);
        msgpack::write_array_len(to, rooms.len());
        rooms.iter().for_each(|room| msgpack::write_str(to, room));
    }
    msgpack::write_str(to, "flags");
    let flags = [publication.volatile, !publication.compress, timeout.is_some()];
    msgpack::write_map_len(to, flags.into_iter().filter(|is_set| *is_set).count());
    if publication.volatile {
        msgpack::write_str(to, "volatile");
        msgpack::write(to, &Data::Bool(true));
    }
    if !publication.compress {
        msgpack::write_str(to, "compress");
        msgpack::write(to, &Data::Bool(false));
    }
    if let Some(timeout) = timeout {
        msgpack::write_str(to, "timeout");
        msgpack::write_uint(to, u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
    }
}

/// Writes our own fields; `numbered`: with a sequence number at the end, which the publisher
/// replaces.
pub fn write_own(to: &mut Vec<u8>, publication: &Publication, origin: Option<u64>, numbered: bool) {
    let optional = [origin.is_some(), publication.traceparent.is_some(), numbered];
    msgpack::write_map_len(to, 1 + optional.into_iter().filter(|there| *there).count());
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
    if numbered {
        msgpack::write_str(to, "n");
        SequenceNumber::write_unknown(to);
    }
}

/// The rooms and the excepted rooms of `{rooms, except}`. No rooms: the whole namespace, which only
/// an absent or empty list means, as in Node's adapter.
///
/// # Errors
/// [`WireError::Shape`] where nobody is meant: nothing in `rooms` can be a name, or one of the two
/// is no list.
pub fn targets(options: &Data) -> Result<(Vec<Room>, Vec<Room>), WireError> {
    read_targets(options, false)
}

/// As [`targets`]; with `text_may_be_empty`, `""` is an empty list.
fn read_targets(
    options: &Data,
    text_may_be_empty: bool,
) -> Result<(Vec<Room>, Vec<Room>), WireError> {
    if !matches!(options, Data::Object(_)) {
        return Err(WireError::Shape("opts is no object"));
    }
    let list = |key: &str, why| match options.get(key) {
        None | Some(Data::Null) => Ok(&[][..]),
        Some(Data::Array(list)) => Ok(list.as_slice()),
        Some(Data::String(text)) if text_may_be_empty && text.is_empty() => Ok(&[][..]),
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
mod tests;
