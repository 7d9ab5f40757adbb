//! Writes packets: [`Data`] as JSON text, and binary values as placeholders.

use std::fmt::Write as _;

use bytes::Bytes;

use crate::data::Data;

/// Appends an event or an acknowledgement, and returns its attachments. `types` are the digits of
/// the packet's type without and with attachments.
pub(super) fn message(
    out: &mut String,
    types: (char, char),
    namespace: &str,
    id: Option<u64>,
    event: Option<&str>,
    args: &[Data],
) -> Vec<Bytes> {
    let binaries: usize = args.iter().map(count_binary).sum();
    let mut attachments = Vec::with_capacity(binaries);
    if binaries == 0 {
        out.push(types.0);
    } else {
        out.push(types.1);
        number(out, binaries);
        out.push('-');
    }
    address(out, namespace, id);
    out.push('[');
    if let Some(event) = event {
        string(out, event);
    }
    for (i, arg) in args.iter().enumerate() {
        if i > 0 || event.is_some() {
            out.push(',');
        }
        value(out, arg, &mut Some(&mut attachments));
    }
    out.push(']');
    attachments
}

/// Writes a packet that has a payload at most, and no arguments.
pub(super) fn control(kind: char, namespace: &str, payload: Option<&Data>) -> String {
    let mut out = String::from(kind);
    address(&mut out, namespace, None);
    if let Some(payload) = payload {
        value(&mut out, payload, &mut None);
    }
    out
}

fn address(out: &mut String, namespace: &str, id: Option<u64>) {
    if namespace != "/" {
        out.push_str(namespace);
        out.push(',');
    }
    if let Some(id) = id {
        number(out, id);
    }
}

fn value(out: &mut String, data: &Data, attachments: &mut Option<&mut Vec<Bytes>>) {
    match data {
        Data::Null => out.push_str("null"),
        Data::Bool(true) => out.push_str("true"),
        Data::Bool(false) => out.push_str("false"),
        Data::Number(n) => number(out, n),
        Data::String(text) => string(out, text),
        Data::Binary(bytes) => match attachments {
            Some(attachments) => {
                out.push_str(r#"{"_placeholder":true,"num":"#);
                number(out, attachments.len());
                out.push('}');
                attachments.push(bytes.clone());
            }
            None => out.push_str("null"),
        },
        Data::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                value(out, item, attachments);
            }
            out.push(']');
        }
        Data::Object(entries) => {
            out.push('{');
            for (i, (key, item)) in entries.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                string(out, key);
                out.push(':');
                value(out, item, attachments);
            }
            out.push('}');
        }
    }
}

fn number(out: &mut String, number: impl std::fmt::Display) {
    write!(out, "{number}").expect("writing to a String cannot fail");
}

/// Appends a JSON string with only the escapes that JSON requires (RFC 8259, section 7).
fn string(out: &mut String, text: &str) {
    out.reserve(text.len() + 2);
    out.push('"');
    let mut plain = 0;
    for (i, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[plain..i]);
        plain = i + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            _ => write!(out, "\\u{byte:04x}").expect("writing to a String cannot fail"),
        }
    }
    out.push_str(&text[plain..]);
    out.push('"');
}

fn count_binary(data: &Data) -> usize {
    match data {
        Data::Binary(_) => 1,
        Data::Array(items) => items.iter().map(count_binary).sum(),
        Data::Object(entries) => entries.iter().map(|(_, v)| count_binary(v)).sum(),
        _ => 0,
    }
}
