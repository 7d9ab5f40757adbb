//! Names and numbers as they are shown. Pure.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthChar as _;

/// What stands for the part of a name that does not fit.
const ELLIPSIS: char = '…';

/// A name that cannot steer a terminal: control characters, and others that are not seen but
/// move what is, are written as `\u{…}`.
pub(super) fn shown(name: &str) -> String {
    let mut shown = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            c if c.is_control() || is_unseen(c) => {
                // A text takes whatever is written to it.
                let _ = write!(shown, "{}", c.escape_unicode());
            }
            c => shown.push(c),
        }
    }
    shown
}

/// A JSON document that cannot steer a terminal and says the same: what [`shown`] spells out is
/// written as `\uXXXX`. White space stays.
///
/// Source: RFC 8259, section 7: beyond ASCII, outside of strings, is nothing.
pub(super) fn json(document: &str) -> String {
    let mut shown = String::with_capacity(document.len());
    for c in document.chars() {
        if matches!(c, '\n' | '\r' | '\t') || !(c.is_control() || is_unseen(c)) {
            shown.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // A text takes whatever is written to it.
            let _ = write!(shown, "\\u{unit:04x}");
        }
    }
    shown
}

/// Format characters, direction marks and line separators (Unicode 16: categories Cf, Zl, Zp) and
/// variation selectors, of which terminals do not agree how wide they are.
fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}'
        | '\u{8e2}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// How many columns a text takes.
pub(super) fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

fn columns(c: char) -> usize {
    c.width().unwrap_or(0)
}

/// The text in at most `most` columns, cut in the middle: both ends of a name tell rooms apart.
pub(super) fn cut(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let Some(rest) = most.checked_sub(1) else { return String::new() };
    let tail = rest / 2;
    let head = first(text.chars(), rest - tail);
    let tail: Vec<char> = first(text.chars().rev(), tail);
    head.into_iter().chain([ELLIPSIS]).chain(tail.into_iter().rev()).collect()
}

/// The start of a text in at most `most` columns.
pub(super) fn start(text: &str, most: usize) -> String {
    first(text.chars(), most).into_iter().collect()
}

fn first(chars: impl Iterator<Item = char>, most: usize) -> Vec<char> {
    let mut taken = 0;
    let fits = |c: &char| {
        taken += columns(*c);
        taken <= most
    };
    chars.take_while(fits).collect()
}

/// A time in seconds, in the unit that suits it.
pub(super) fn time(seconds: Option<f64>) -> String {
    let Some(seconds) = seconds else { return "-".to_owned() };
    let micros = seconds * 1e6;
    match micros {
        m if m < 999.5 => format!("{m:.0} µs"),
        m if m < 9_950.0 => format!("{:.1} ms", m / 1e3),
        m if m < 999_500.0 => format!("{:.0} ms", m / 1e3),
        m if m < 9_950_000.0 => format!("{:.1} s", m / 1e6),
        m => format!("{:.0} s", m / 1e6),
    }
}

/// A number of things, with k for thousands and M for millions where it is large.
pub(super) fn number(n: f64) -> String {
    match n {
        n if n < 99_999.5 => format!("{n:.0}"),
        n if n < 999_500.0 => format!("{:.0}k", n / 1e3),
        n if n < 99_950_000.0 => format!("{:.1}M", n / 1e6),
        n => format!("{:.0}M", n / 1e6),
    }
}

/// Things per second.
pub(super) fn rate(n: f64) -> String {
    match n {
        n if n > 0.0 && n < 0.995 => format!("{n:.2}"),
        n if n > 0.0 && n < 9.95 => format!("{n:.1}"),
        n => number(n),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_steer_a_terminal_is_spelled_out() {
        assert_eq!(shown("a\u{1b}[2Jb"), r"a\u{1b}[2Jb");
        assert_eq!(shown("a\nb\u{9b}c\u{7f}"), r"a\u{a}b\u{9b}c\u{7f}");
        assert_eq!(shown("a\u{202e}b\u{200d}"), r"a\u{202e}b\u{200d}");
        assert_eq!(shown("房间 é / 50%"), "房间 é / 50%");
    }

    #[test]
    fn documents_say_the_same_without_what_would_steer_a_terminal() {
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
    fn long_names_lose_their_middle_by_columns() {
        assert_eq!(cut("workspace:app:editor", 11), "works…ditor");
        assert_eq!(cut("short", 5), "short");
        assert_eq!(cut("房间房间房间", 7), "房…间");
        assert!(width(&cut("房间房间房间", 7)) <= 7);
        assert_eq!((cut("abc", 1).as_str(), cut("abc", 0).as_str()), ("…", ""));
        assert_eq!(start("房间房", 5), "房间");
    }

    #[test]
    fn numbers_have_the_unit_that_suits_them() {
        let times = [0.000_000_4, 0.000_312, 0.000_999_6, 0.0012, 0.045, 0.9999, 1.34, 12.3];
        let shown = times.map(|t| time(Some(t)));
        assert_eq!(
            shown,
            ["0 µs", "312 µs", "1.0 ms", "1.2 ms", "45 ms", "1.0 s", "1.3 s", "12 s"]
        );
        assert_eq!(time(None), "-");
        let rates = [0.0, 0.02, 3.25, 12.4, 99_999.0, 123_456.0, 1_234_567.0].map(rate);
        assert_eq!(rates, ["0", "0.02", "3.2", "12", "99999", "123k", "1.2M"]);
    }
}
