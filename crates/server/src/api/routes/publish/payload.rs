//! The size of a publication on the wire, and arguments that the wire cannot express.

use std::fmt::{self, Write as _};

use rookery_protocol::Data;

/// The size in bytes of the Socket.IO packet for this event: its text, and its attachments if there
/// is binary.
///
/// Source: Socket.IO protocol, revision 5, "Packet encoding".
pub(super) fn wire_size(namespace: &str, event: &str, args: &[Data]) -> usize {
    let mut attachments = 0;
    let args: usize = args.iter().map(|arg| 1 + json_size(arg, &mut attachments)).sum();
    let namespace = if namespace == "/" { 0 } else { namespace.len() + 1 };
    // The type is `42`, or `45<count>-` with attachments.
    let kind = if attachments == 0 { 2 } else { 3 + digits(attachments) };
    kind + namespace + 2 + text_size(event) + args
}

/// The path of an object with `_placeholder: true`, such as `args[0].file`, if there is binary too:
/// on the wire, the object looks like the placeholder of an attachment.
pub(super) fn ambiguous_placeholder(args: &[Data]) -> Option<String> {
    if !args.iter().any(Data::has_binary) {
        return None;
    }
    args.iter().enumerate().find_map(|(i, arg)| placeholder_path(arg, format!("args[{i}]")))
}

fn placeholder_path(data: &Data, path: String) -> Option<String> {
    match data {
        Data::Object(_) if data.get("_placeholder") == Some(&Data::Bool(true)) => Some(path),
        Data::Object(entries) => {
            entries.iter().find_map(|(key, value)| placeholder_path(value, format!("{path}.{key}")))
        }
        Data::Array(items) => {
            let mut items = items.iter().enumerate();
            items.find_map(|(i, item)| placeholder_path(item, format!("{path}[{i}]")))
        }
        _ => None,
    }
}

fn json_size(data: &Data, attachments: &mut usize) -> usize {
    match data {
        Data::Null => 4,
        Data::Bool(b) => {
            if *b {
                4
            } else {
                5
            }
        }
        Data::Number(number) => number_size(number),
        Data::String(text) => text_size(text),
        Data::Binary(bytes) => {
            let placeholder = r#"{"_placeholder":true,"num":}"#.len() + digits(*attachments);
            *attachments += 1;
            placeholder + bytes.len()
        }
        Data::Array(items) => {
            let inner: usize = items.iter().map(|item| json_size(item, attachments)).sum();
            2 + inner + items.len().saturating_sub(1)
        }
        Data::Object(entries) => {
            let inner: usize = entries
                .iter()
                .map(|(key, value)| text_size(key) + 1 + json_size(value, attachments))
                .sum();
            2 + inner + entries.len().saturating_sub(1)
        }
    }
}

fn number_size(number: &serde_json::Number) -> usize {
    let mut size = Size(0);
    // A `Size` takes any text.
    let _ = write!(size, "{number}");
    size.0
}

/// Counts the bytes of the text that is written to it.
struct Size(usize);

impl fmt::Write for Size {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

/// The length of a JSON string in bytes, including quotes and escapes.
fn text_size(text: &str) -> usize {
    let escapes = text.bytes().map(|byte| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 1,
        0..=0x1f => 5,
        _ => 0,
    });
    2 + text.len() + escapes.sum::<usize>()
}

fn digits(n: usize) -> usize {
    n.checked_ilog10().map_or(1, |log| log as usize + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn args(json: &str) -> Vec<Data> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn wire_size_is_the_length_of_the_packet() {
        let size = |namespace, json| wire_size(namespace, "e", &args(json));
        assert_eq!(size("/", r#"["a\n\u0001é",{"k":[1,-2.5,null,true,false]},[],{}]"#), {
            r#"42["e","a\n\u0001é",{"k":[1,-2.5,null,true,false]},[],{}]"#.len()
        });
        assert_eq!(size("/chat", "[]"), r#"42/chat,["e"]"#.len());
        assert_eq!(
            size("/chat", r#"[{"$binary":"AAEC"},[{"$binary":"AA=="}]]"#),
            r#"452-/chat,["e",{"_placeholder":true,"num":0},[{"_placeholder":true,"num":1}]]"#
                .len()
                + 4
        );
    }

    proptest! {
        #[test]
        fn text_size_is_the_length_of_the_serialized_string(text in any::<String>()) {
            prop_assert_eq!(text_size(&text), serde_json::to_string(&text).unwrap().len());
        }
    }

    #[test]
    fn placeholders_are_ambiguous_only_next_to_binary() {
        let fake = r#"{"_placeholder":true,"num":0}"#;
        assert_eq!(ambiguous_placeholder(&args(&format!("[{fake}]"))), None);
        let both = args(&format!(r#"[{{"$binary":""}},{{"a":[1,{fake}]}}]"#));
        assert_eq!(ambiguous_placeholder(&both).as_deref(), Some("args[1].a[1]"));
        assert_eq!(
            ambiguous_placeholder(&args(r#"[{"$binary":""},{"_placeholder":false}]"#)),
            None
        );
    }
}
