//! [`Pattern`]: a room template in reverse, from a room's name to its values.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::parts::{Part, Separators, TemplateError, parts};

/// The variables of CEL that no capture may hide: those that tell who a client is, and in what
/// namespace.
const NOT_HIDDEN: [&str; 2] = ["claims", "nsp"];

/// The texts that a pattern captures; most patterns have at most four captures.
pub(super) type Slices<'r> = SmallVec<[&'r str; 4]>;

/// A room pattern such as `{workspace}:{app}`.
///
/// A capture matches one or more characters that are not separators of the pattern; one capture
/// may be written `{name*}` and matches separators too. Captured values are decoded as
/// [`Template`](crate::Template) encodes them. Matching takes time linear in the length of the
/// room's name.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    /// The text before, between and after the captures: one more than there are captures.
    literals: Vec<String>,
    names: Vec<String>,
    star: Option<usize>,
    separators: Separators,
}

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// Fails where [`Template::parse`](crate::Template::parse) does, and for captures that are not
    /// identifiers, repeat a name or shadow `claims` or `nsp`, and for more than one `{name*}`.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let parts = parts(text)?;
        let separators = Separators::of(&parts)?;
        let mut literals = vec![String::new()];
        let mut names: Vec<String> = Vec::new();
        let mut star = None;
        for part in parts {
            match part {
                Part::Text(text) => *literals.last_mut().expect("starts with one") = text,
                Part::Placeholder(placeholder) => {
                    let name = match placeholder.strip_suffix('*') {
                        Some(_) if star.is_some() => return Err(TemplateError::Stars),
                        Some(name) => {
                            star = Some(names.len());
                            name
                        }
                        None => &placeholder,
                    };
                    require_name(name, &names)?;
                    names.push(name.to_owned());
                    literals.push(String::new());
                }
            }
        }
        Ok(Pattern { text: text.to_owned(), literals, names, star, separators })
    }

    /// The pattern as it is configured.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// A name that matches, for trials.
    pub(super) fn example(&self) -> String {
        self.literals.join("example")
    }

    /// The pattern as a glob of Redis, which matches all names that it matches, and others: each
    /// capture is `*`. `escape` keeps what the text has of a glob's own characters.
    pub fn glob(&self, escape: impl Fn(&str) -> String) -> String {
        self.literals.iter().map(|text| escape(text)).collect::<Vec<_>>().join("*")
    }

    /// The names of the captures, in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether `room` matches: [`Pattern::matches`] without the captures.
    pub fn is_match(&self, room: &str) -> bool {
        self.slices(room).is_some()
    }

    /// The captures of `room`; `None` if it does not match.
    pub fn matches<'p>(&'p self, room: &'p str) -> Option<Captures<'p>> {
        self.slices(room).map(|slices| self.captures(slices))
    }

    /// The captures, decoded from the texts that [`Pattern::slices`] found.
    pub(super) fn captures<'p>(&'p self, slices: Slices<'p>) -> Captures<'p> {
        let values = slices.into_iter().map(|slice| self.separators.decode(slice)).collect();
        Captures { names: &self.names, values }
    }

    /// The text of each capture, still encoded.
    ///
    /// Captures before `{name*}` are read forwards and those after it backwards, which leaves the
    /// rest for it; without one, everything is read forwards.
    pub(super) fn slices<'r>(&self, room: &'r str) -> Option<Slices<'r>> {
        let (first, last) = (self.literals.first()?, self.literals.last()?);
        if self.names.is_empty() {
            return (room == first).then(Slices::new);
        }
        // Comparing with an empty literal was measured at 90 ns: `memcmp` is slow for the pointer
        // of a `String` without memory.
        let mut rest = room;
        if !first.is_empty() {
            rest = rest.strip_prefix(first.as_str())?;
        }
        if !last.is_empty() {
            rest = rest.strip_suffix(last.as_str())?;
        }
        let whole = self.star.unwrap_or(self.names.len() - 1);
        let mut slices = Slices::new();
        for literal in &self.literals[1..=whole] {
            let (capture, after) = self.next(rest, literal)?;
            slices.push(capture);
            rest = after;
        }
        let mut backwards = Slices::new();
        for literal in self.literals[whole + 1..self.names.len()].iter().rev() {
            let (before, capture) = self.next_back(rest, literal)?;
            backwards.push(capture);
            rest = before;
        }
        let separated = self.star.is_none() && self.separators.find(rest).is_some();
        if rest.is_empty() || separated {
            return None;
        }
        slices.push(rest);
        slices.extend(backwards.into_iter().rev());
        Some(slices)
    }

    /// Splits `rest` into a capture, `literal`, and the remainder. The literal holds a separator
    /// and the capture does not, so the first separator of `rest` is the literal's first.
    fn next<'r>(&self, rest: &'r str, literal: &str) -> Option<(&'r str, &'r str)> {
        let lead = self.separators.find(literal)?;
        let start = self.separators.find(rest)?.checked_sub(lead)?;
        let (capture, after) = (rest.get(..start)?, rest.get(start..)?.strip_prefix(literal)?);
        (!capture.is_empty()).then_some((capture, after))
    }

    /// Splits `rest` into the remainder, `literal`, and a capture, from the end.
    fn next_back<'r>(&self, rest: &'r str, literal: &str) -> Option<(&'r str, &'r str)> {
        let is_separator = |c| self.separators.contains(c);
        let after_last = |text: &str| {
            let (at, separator) = text.char_indices().rfind(|(_, c)| is_separator(*c))?;
            Some(at + separator.len_utf8())
        };
        let trail = literal.len() - after_last(literal)?;
        let end = after_last(rest)? + trail;
        let (capture, before) = (rest.get(end..)?, rest.get(..end)?.strip_suffix(literal)?);
        (!capture.is_empty()).then_some((before, capture))
    }
}

