//! Packets of clients: the parser that handles events in place against socketioxide's.

#[path = "../../../protocol/tests/engine_parser/verdict.rs"]
mod verdict;

use crate::repeat::{numbered, repeated};
use crate::target::{Shape, Target};

/// The most bytes of a packet: the default of `socketio.maxPayload`.
const MAX: usize = 1 << 20;

/// The target.
pub const TARGET: Target = Target {
    name: "packet",
    run,
    shapes: &[
        Shape { name: "arguments", input: |n| repeated("2[\"e\"", b",1", b"]", n), max: MAX },
        Shape { name: "nesting", input: |n| repeated("2[\"e\",", b"[", b"", n), max: MAX },
        Shape {
            name: "escapes",
            input: |n| repeated("2[\"e\",\"", b"\\u00e9", b"\"]", n),
            max: MAX,
        },
        Shape { name: "keys", input: keys, max: MAX },
        Shape {
            name: "equal keys",
            input: |n| repeated("2[\"e\",{\"z\":0", b",\"a\":1", b"}]", n),
            max: MAX,
        },
        Shape { name: "attachments", input: attachments, max: MAX },
        Shape { name: "an id", input: |n| repeated("2", b"9", b"[\"e\"]", n), max: MAX },
        Shape { name: "a namespace", input: |n| repeated("2/", b"a?", b",[\"e\"]", n), max: MAX },
        Shape { name: "blanks", input: |n| repeated("2[", b" ", b"\"e\"]", n), max: MAX },
    ],
};

/// Compares the two parsers.
pub fn run(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input) {
        verdict::assert_same(text);
    }
}

fn keys(size: usize) -> Vec<u8> {
    numbered("2[\"e\",{", |n| format!("\"k{n}\":1"), ",", "}]", size)
}

/// More placeholders than there are attachments.
fn attachments(size: usize) -> Vec<u8> {
    repeated("59-[\"e\"", b",{\"_placeholder\":true,\"num\":8}", b"]", size)
}
