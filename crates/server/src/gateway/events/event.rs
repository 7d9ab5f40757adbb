//! An [`Event`] of a client.

use std::borrow::Cow;

use rookery_protocol::Data;

/// A longer name of an event is cut off where only the name is read, in bytes.
const MAX_NAME: usize = 255;

/// An event as the client sent it.
pub struct Event {
    /// The event's name.
    pub name: String,
    /// The event's arguments.
    pub args: Vec<Data>,
    /// The id of the acknowledgement that the client asked for.
    pub ack: Option<u64>,
}

/// The name of an event from the text of its arguments, `["name",…]`, without reading the rest;
/// empty if there is none.
pub fn name_of(args: &str) -> String {
    let first = args.trim_start().strip_prefix('[').unwrap_or_default();
    let mut values = serde_json::Deserializer::from_str(first).into_iter::<Cow<'_, str>>();
    let name = values.next().and_then(Result::ok).unwrap_or_default();
    name[..name.floor_char_boundary(MAX_NAME)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_read_without_the_arguments() {
        assert_eq!(name_of(r#"["chat",{"not":"read"#), "chat");
        assert_eq!(name_of(r#" [ "a\"b" ]"#), "a\"b");
        assert_eq!(name_of(r#"["\u00fc"]"#), "ü");
        for none in ["", "[]", "[1]", "{}", r#"["open"#] {
            assert_eq!(name_of(none), "", "{none}");
        }
        let long = format!("[\"{}\"]", "ü".repeat(1_000));
        assert_eq!(name_of(&long), "ü".repeat(127));
    }
}
