//! The [`Agreement`] on compressed messages in a WebSocket's handshake (RFC 7692, sections 5 and 7.1).

use std::borrow::Cow;

const NAME: &str = "permessage-deflate";

/// What a server agrees to of a client's offers: that messages may be compressed, each without a
/// context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// The offer asks for a bound of the window, which has to be confirmed.
    confirms_window: bool,
}

/// The parameters of an offer.
#[derive(Default)]
struct Offer {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    client_max_window_bits: Option<Option<u8>>,
}

impl Agreement {
    /// What is agreed to of the offers in these values of `Sec-WebSocket-Extensions`: the first one
    /// that can be. `None` where there is none, or a value is malformed.
    ///
    /// An offer is declined that has an unknown or repeated parameter or a wrong value, as RFC 7692
    /// requires (section 7), and one whose client wants a window of less than 32 KiB: what it would
    /// get are the bytes that are shared by all clients.
    pub fn of_offers<'a>(values: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let mut agreed = None;
        for value in values {
            for offer in offers(value)? {
                agreed = agreed.or_else(|| offer.and_then(Offer::accept));
            }
        }
        agreed
    }

    /// The value of `Sec-WebSocket-Extensions` in the answer.
    pub fn header(self) -> &'static str {
        match self.confirms_window {
            false => "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            true => {
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                 server_max_window_bits=15"
            }
        }
    }
}

impl Offer {
    /// Takes a parameter. `None`: the offer has to be declined.
    fn take(&mut self, name: &str, value: Option<&str>) -> Option<()> {
        let is_first = match name {
            "server_no_context_takeover" if value.is_none() => {
                !std::mem::replace(&mut self.server_no_context_takeover, true)
            }
            "client_no_context_takeover" if value.is_none() => {
                !std::mem::replace(&mut self.client_no_context_takeover, true)
            }
            "server_max_window_bits" => {
                self.server_max_window_bits.replace(window_bits(value?)?).is_none()
            }
            "client_max_window_bits" => {
                let bits = match value {
                    Some(value) => Some(window_bits(value)?),
                    None => None,
                };
                self.client_max_window_bits.replace(bits).is_none()
            }
            _ => false,
        };
        is_first.then_some(())
    }

    fn accept(self) -> Option<Agreement> {
        match self.server_max_window_bits {
            None => Some(Agreement { confirms_window: false }),
            Some(15) => Some(Agreement { confirms_window: true }),
            Some(_) => None,
        }
    }
}

/// 8 to 15, without a leading zero (RFC 7692, section 7.1.2).
fn window_bits(value: &str) -> Option<u8> {
    let is_number = !value.starts_with('0') && value.bytes().all(|b| b.is_ascii_digit());
    value.parse().ok().filter(|bits| is_number && (8..=15).contains(bits))
}

/// The offers of [`NAME`] in a value of the header, in order, with `None` for those that have to be
/// declined. `None` in place of all of them: the value is malformed (RFC 6455, section 9.1).
fn offers(value: &str) -> Option<Vec<Option<Offer>>> {
    let mut scanner = Scanner(value);
    let mut offers = Vec::new();
    loop {
        // A list may have empty elements (RFC 9110, section 5.6.1).
        while scanner.takes(',') {}
        if scanner.0.is_empty() {
            return Some(offers);
        }
        let is_deflate = scanner.token()? == NAME;
        let mut offer = Some(Offer::default());
        while scanner.takes(';') {
            let name = scanner.token()?;
            let value = if scanner.takes('=') { Some(scanner.value()?) } else { None };
            offer = offer.and_then(|mut offer| {
                offer.take(name, value.as_deref())?;
                Some(offer)
            });
        }
        if is_deflate {
            offers.push(offer);
        }
        if !scanner.0.is_empty() && !scanner.0.starts_with(',') {
            return None;
        }
    }
}

/// What is left of a header's value.
struct Scanner<'a>(&'a str);

impl<'a> Scanner<'a> {
    /// Takes this character and the white space around it, if it comes next.
    fn takes(&mut self, expected: char) -> bool {
        self.skip_space();
        let Some(rest) = self.0.strip_prefix(expected) else { return false };
        self.0 = rest;
        self.skip_space();
        true
    }

    fn skip_space(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }

