//! Messages of other pods, in this version's form or another's.

use rookery_server::backplane::wire::pod_messages::Ask;
use rookery_server::backplane::wire::pod_messages::{Answer, Message};
use rookery_server::backplane::wire::replies::{self, Reply};
use rookery_server::backplane::wire::requests::{Asker, RequestId};
use rookery_server::message::{MemberInfo, RoomKey, Selector};

use crate::repeat::{numbered, repeated};
use crate::target::{Shape, Target};

/// The most bytes that are measured here.
const MAX: usize = 1 << 20;

/// The head of an answer.
const ANSWER: &str = r#"{"v":1,"kind":"answer","pod":"a","id":1,"answer":"#;

/// The target.
pub const TARGET: Target = Target {
    name: "pod_message",
    run,
    shapes: &[
        Shape { name: "rooms", input: rooms, max: MAX },
        Shape { name: "members", input: members, max: MAX },
        Shape {
            name: "a name",
            input: |n| repeated(r#"{"kind":"bye","pod":""#, b"\\u0000", b"\"}", n),
            max: MAX,
        },
        Shape { name: "nesting", input: |n| repeated(ANSWER, b"[", b"", n), max: MAX },
    ],
};

/// Reads a message. One that is written again is the same, and what it holds can be used.
pub fn run(input: &[u8]) {
    let Ok(message) = Message::decode(input) else { return };
    if matches!(message, Message::Question { ask: None, .. }) {
        // A question of a newer version, which is never written here.
        return;
    }
    let written = message.encode();
    let again = Message::decode(&written).expect("what was encoded is decoded");
    assert_eq!(again, message);
    match message {
        Message::Answer { answer: Answer::Members(members), .. } => {
            let members: Vec<MemberInfo> = members.into_iter().map(Into::into).collect();
            let id = RequestId { id: "1".to_owned(), asker: Asker::Classic };
            let (_, known) = replies::fetched(&replies::reply(&id, &Reply::Fetched(&members)))
                .expect("an answer is read");
            assert_eq!(known.len(), members.len());
        }
        Message::Answer { answer: Answer::First(rooms), .. } => {
            rooms.into_iter().for_each(|(room, _)| drop(RoomKey::from(room)));
        }
        Message::Question {
            ask: Some(Ask::Members { of } | Ask::Join { of, .. } | Ask::Leave { of, .. }),
            ..
        } => drop(Selector::from(of)),
        _ => {}
    }
}

fn rooms(size: usize) -> Vec<u8> {
    numbered(&format!("{ANSWER}{{\"rooms\":{{"), |n| format!("\"r{n}\":1"), ",", "}}}", size)
}

fn members(size: usize) -> Vec<u8> {
    let member = |n| format!(r#"{{"id":"{n}","rooms":["a","b"]}}"#);
    numbered(&format!("{ANSWER}{{\"members\":["), member, ",", "]}}", size)
}
