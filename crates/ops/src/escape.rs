//! Escapes text from outside, so that it can neither control a terminal nor forge a line of the log.

use std::fmt::{self, Write};

/// Whether a character must not be printed as it is: control characters, format characters,
/// direction marks and line separators (Unicode 16: categories Cc, Cf, Zl, Zp) and variation
/// selectors, whose width terminals do not agree on.
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
            | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Escapes the characters that are [unsafe](is_unsafe) as `\u{…}`; line ends and tabs as `\n`, `\r`
/// and `\t`.
pub fn text(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    // Writing to a String cannot fail.
    let _ = write_text(&mut escaped, text);
    escaped
}

/// Like [`text`], but keeps the lines of a text that has several.
pub fn lines(several: &str) -> String {
    several.split('\n').map(text).collect::<Vec<_>>().join("\n")
}

/// Writes what [`text`] makes of `text`.
///
/// # Errors
/// Fails if `out` does.
pub fn write_text(out: &mut dyn Write, text: &str) -> fmt::Result {
    let mut rest = text;
    while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_unsafe(*c)) {
        out.write_str(&rest[..at])?;
        match c {
            '\n' | '\r' | '\t' => write!(out, "{}", c.escape_default())?,
            c => write!(out, "{}", c.escape_unicode())?,
        }
        rest = &rest[at + c.len_utf8()..];
    }
    out.write_str(rest)
}

/// Escapes the characters that are [unsafe](is_unsafe) in a JSON document as `\uXXXX`, so that its
/// meaning is unchanged. White space is kept.
///
/// Source: RFC 8259, section 7; outside of strings, JSON is ASCII.
pub fn json(document: &str) -> String {
    let mut escaped = String::with_capacity(document.len());
    for c in document.chars() {
        if matches!(c, '\n' | '\r' | '\t') || !is_unsafe(c) {
            escaped.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "\\u{unit:04x}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_control_a_terminal_are_escaped() {
        assert_eq!(text("a\u{1b}[2Jb"), r"a\u{1b}[2Jb");
        assert_eq!(text("a\nb\u{9b}c\u{7f}\t\r"), r"a\nb\u{9b}c\u{7f}\t\r");
        assert_eq!(
            text("a\u{202e}b\u{200d}\u{2066}\u{2028}"),
            r"a\u{202e}b\u{200d}\u{2066}\u{2028}"
        );
        assert_eq!(lines("a\n\u{1b}b\r\n"), "a\n\\u{1b}b\\r\n");
        assert_eq!(text("房间 é / 50% \"\\"), "房间 é / 50% \"\\");
    }

    #[test]
    fn an_escaped_json_document_has_the_same_meaning() {
        let names = ["a\u{9b}2J\u{7f}", "b\u{202e}c\u{2028}", "d\u{e0041}", "房间 é\n\t/ 50%"];
        let document = serde_json::to_string(&names).unwrap();
        let escaped = json(&document);
        assert_eq!(
            escaped,
            r#"["a\u009b2J\u007f","b\u202ec\u2028","d\udb40\udc41","房间 é\n\t/ 50%"]"#
        );
        assert_eq!(serde_json::from_str::<Vec<String>>(&escaped).unwrap(), names);
        let spaced = "{\n\t\"rooms\": []\r\n}";
        assert_eq!(json(spaced), spaced);
        assert_eq!(json("no JSON \u{1b}[2J"), r"no JSON \u001b[2J");
    }

    #[test]
    fn nothing_that_is_unsafe_is_left() {
        for c in char::MIN..=char::MAX {
            let quoted = c.to_string();
            assert!(!text(&quoted).chars().any(is_unsafe), "{:?}", c);
            let document = serde_json::to_string(&quoted).unwrap();
            assert!(!json(&document).chars().any(is_unsafe), "{c:?}");
        }
    }
}