/// The decoded values that a [`Pattern`] captured from a room's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captures<'p> {
    names: &'p [String],
    values: SmallVec<[Cow<'p, str>; 4]>,
}

impl<'p> Captures<'p> {
    /// The names of the captures, in the order of the pattern.
    pub(super) fn names(&self) -> &'p [String] {
        self.names
    }

    /// The value of the capture `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.names.iter().position(|own| own == name)?;
        self.values.get(at).map(|value| &**value)
    }

    /// Names and values, in the order of the pattern.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.names.iter().map(String::as_str).zip(self.values.iter().map(|value| &**value))
    }
}

fn require_name(name: &str, before: &[String]) -> Result<(), TemplateError> {
    let identifier = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
    if !identifier {
        return Err(TemplateError::Name(name.to_owned()));
    }
    if NOT_HIDDEN.contains(&name) {
        return Err(TemplateError::Hides(name.to_owned()));
    }
    if before.iter().any(|other| other == name) {
        return Err(TemplateError::Twice(name.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use rookery_protocol::Data;

    use super::*;
    use crate::template::Template;

    /// The captured values of `room`; `None` if it does not match.
    fn captured(pattern: &str, room: &str) -> Option<Vec<String>> {
        let pattern = Pattern::parse(pattern).unwrap();
        let captures = pattern.matches(room);
        assert_eq!(captures.is_some(), pattern.is_match(room));
        captures.map(|c| c.iter().map(|(_, value)| value.to_owned()).collect())
    }

    fn some(values: &[&str]) -> Option<Vec<String>> {
        Some(values.iter().map(|v| (*v).to_owned()).collect())
    }

    #[test]
    fn a_capture_matches_everything_but_separators() {
        assert_eq!(captured("{w}:{a}", "w1:a1"), some(&["w1", "a1"]));
        assert_eq!(captured("{w}:{a}", "w-1:ä /→"), some(&["w-1", "ä /→"]));
        for room in ["w1", "w1:", ":a1", "w1:a1:b1", "", ":"] {
            assert_eq!(captured("{w}:{a}", room), None, "{room}");
        }
    }

    #[test]
    fn literal_text_matches_only_itself() {
        assert_eq!(captured("lobby", "lobby"), some(&[]));
        assert_eq!(captured("lobby", "lobby2"), None);
        assert_eq!(captured("50%", "50%"), some(&[]));
        assert_eq!(captured("user-{id}x", "user-7x"), some(&["7"]));
        assert_eq!(captured("user-{id}x", "user-x"), None);
        assert_eq!(captured("user-{id}", "user-7-8"), None);
        assert_eq!(captured("{a}x:y{b}z", "1x:y2z"), some(&["1", "2"]));
        assert_eq!(captured("{a}x:y{b}z", "xx:yyzz"), some(&["x", "yz"]));
        assert_eq!(captured("{a}x:y{b}z", "x:y2z"), None);
        assert_eq!(captured("aba{x}aba", "abaaba"), None);
        assert_eq!(captured("{a}:/{b}", "1:2/3"), None);
    }

    #[test]
    fn a_pattern_of_one_placeholder_matches_every_room_undecoded() {
        assert_eq!(captured("{room}", "50%3A:x"), some(&["50%3A:x"]));
        assert_eq!(captured("{room*}", "50%3A:x"), some(&["50%3A:x"]));
        assert_eq!(captured("{room}", ""), None);
    }

    #[test]
    fn a_starred_capture_matches_separators_too() {
        assert_eq!(captured("org:{rest*}", "org:a:b:c"), some(&["a:b:c"]));
        assert_eq!(captured("{first*}:{last}", "a:b:c"), some(&["a:b", "c"]));
        assert_eq!(captured("{a}:{m*}:{z}", "1:2:3:4"), some(&["1", "2:3", "4"]));
        assert_eq!(captured("{a}:{m*}x:y{z}:end", "1:2:3x:y4:end"), some(&["1", "2:3", "4"]));
        assert_eq!(captured("{a}:{m*}:{z}", "1:2"), None);
        assert_eq!(captured("{a}:{m*}", "1:"), None);
        assert_eq!(captured("{a}:{m*}:{z}", "1::2"), None);
        assert_eq!(captured("{a}:{m*}:{z}", "1:::2"), some(&["1", ":", "2"]));
    }

    #[test]
    fn escapes_that_a_template_would_not_write_are_not_decoded() {
        assert_eq!(captured("{w}:{a}", "a%3Ab:c%25"), some(&["a:b", "c%"]));
        assert_eq!(captured("{w}:{a}", "a%3ab:%"), some(&["a%3ab", "%"]));
        assert_eq!(captured("{w}:{a}", "%41%2D:%zz%2"), some(&["%41%2D", "%zz%2"]));
        assert_eq!(captured("{w}→{a}", "1%E2%86%922→%E2%86"), some(&["1→2", "%E2%86"]));
        assert_eq!(captured("{w}:{a}", "%253A:x"), some(&["%3A", "x"]));
    }

    #[test]
    fn a_capture_is_found_by_its_name() {
        let pattern = Pattern::parse("{workspace}:{app_2}").unwrap();
        let captures = pattern.matches("w:a").unwrap();
        assert_eq!(captures.get("workspace"), Some("w"));
        assert_eq!(captures.get("app_2"), Some("a"));
        assert_eq!(captures.get("other"), None);
        assert_eq!(pattern.names(), ["workspace", "app_2"]);
    }

    #[test]
    fn malformed_patterns_are_refused() {
        use TemplateError::*;
        let cases = [
            ("", Empty),
            ("{a}{b}", Ambiguous("a".into(), "b".into())),
            ("{a*}{b}", Ambiguous("a*".into(), "b".into())),
            ("{a*}:{b*}", Stars),
            ("{a}:{a}", Twice("a".into())),
            ("{a}:{a*}", Twice("a".into())),
            ("{a.b}", Name("a.b".into())),
            ("{1a}", Name("1a".into())),
            ("{}", Name("".into())),
            ("{*}", Name("".into())),
            ("{a-b}", Name("a-b".into())),
            ("{claims}:{x}", Hides("claims".into())),
            ("{x}:{nsp}", Hides("nsp".into())),
            ("{a}%", Percent),
            ("{a", Unclosed(0)),
        ];
        for (text, error) in cases {
            assert_eq!(Pattern::parse(text).unwrap_err(), error, "{text}");
        }
    }

    const TEMPLATES: [&str; 6] =
        ["{a}:{b}/{c}", "{a}:x:{b}1:{c}", "x{a}→{b}::{c}y", "{a} {b}: {c}", "{c}-{a}", "{b}"];

    proptest! {
        #[test]
        fn parsing_and_matching_never_panic(
            text in ".*",
            braces in "[{}a-c:%*→x]{0,16}",
            room in "[a-c:%3A→x]{0,32}",
            any in ".{0,64}",
        ) {
            for pattern in [text, braces].iter().filter_map(|text| Pattern::parse(text).ok()) {
                let _ = pattern.matches(&room);
                let _ = pattern.matches(&any);
            }
        }

        #[test]
        fn a_pattern_recovers_the_values_of_its_template(
            text in prop::sample::select(TEMPLATES.to_vec()),
            a in "[:%/a-c0-9A→ -]{1,8}",
            b in "\\PC{1,8}",
            c in "[xy1:%25]{1,8}",
        ) {
            let values = [("a", &a), ("b", &b), ("c", &c)];
            let body = Data::Object(
                values.iter().map(|(k, v)| ((*k).into(), v.as_str().into())).collect(),
            );
            if let Ok(room) = Template::parse(text).unwrap().room(&body) {
                let pattern = Pattern::parse(text).unwrap();
                let captures = pattern.matches(&room);
                prop_assert!(captures.is_some(), "{} does not match {}", text, room);
                for (name, value) in captures.unwrap().iter() {
                    let (_, put_in) = values.iter().find(|(key, _)| *key == name).unwrap();
                    prop_assert_eq!(value, put_in.as_str());
                }
            }
        }

        /// Compares matches with the definition, tried on every way to split the room.
        #[test]
        fn a_match_agrees_with_the_definition(room in "[ab:x]{0,9}") {
            let captures = |pattern| captured(pattern, &room);
            let bounds: Vec<(usize, usize)> = (0..=room.len())
                .flat_map(|i| (i..=room.len()).map(move |j| (i, j)))
                .collect();
            let plain = |s: &str| !s.is_empty() && !s.contains(':');
            let two = bounds.iter().find_map(|&(i, j)| {
                let (a, middle, b) = (&room[..i], &room[i..j], &room[j..]);
                (middle == "x:" && plain(a) && plain(b)).then(|| vec![a.to_owned(), b.to_owned()])
            });
            prop_assert_eq!(captures("{a}x:{b}"), two);
            let star = bounds.iter().rev().find_map(|&(i, j)| {
                let (a, middle, b) = (&room[..i], &room[i..j], &room[j..]);
                (middle == ":x" && !a.is_empty() && plain(b))
                    .then(|| vec![a.to_owned(), b.to_owned()])
            });
            prop_assert_eq!(captures("{a*}:x{b}"), star);
        }
    }
}