    fn token(&mut self) -> Option<&'a str> {
        let end = self.0.bytes().position(|b| !is_token(b)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        (!token.is_empty()).then_some(token)
    }

    /// A token, or a quoted one.
    fn value(&mut self) -> Option<Cow<'a, str>> {
        let Some(quoted) = self.0.strip_prefix('"') else { return self.token().map(Cow::Borrowed) };
        let mut value = String::new();
        let mut chars = quoted.chars();
        loop {
            match chars.next()? {
                '"' => break,
                '\\' => value.push(chars.next()?),
                c => value.push(c),
            }
        }
        self.0 = chars.as_str();
        // What it stands for must be a token (RFC 6455, section 9.1).
        (!value.is_empty() && value.bytes().all(is_token)).then_some(Cow::Owned(value))
    }
}

/// Whether a token may have this byte (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str =
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

    fn answer(values: &[&str]) -> Option<&'static str> {
        Agreement::of_offers(values.iter().copied()).map(Agreement::header)
    }

    #[test]
    fn every_legal_offer_is_accepted_without_contexts() {
        for offer in [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate;client_max_window_bits=10",
            "permessage-deflate; client_max_window_bits=\"12\"",
            "permessage-deflate; client_max_window_bits=\"1\\2\"",
            "permessage-deflate ; server_no_context_takeover ; client_no_context_takeover",
            "\tpermessage-deflate\t",
            "x-webkit-deflate-frame, permessage-deflate; client_max_window_bits",
            "mux; max-channels=4; flow-control, permessage-deflate",
            "a; quoted=\"b\", permessage-deflate",
            ", ,permessage-deflate,,",
            "permessage-deflate; unknown, permessage-deflate",
            "permessage-deflate; server_max_window_bits=10, permessage-deflate",
        ] {
            assert_eq!(answer(&[offer]), Some(PLAIN), "{offer}");
        }
        assert_eq!(answer(&["mux", "permessage-deflate"]), Some(PLAIN), "two headers are a list");
    }

    #[test]
    fn a_full_window_that_the_client_asks_for_is_confirmed() {
        let confirmed = format!("{PLAIN}; server_max_window_bits=15");
        for offer in [
            "permessage-deflate; client_max_window_bits; server_max_window_bits=15",
            "permessage-deflate; server_max_window_bits=\"15\"",
            "permessage-deflate; server_max_window_bits=9, permessage-deflate; \
             server_max_window_bits=15, permessage-deflate",
        ] {
            assert_eq!(answer(&[offer]), Some(&*confirmed), "{offer}");
        }
    }

    #[test]
    fn other_offers_are_declined() {
        for offer in [
            "",
            "mux",
            "x-webkit-deflate-frame",
            "Permessage-Deflate",
            "permessage-deflate; server_max_window_bits=14",
            "permessage-deflate; server_max_window_bits=8",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; server_max_window_bits=015",
            "permessage-deflate; server_max_window_bits=+15",
            "permessage-deflate; server_max_window_bits=15; server_max_window_bits=15",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=16",
            "permessage-deflate; client_max_window_bits=x",
            "permessage-deflate; client_max_window_bits; client_max_window_bits=15",
            "permessage-deflate; server_no_context_takeover=true",
            "permessage-deflate; client_no_context_takeover=\"1\"",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
            "permessage-deflate; unknown",
            "permessage-deflate; client_max_window_bits; unknown=1",
        ] {
            assert_eq!(answer(&[offer]), None, "{offer}");
        }
    }

    #[test]
    fn a_malformed_value_offers_nothing() {
        for value in [
            ";",
            "permessage-deflate;",
            "permessage-deflate; ;",
            "permessage-deflate =",
            "permessage-deflate; client_max_window_bits=",
            "permessage-deflate; client_max_window_bits=\"",
            "permessage-deflate; client_max_window_bits=\"10",
            "permessage-deflate; client_max_window_bits=\"\"",
            "permessage-deflate; client_max_window_bits=\"1 0\"",
            "permessage-deflate; client_max_window_bits=10 11",
            "permessage-deflate permessage-deflate",
            "permessage-deflate, a;b=\"",
            "permessage-deflate, ü",
        ] {
            assert_eq!(answer(&[value]), None, "{value}");
        }
        assert_eq!(answer(&["permessage-deflate", "a b"]), None, "in another header");
    }
}
