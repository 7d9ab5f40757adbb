//! Packets of clients: the parser that handles events in place against socketioxide's.
#![no_main]

#[path = "../../crates/protocol/tests/engine_parser/verdict.rs"]
mod verdict;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(text) = std::str::from_utf8(input) {
        verdict::assert_same(text);
    }
});
