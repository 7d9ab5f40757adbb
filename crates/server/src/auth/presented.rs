//! Tokens as clients present them: often with the scheme of the `Authorization` header, blanks or a
//! line end around them. Pure.

/// The scheme of bearer tokens (RFC 6750, section 2.1), which is matched in any case (RFC 9110,
/// section 11.1).
const SCHEME: &str = "bearer";

/// The token in `text`, without white space and the scheme `Bearer` around it; empty if there is
/// nothing else.
pub fn bare_token(text: &str) -> &str {
    let mut token = trimmed(text);
    while let Some(rest) = without_scheme(token) {
        token = trimmed(rest);
    }
    token
}

/// The token of an `Authorization` header; `None` for another scheme.
pub fn bearer_token(header: &str) -> Option<&str> {
    without_scheme(trimmed(header)).map(bare_token)
}

/// What follows the scheme, which white space or the end of the text must end.
fn without_scheme(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_at_checked(SCHEME.len())?;
    let ends = rest.chars().next().is_none_or(is_blank);
    (ends && scheme.eq_ignore_ascii_case(SCHEME)).then_some(rest)
}

fn trimmed(text: &str) -> &str {
    text.trim_matches(is_blank)
}

/// White space, NUL, and the byte order mark that some editors write at the start of a file.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || c == '\0' || c == '\u{feff}'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_and_white_space_around_a_token_are_taken_off() {
        for text in [
            "a.b.c",
            " a.b.c\r\n",
            "\ta.b.c\u{feff}",
            "Bearer a.b.c",
            "BEARER  a.b.c ",
            "bearer\ta.b.c\n",
            "\nbEaReR\r\n\ta.b.c",
            "Bearer bearer a.b.c",
        ] {
            assert_eq!(bare_token(text), "a.b.c", "{text:?}");
        }
        for text in ["Bearera.b.c", "bearer.b.c", "Basic a.b.c", "a b", "Bear", "é"] {
            assert_eq!(bare_token(text), text, "{text:?}");
        }
    }

    #[test]
    fn nothing_but_a_scheme_and_white_space_is_no_token() {
        for text in ["", " ", "\r\n", "Bearer", "bearer ", " BEARER\n", "Bearer Bearer"] {
            assert_eq!(bare_token(text), "", "{text:?}");
        }
    }

    #[test]
    fn a_header_of_another_scheme_holds_no_token() {
        assert_eq!(bearer_token("bearer\t x "), Some("x"));
        assert_eq!(bearer_token("Bearer"), Some(""));
        for header in ["", "x", "Basic x", "Bearerx y"] {
            assert_eq!(bearer_token(header), None, "{header:?}");
        }
    }
}
