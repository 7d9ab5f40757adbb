//! The parts of templates and patterns, and the encoding that keeps their values apart.

use std::borrow::Cow;

use rookery_protocol::MAX_ROOM_BYTES;
use smallvec::SmallVec;

/// A room's name while it is built, which needs no allocation up to [`MAX_ROOM_BYTES`].
pub(super) type RoomBuffer = SmallVec<[u8; 256]>;

/// Why a template or a pattern is malformed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A `{` has no `}`.
    #[error("the `{{` at byte {0} has no `}}`; write placeholders as {{name}}")]
    Unclosed(usize),
    /// A `}` has no `{`.
    #[error("the `}}` at byte {0} has no `{{`; write placeholders as {{name}}")]
    Unopened(usize),
    /// A placeholder's path has an empty field.
    #[error("`{{{0}}}` is not a path; write {{field}} or {{field.inner}}")]
    Path(String),
    /// Two placeholders have no separator between them.
    #[error(
        "`{{{0}}}` and `{{{1}}}` need a character between them that is neither letter nor digit, such as `:`"
    )]
    Ambiguous(String, String),
    /// `%` is used beside placeholders, but it is the encoding's escape character.
    #[error("`%` cannot stand beside placeholders: values are encoded with it")]
    Percent,
    /// The template is empty.
    #[error("it is empty; write text or placeholders such as {{name}}")]
    Empty,
    /// The template's own text is longer than a room's name may be.
    #[error("its text has {0} bytes; a room's name has at most {MAX_ROOM_BYTES}")]
    TooLong(usize),
    /// A capture's name is not a CEL identifier.
    #[error(
        "`{{{0}}}` cannot be a capture; use letters, digits and `_`, not starting with a digit"
    )]
    Name(String),
    /// A capture would shadow the variable `claims` or `nsp`.
    #[error("`{{{0}}}` would hide the variable `{0}`; choose another name")]
    Hides(String),
    /// Two captures have the same name.
    #[error("`{{{0}}}` is written twice; give each capture its own name")]
    Twice(String),
    /// Two captures may hold separators.
    #[error("only one capture of a pattern may be written {{name*}}")]
    Stars,
    /// A template has a placeholder `{name*}`, which only patterns have.
    #[error("`{{{0}}}` belongs into `match`; leave out the `*`")]
    Star(String),
}

/// A part of a template or a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Literal text.
    Text(String),
    /// The text between braces.
    Placeholder(String),
}

/// Splits a template into its parts. No two neighbouring parts are text.
pub(super) fn parts(text: &str) -> Result<Vec<Part>, TemplateError> {
    let mut parts = Vec::new();
    let mut at = 0;
    while let Some(found) = text[at..].find(['{', '}']) {
        let open = at + found;
        if text[open..].starts_with('}') {
            return Err(TemplateError::Unopened(open));
        }
        if open > at {
            parts.push(Part::Text(text[at..open].to_owned()));
        }
        let inside = &text[open + 1..];
        match inside.find(['{', '}']) {
            Some(close) if inside[close..].starts_with('}') => {
                parts.push(Part::Placeholder(inside[..close].to_owned()));
                at = open + 1 + close + 1;
            }
            _ => return Err(TemplateError::Unclosed(open)),
        }
    }
    if at < text.len() {
        parts.push(Part::Text(text[at..].to_owned()));
    }
    Ok(parts)
}

/// The characters that are percent-encoded in the values of a template or a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Separators {
    chars: Vec<char>,
    encodes: bool,
}

