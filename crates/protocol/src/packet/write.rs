//! Writes packets: [`Data`] as JSON text, and binary values as placeholders.

use std::io::Write as _;

use bytes::Bytes;

use super::length::{self, PLACEHOLDER, digits};
use crate::data::{Data, DataRef};

/// A packet with arguments: an event or an acknowledgement.
#[derive(Clone, Copy)]
pub(crate) struct Message<'a> {
    /// The namespace, with its leading slash.
    pub(crate) namespace: &'a str,
    /// The id of the acknowledgement, or of the one that the event asks for.
    pub(crate) id: Option<u64>,
    /// The event's name; `None` for an acknowledgement.
    pub(crate) event: Option<&'a str>,
}

impl<'a> Message<'a> {
    /// Encodes the packet: its text behind `prefix`, and its attachments.
    ///
    /// The text is written into one allocation, which it fills unless an argument holds a
    /// floating-point number.
    pub(crate) fn encode(
        self,
        prefix: &[u8],
        args: impl Iterator<Item = DataRef<'a>> + Clone,
    ) -> (Vec<u8>, Vec<Bytes>) {
        let binaries: usize = args.clone().map(DataRef::binaries).sum();
        let elements = self.event.map(DataRef::Text).into_iter().chain(args);
        let length = self.head_length(binaries) + length::array(elements.clone(), binaries);
        let mut out = Vec::with_capacity(prefix.len() + length);
        let mut attachments = Vec::with_capacity(binaries);
        out.extend_from_slice(prefix);
        self.head(&mut out, binaries);
        out.push(b'[');
        list(&mut out, elements, |out, element| value(out, element, &mut Some(&mut attachments)));
        out.push(b']');
        (out, attachments)
    }

    /// The number of bytes that [`Message::head`] writes.
    fn head_length(self, binaries: usize) -> usize {
        let attachments = if binaries > 0 { digits(binaries as u64) + 1 } else { 0 };
        let namespace = if self.namespace == "/" { 0 } else { self.namespace.len() + 1 };
        1 + attachments + namespace + self.id.map_or(0, digits)
    }

    fn head(self, out: &mut Vec<u8>, binaries: usize) {
        let (text, binary) = if self.event.is_some() { (b'2', b'5') } else { (b'3', b'6') };
        if binaries == 0 {
            out.push(text);
        } else {
            out.push(binary);
            number(out, binaries);
            out.push(b'-');
        }
        address(out, self.namespace);
        if let Some(id) = self.id {
            number(out, id);
        }
    }
}

/// Writes an event, or else an acknowledgement, of which `elements` is the array; they hold `binaries`
/// binary values.
pub(super) fn elements(
    is_event: bool,
    (namespace, id): (&str, Option<u64>),
    elements: &[Data],
    binaries: usize,
) -> (String, Vec<Bytes>) {
    let (mut out, mut attachments) = (Vec::new(), Vec::with_capacity(binaries));
    Message { namespace, id, event: is_event.then_some("") }.head(&mut out, binaries);
    out.push(b'[');
    list(&mut out, elements, |out, element| {
        value(out, element.into(), &mut Some(&mut attachments));
    });
    out.push(b']');
    (text(out), attachments)
}

/// Writes a packet that has a payload at most, and no arguments.
pub(super) fn control(kind: u8, namespace: &str, payload: Option<&Data>) -> String {
    let mut out = vec![kind];
    address(&mut out, namespace);
    if let Some(payload) = payload {
        value(&mut out, DataRef::Value(payload), &mut None);
    }
    text(out)
}

/// The text that was written.
pub(super) fn text(out: Vec<u8>) -> String {
    String::from_utf8(out).expect("a packet is written from text")
}

fn address(out: &mut Vec<u8>, namespace: &str) {
    if namespace != "/" {
        out.extend_from_slice(namespace.as_bytes());
        out.push(b',');
    }
}

/// Writes a value. Its binary values are added to `attachments`; without those they are `null`.
fn value(out: &mut Vec<u8>, item: DataRef<'_>, attachments: &mut Option<&mut Vec<Bytes>>) {
    let data = match item {
        DataRef::Text(text) => return string(out, text),
        DataRef::Json(text) => return out.extend_from_slice(text.as_bytes()),
        DataRef::Object(entries) => {
            return object(out, entries.iter().copied(), attachments);
        }
        DataRef::Value(data) => data,
    };
    match data {
        Data::Null => out.extend_from_slice(b"null"),
        Data::Bool(true) => out.extend_from_slice(b"true"),
        Data::Bool(false) => out.extend_from_slice(b"false"),
        Data::Number(n) => match (n.as_u64(), n.as_i64()) {
            (Some(n), _) => number(out, n),
            (_, Some(n)) => number(out, n),
            _ => write!(out, "{n}").expect("writing to memory cannot fail"),
        },
        Data::String(text) => string(out, text),
        Data::Binary(bytes) => match attachments {
            Some(attachments) => {
                out.extend_from_slice(PLACEHOLDER.as_bytes());
                number(out, attachments.len());
                out.push(b'}');
                attachments.push(bytes.clone());
            }
            None => out.extend_from_slice(b"null"),
        },
        Data::Array(items) => {
            out.push(b'[');
            list(out, items, |out, item| value(out, item.into(), attachments));
            out.push(b']');
        }
        Data::Object(entries) => {
            let entries = entries.iter().map(|(key, value)| (key.as_str(), value.into()));
            object(out, entries, attachments);
        }
    }
}

fn object<'a>(
    out: &mut Vec<u8>,
    entries: impl Iterator<Item = (&'a str, DataRef<'a>)>,
    attachments: &mut Option<&mut Vec<Bytes>>,
) {
    out.push(b'{');
    list(out, entries, |out, (key, item)| {
        string(out, key);
        out.push(b':');
        value(out, item, attachments);
    });
    out.push(b'}');
}

/// Writes items with commas between them.
fn list<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) {
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(out, item);
    }
}

fn number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Writes a JSON string with only the escapes that JSON requires (RFC 8259, section 7).
fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    if length::has_escapes(text) {
        escaped(out, text);
    } else {
        out.extend_from_slice(text.as_bytes());
    }
    out.push(b'"');
}

fn escaped(out: &mut Vec<u8>, text: &str) {
    for &byte in text.as_bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => write!(out, "\\u{byte:04x}").expect("writing to memory cannot fail"),
            _ => out.push(byte),
        }
    }
}
