//! What the application's backend answers.

use rookery_protocol::encoded::Encoded;
use rookery_protocol::packet::check_args;
use rookery_protocol::{Data, MAX_ROOM_BYTES, RESERVED_EVENTS, Room};
use rookery_server::backend::Reply;

use crate::repeat::{numbered, repeated};
use crate::target::{Shape, Target};

/// The most bytes of an answer that are measured here; `backend.maxReply` bounds what is read.
const MAX: usize = 4 << 20;

/// The most elements of a list.
const MAX_ITEMS: usize = 1000;

/// The most bytes of an error, which is logged.
const MAX_ERROR_BYTES: usize = 300;

/// The target.
pub const TARGET: Target = Target {
    name: "backend_reply",
    run,
    shapes: &[
        Shape { name: "rooms", input: |n| list("join", |i| format!("\"{i}\""), n), max: MAX },
        Shape {
            name: "events",
            input: |n| list("emit", |i| format!(r#"{{"event":"e{i}","args":[{i}]}}"#), n),
            max: MAX,
        },
        Shape {
            name: "publications",
            input: |n| list("publish", |i| format!(r#"{{"room":"{i}","event":"e"}}"#), n),
            max: MAX,
        },
        Shape { name: "arguments", input: |n| list("ack", |i| i.to_string(), n), max: MAX },
        Shape { name: "unknown fields", input: unknown_fields, max: MAX },
        Shape {
            name: "binary",
            input: |n| repeated(r#"{"ack":[{"$binary":""#, b"AAAA", br#""}]}"#, n),
            max: MAX,
        },
        Shape { name: "nesting", input: |n| repeated(r#"{"ack":"#, b"[", b"", n), max: MAX },
        Shape { name: "blanks", input: |n| repeated("", b" \t\r\n", b"{}", n), max: MAX },
    ],
};

/// Parses an answer: what is accepted can be carried out, and an error can be logged.
pub fn run(input: &[u8]) {
    let reply = match Reply::parse(input) {
        Ok(reply) => reply,
        Err(error) => {
            let text = error.to_string();
            assert!(text.len() <= MAX_ERROR_BYTES, "{} bytes", text.len());
            assert!(!text.contains(char::is_control), "{text:?}");
            return;
        }
    };
    let blanks = [b" \r\n", input, b"\t"].concat();
    assert_eq!(Reply::parse(&blanks).as_ref(), Ok(&reply));
    assert!(reply.emit.len() <= MAX_ITEMS && reply.publish.len() <= MAX_ITEMS);
    reply.join.iter().chain(&reply.leave).for_each(assert_room);
    for emit in &reply.emit {
        assert_event(&emit.event, &emit.args);
    }
    for publish in &reply.publish {
        assert_room(&publish.room);
        publish.except.iter().for_each(assert_room);
        assert_event(&publish.event, &publish.args);
    }
    let data = reply.error.iter().filter_map(|error| error.data.as_ref());
    data.for_each(|data| assert_args(std::slice::from_ref(data)));
    if let Some(ack) = &reply.ack {
        assert_args(ack);
        drop(Encoded::ack("/", 1, ack));
    }
}

fn assert_room(room: &Room) {
    assert!((1..=MAX_ROOM_BYTES).contains(&room.len()), "{} bytes", room.len());
}

fn assert_event(event: &str, args: &[Data]) {
    assert!(!RESERVED_EVENTS.contains(&event), "{event}");
    assert_args(args);
    drop(Encoded::event("/", event, args));
}

fn assert_args(args: &[Data]) {
    assert_eq!(check_args(args), Ok(()));
}

fn list(field: &str, item: impl Fn(usize) -> String, size: usize) -> Vec<u8> {
    numbered(&format!("{{\"{field}\":["), item, ",", "]}", size)
}

fn unknown_fields(size: usize) -> Vec<u8> {
    numbered("{", |n| format!("\"field {n}\":{n}"), ",", "}", size)
}
