//! Formats names and numbers for a terminal. Pure.

use unicode_width::UnicodeWidthChar as _;

/// Replaces the part of a name that does not fit.
const ELLIPSIS: char = '…';

/// The width of a text in columns.
pub(super) fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

fn columns(c: char) -> usize {
    c.width().unwrap_or(0)
}

/// Truncates a text to `max` columns in the middle: both ends of a name distinguish rooms.
pub(super) fn truncate_middle(text: &str, max: usize) -> String {
    if width(text) <= max {
        return text.to_owned();
    }
    let Some(rest) = max.checked_sub(1) else { return String::new() };
    let tail = rest / 2;
    let head = first(text.chars(), rest - tail);
    let tail: Vec<char> = first(text.chars().rev(), tail);
    head.into_iter().chain([ELLIPSIS]).chain(tail.into_iter().rev()).collect()
}

/// Truncates a text to `max` columns at the end.
pub(super) fn truncate(text: &str, max: usize) -> String {
    first(text.chars(), max).into_iter().collect()
}

fn first(chars: impl Iterator<Item = char>, max: usize) -> Vec<char> {
    let mut taken = 0;
    let fits = |c: &char| {
        taken += columns(*c);
        taken <= max
    };
    chars.take_while(fits).collect()
}

/// Formats a time in seconds with a unit of its magnitude.
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

/// Formats a number, in thousands (k) or millions (M) when it is large.
pub(super) fn number(n: f64) -> String {
    match n {
        n if n < 99_999.5 => format!("{n:.0}"),
        n if n < 999_500.0 => format!("{:.0}k", n / 1e3),
        n if n < 99_950_000.0 => format!("{:.1}M", n / 1e6),
        n => format!("{:.0}M", n / 1e6),
    }
}

/// Formats a rate per second.
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
    fn long_names_are_truncated_in_the_middle() {
        assert_eq!(truncate_middle("workspace:app:editor", 11), "works…ditor");
        assert_eq!(truncate_middle("short", 5), "short");
        assert_eq!(truncate_middle("房间房间房间", 7), "房…间");
        assert!(width(&truncate_middle("房间房间房间", 7)) <= 7);
        assert_eq!(
            (truncate_middle("abc", 1).as_str(), truncate_middle("abc", 0).as_str()),
            ("…", "")
        );
        assert_eq!(truncate("房间房", 5), "房间");
    }

    #[test]
    fn numbers_have_a_unit_of_their_magnitude() {
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
