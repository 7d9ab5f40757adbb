//! Messages from Redis: broadcasts and requests of Node servers and other instances.

use std::sync::Arc;
use std::time::Instant;

use rookery_protocol::msgpack;
use rookery_protocol::packet::check_args;
use rookery_protocol::{Data, json::parse_json};
use rookery_server::backplane::wire::python::{self, Order};
use rookery_server::backplane::wire::replies::{self, Reply};
use rookery_server::backplane::wire::requests::{self, Ask, Asker, Request};
use rookery_server::backplane::wire::sharded::{self, Message};
use rookery_server::backplane::wire::{classic, senders};
use rookery_server::message::{Publication, Selector};
use serde_json::Value;

use crate::repeat::{numbered, repeated};
use crate::target::{Shape, Target};

/// The most bytes that are measured here; a message may have 64 MiB.
const MAX: usize = 1 << 20;

/// The head of a broadcast up to the data.
const BROADCAST: &[u8] = b"\x93\xa7emitter\x83\xa4type\x02\xa3nsp\xa1/\xa4data\xdc";

/// The target.
pub const TARGET: Target = Target {
    name: "wire",
    run,
    shapes: &[
        Shape { name: "arguments", input: arguments, max: 1 << 16 },
        Shape { name: "nesting", input: |n| repeated("", b"\x91", b"", n), max: MAX },
        Shape { name: "empty lists", input: |n| lists(b"\x90", n), max: 1 << 16 },
        Shape { name: "a map", input: map, max: 1 << 16 },
        Shape { name: "rooms", input: rooms, max: MAX },
        Shape {
            name: "keys of a request",
            input: |n| numbered("{\"type\":1", |n| format!(",\"k{n}\":1"), "", "}", n),
            max: MAX,
        },
        Shape { name: "attachments of Python", input: attachments, max: 1 << 16 },
        Shape { name: "members", input: members, max: MAX },
    ],
};

/// Reads a message in every way, and writes again what was understood.
pub fn run(input: &[u8]) {
    if let Ok(data) = msgpack::read(input) {
        written_again(&data);
    }
    if let Ok((_, members)) = replies::fetched(input) {
        assert!(members.len() <= input.len());
    }
    if let Ok(request) = requests::decode(input) {
        answered(&request);
        if let Ok(json) = parse_json(input) {
            for_those_who_are_named(&request, &json);
        }
    }
    let _ = (sharded::decode(input), sharded::sender(input));
    let _ = classic::sender(input);
    assert!(!senders::likely(input).is_empty());
    if let Ok(Order::Emit(broadcast)) = python::decode(input) {
        assert!(check_args(&broadcast.args).is_ok());
    }
    let Ok(decoded) = classic::decode(input) else { return };
    let namespace: Arc<str> = decoded.namespace.as_str().into();
    let publication = decoded.into_publication(namespace, || "id".into(), Instant::now());
    sharded_too(&publication);
    let bytes = classic::encode(&publication, "abcdefgh", Some(1));
    let again = classic::decode(&bytes).expect("what was encoded is decoded");
    assert_eq!((again.event, again.rooms), (publication.event, publication.rooms.to_vec()));
    assert_eq!(
        (again.args, again.except),
        (publication.args.to_vec(), publication.except.to_vec())
    );
    assert_eq!(classic::sender(&bytes), Some(&b"abcdefgh"[..]));
}

/// What can be said on the classic wire can be said on the sharded one.
fn sharded_too(publication: &Publication) {
    let bytes = sharded::encode(publication, "abcdefgh", Some(1));
    assert_eq!(sharded::sender(&bytes), Some(&b"abcdefgh"[..]));
    let Ok(Message::Broadcast(again)) = sharded::decode(&bytes) else {
        panic!("what was encoded is decoded");
    };
    assert_eq!(
        (again.event.as_str(), again.args),
        (&*publication.event, publication.args.to_vec())
    );
    assert_eq!(again.rooms, publication.rooms.to_vec());
}

