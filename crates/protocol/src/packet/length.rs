//! The length of a packet's text before it is written, so that it is allocated once.

use crate::data::{Data, DataRef};

/// What a placeholder begins with; its number and `}` follow.
pub(super) const PLACEHOLDER: &str = r#"{"_placeholder":true,"num":"#;

/// The most bytes of a floating-point number, such as `-2.2250738585072014e-308`.
const MAX_FLOAT: usize = 24;

/// The length of the JSON array of `elements`, which hold `binaries` binary values: exact without
/// floating-point numbers, otherwise an upper bound.
pub(super) fn array<'a>(elements: impl Iterator<Item = DataRef<'a>>, binaries: usize) -> usize {
    list(elements.map(|element| value(element, binaries)))
}

/// Whether a JSON string of this text has escapes (RFC 8259, section 7).
pub(super) fn has_escapes(text: &str) -> bool {
    // The compiler vectorizes this, because every byte of a block is looked at.
    fn any_special(found: u8, byte: &u8) -> u8 {
        found | u8::from(*byte < 0x20) | u8::from(*byte == b'"') | u8::from(*byte == b'\\')
    }
    let (blocks, rest) = text.as_bytes().as_chunks::<16>();
    blocks.iter().any(|block| block.iter().fold(0, any_special) > 0)
        || rest.iter().fold(0, any_special) > 0
}

/// The bytes that a byte of text takes beyond its own in a JSON string.
fn escape(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 1,
        0..0x20 => 5,
        _ => 0,
    }
}

fn value(item: DataRef<'_>, binaries: usize) -> usize {
    let data = match item {
        DataRef::Text(text) => return string(text),
        DataRef::Json(text) => return text.len(),
        DataRef::Object(entries) => return object(entries.iter().copied(), binaries),
        DataRef::Value(data) => data,
    };
    match data {
        Data::Null | Data::Bool(true) => 4,
        Data::Bool(false) => 5,
        Data::Number(n) => match (n.as_u64(), n.as_i64()) {
            (Some(n), _) => digits(n),
            (_, Some(n)) => 1 + digits(n.unsigned_abs()),
            _ => MAX_FLOAT,
        },
        Data::String(text) => string(text),
        // With at most ten attachments, a placeholder's number is one digit.
        Data::Binary(_) => PLACEHOLDER.len() + digits(binaries as u64 - 1) + 1,
        Data::Array(items) => list(items.iter().map(|item| value(item.into(), binaries))),
        Data::Object(entries) => {
            object(entries.iter().map(|(key, item)| (key.as_str(), item.into())), binaries)
        }
    }
}

fn object<'a>(entries: impl Iterator<Item = (&'a str, DataRef<'a>)>, binaries: usize) -> usize {
    list(entries.map(|(key, item)| string(key) + 1 + value(item, binaries)))
}

/// The length of elements with their commas and brackets.
fn list(elements: impl Iterator<Item = usize>) -> usize {
    let (count, length) =
        elements.fold((0usize, 0), |(count, length), element| (count + 1, length + element));
    length + 2 + count.saturating_sub(1)
}

fn string(text: &str) -> usize {
    let escapes = if has_escapes(text) { text.bytes().map(escape).sum() } else { 0 };
    text.len() + escapes + 2
}

/// The number of decimal digits.
pub(super) fn digits(number: u64) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}
