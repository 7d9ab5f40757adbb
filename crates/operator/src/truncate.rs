//! [`truncate`]: fits a text into a field of the Kubernetes API.

/// The text, at most `max` bytes long; one that was cut ends with `…`.
pub(super) fn truncate(mut text: String, max: usize) -> String {
    if text.len() > max {
        text.truncate(text.floor_char_boundary(max.saturating_sub('…'.len_utf8())));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters_and_says_so() {
        assert_eq!(truncate("abcdef".to_owned(), 6), "abcdef");
        assert_eq!(truncate("abcdefg".to_owned(), 6), "abc…");
        assert_eq!(truncate("éééé".to_owned(), 6), "é…");
    }
}