/// What was written is read, and written the same.
fn written_again(data: &Data) {
    let mut written = Vec::new();
    msgpack::write(&mut written, data);
    let again = msgpack::read(&written).expect("what was written is read");
    let mut twice = Vec::new();
    msgpack::write(&mut twice, &again);
    assert_eq!(written, twice);
}

/// An answer carries the id that the asker waits for, under the name that it reads.
fn answered(request: &Request) {
    let Some(id) = &request.id else { return };
    let key = if id.asker == Asker::Old { "requestid" } else { "requestId" };
    for reply in [
        Reply::Sockets(&[]),
        Reply::Rooms(vec!["a"]),
        Reply::Done,
        Reply::Fetched(&[]),
        Reply::Emitted,
        Reply::Recipients(1),
    ] {
        let answer = replies::reply(id, &reply);
        let answer: Value = serde_json::from_slice(&answer).expect("an answer is JSON");
        assert_eq!(answer[key].as_str(), Some(id.id.as_str()));
    }
}

/// Only an absent or empty list of rooms means the whole namespace, and only the type for it
/// disconnects.
fn for_those_who_are_named(request: &Request, json: &Data) {
    let selector = match &request.ask {
        Ask::Join(of, _) | Ask::Leave(of, _) | Ask::Disconnect(of, _) => of,
        _ => return,
    };
    if matches!(request.ask, Ask::Disconnect(..)) {
        let is_old = request.id.as_ref().is_some_and(|id| id.asker == Asker::Old);
        let kind = json.get("type").and_then(classic::number);
        assert_eq!(kind, Some(if is_old { 6 } else { 4 }));
    }
    if let Selector::Rooms { rooms, .. } = selector
        && rooms.is_empty()
    {
        let named = json.get("opts").and_then(|options| options.get("rooms"));
        let is_empty = |list: &Data| matches!(list, Data::Array(list) if list.is_empty());
        assert!(named.is_none_or(|list| *list == Data::Null || is_empty(list)), "{named:?}");
    }
}

fn arguments(size: usize) -> Vec<u8> {
    let count = size.clamp(1, 60_000) as u16;
    let mut input = [BROADCAST, &(count + 1).to_be_bytes(), b"\xa1e"].concat();
    input.extend(std::iter::repeat_n(7, count.into()));
    input.extend(b"\x83\xa5rooms\x91\xa1r\xa6except\x90\xa5flags\x80");
    input
}

fn lists(list: &[u8], size: usize) -> Vec<u8> {
    let count = size.clamp(1, 60_000) as u16;
    let head = [&[0xdc][..], &count.to_be_bytes()].concat();
    repeated(head, list, b"", usize::from(count) * list.len())
}

/// A map with keys of four digits.
fn map(size: usize) -> Vec<u8> {
    let count = (size / 6).clamp(1, 10_000) as u16;
    let mut input = [&[0xde][..], &count.to_be_bytes()].concat();
    for key in 0..count {
        input.extend(format!("\u{24}{key:04}").bytes().map(|b| if b == 0x24 { 0xa4 } else { b }));
        input.push(0xc0);
    }
    input
}

fn rooms(size: usize) -> Vec<u8> {
    let head = r#"{"type":4,"requestId":"1","opts":{"rooms":["#;
    numbered(head, |n| format!("\"r{n}\""), ",", "]}}", size)
}

fn attachments(size: usize) -> Vec<u8> {
    let count = (size / 40).max(1);
    let places = (0..count).map(|n| format!(r#"{{"_placeholder":true,"num":{n}}}"#));
    let places = places.collect::<Vec<_>>().join(",");
    let bytes = vec![r#""AQ==""#; count].join(",");
    let head = r#"{"method":"emit","event":"e","binary":true,"data":[["#;
    format!("{head}{places}],{bytes}]}}").into_bytes()
}

fn members(size: usize) -> Vec<u8> {
    let member = |n| format!(r#"{{"id":"{n}","rooms":["{n}","a"]}}"#);
    numbered(r#"{"requestId":"1","sockets":["#, member, ",", "]}", size)
}