impl Separators {
    /// Finds the separators of these parts.
    ///
    /// # Errors
    /// Fails if values between these parts could not be told apart again in a room's name.
    pub(super) fn of(parts: &[Part]) -> Result<Self, TemplateError> {
        let text = || {
            parts.iter().filter_map(|part| match part {
                Part::Text(text) => Some(text.as_str()),
                Part::Placeholder(_) => None,
            })
        };
        let length = text().map(str::len).sum();
        if parts.is_empty() {
            return Err(TemplateError::Empty);
        }
        if length > MAX_ROOM_BYTES {
            return Err(TemplateError::TooLong(length));
        }
        let placeholders = parts.iter().any(|part| matches!(part, Part::Placeholder(_)));
        if placeholders && text().any(|text| text.contains('%')) {
            return Err(TemplateError::Percent);
        }
        require_separated(parts)?;
        let mut chars: Vec<char> = text().flat_map(str::chars).filter(is_separator).collect();
        chars.sort_unstable();
        chars.dedup();
        Ok(Separators { chars, encodes: parts.len() > 1 })
    }

    /// Whether `c` is a separator.
    pub(super) fn contains(&self, c: char) -> bool {
        self.chars.contains(&c)
    }

    /// The position of the first separator in `text`.
    pub(super) fn find(&self, text: &str) -> Option<usize> {
        match self.chars.as_slice() {
            [separator] => text.find(*separator),
            _ => text.find(|c| self.contains(c)),
        }
    }

    /// Appends `value` to `room`, with its separators encoded.
    pub(super) fn encode(&self, value: &str, room: &mut RoomBuffer) {
        let mut rest = value;
        while let Some(at) = rest.find(|c| c == '%' || self.contains(c)).filter(|_| self.encodes) {
            room.extend_from_slice(&rest.as_bytes()[..at]);
            let length = rest[at..].chars().next().map_or(0, char::len_utf8);
            let (encoded, after) = rest[at..].split_at(length);
            for byte in encoded.bytes() {
                room.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            rest = after;
        }
        room.extend_from_slice(rest.as_bytes());
    }

    /// Reverses [`Separators::encode`]. Escapes that it would not have written stay as they are.
    pub(super) fn decode<'a>(&self, encoded: &'a str) -> Cow<'a, str> {
        if !self.encodes || !encoded.contains('%') {
            return Cow::Borrowed(encoded);
        }
        let mut value = String::with_capacity(encoded.len());
        let mut rest = encoded;
        while let Some(at) = rest.find('%') {
            value.push_str(&rest[..at]);
            rest = &rest[at..];
            match escaped_char(rest).filter(|(c, _)| *c == '%' || self.contains(*c)) {
                Some((c, length)) => {
                    value.push(c);
                    rest = &rest[length..];
                }
                None => {
                    value.push('%');
                    rest = &rest[1..];
                }
            }
        }
        Cow::Owned(value + rest)
    }
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

fn is_separator(c: &char) -> bool {
    !c.is_alphanumeric()
}

/// Refuses placeholders such as `{a}{b}` and `{a}x{b}`, where the end of a value is ambiguous.
fn require_separated(parts: &[Part]) -> Result<(), TemplateError> {
    let mut last: Option<&str> = None;
    let mut separated = true;
    for part in parts {
        match part {
            Part::Text(text) => separated |= text.chars().any(|c| is_separator(&c)),
            Part::Placeholder(name) => {
                if let (Some(last), false) = (last, separated) {
                    return Err(TemplateError::Ambiguous(last.to_owned(), name.clone()));
                }
                (last, separated) = (Some(name.as_str()), false);
            }
        }
    }
    Ok(())
}

/// The character at the start of `text` in percent-encoding with upper-case digits, and the
/// number of bytes that its encoding takes.
fn escaped_char(text: &str) -> Option<(char, usize)> {
    let bytes = text.as_bytes();
    let mut utf8 = [0; 4];
    for count in 1..=utf8.len() {
        let escape = bytes.get(3 * count - 3..3 * count)?;
        let [b'%', high, low] = escape else { return None };
        utf8[count - 1] = upper_hex(*high)? << 4 | upper_hex(*low)?;
        if let Ok(text) = std::str::from_utf8(&utf8[..count]) {
            return text.chars().next().map(|c| (c, 3 * count));
        }
    }
    None
}

fn upper_hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
