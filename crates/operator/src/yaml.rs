//! Writes YAML that both machines and people read back unchanged.

use serde::Serialize;

/// Serializes `value` as one document, with keys in their order. Multi-line strings use block style
/// and long lines are not folded.
pub fn text(value: &impl Serialize) -> String {
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    let mut text = String::new();
    serde_saphyr::to_fmt_writer_with_options(&mut text, value, options)
        .expect("plain data serializes, and writing to a String cannot fail");
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use rookery_config::tree::Node;
    use rookery_config::typed;

    /// Parses as `serve` does.
    fn read(text: &str) -> Value {
        let node = Node::parse(text).unwrap_or_else(|problem| panic!("{problem:?}:\n{text}"));
        typed::read(&node).unwrap_or_else(|problems| panic!("{problems:?}:\n{text}"))
    }

    #[test]
    fn ambiguous_strings_are_read_back_as_strings() {
        let words = [
            "",
            " ",
            "a ",
            " a",
            "on",
            "no",
            "true",
            "null",
            "~",
            "1",
            "1.5",
            "1e3",
            "0x1f",
            "08",
            "1:30",
            "2026-01-01",
            "- a",
            "a: b",
            "a #b",
            "#a",
            "{a}",
            "[a]",
            "*",
            "&a",
            "!a",
            "|",
            ">",
            "%",
            "@",
            "`",
            "'",
            "\"",
            "\\",
            "a\nb",
            "a\n",
            "a\n\n",
            "\na",
            "  a\n b",
            "a\tb",
            "\t",
            "\r\n",
            "\u{7f}",
            "\u{0}",
            "\u{85}",
            "\u{2028}",
            "\u{feff}",
            "é",
            "😀",
            "---",
            "...",
            "?",
            "a'b\"c",
        ];
        let value = json!({ "words": words.as_slice(), "keys": { "on": 1, "y": 2, "1": 3, "a b": 4, "": 5 } });
        assert_eq!(read(&text(&value)), value, "{}", text(&value));
        let long = json!({ "long": "one two  three ".repeat(30) });
        assert_eq!(read(&text(&long)), long);
        assert!(text(&json!({ "long": "a b ".repeat(99) + "c" })).lines().count() == 1);
    }

    proptest! {
        #[test]
        fn any_string_is_read_back_unchanged(key in "\\PC{1,20}", value in any::<String>()) {
            let value = json!({ key: [value] });
            prop_assert_eq!(read(&text(&value)), value);
        }
    }
}
