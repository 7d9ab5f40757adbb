//! [`Template`]: from a message to a room's name, so that two different tuples of values never
//! meet in one room; [`TextTemplate`] and [`ArgTemplate`] for what is published there.

use rookery_protocol::Data;
use rookery_protocol::{MAX_ROOM_BYTES, Room};

use super::parts::{Part, Separators, TemplateError, parts};
use super::refusal::{Code, Refusal};

/// A room template such as `{workspaceId}:{appId}`: text, and placeholders that are paths into
/// a message.
///
/// A separator is a character of the template's own text that is neither letter nor digit. A
/// value is percent-encoded (RFC 3986, section 2.1, of its UTF-8) where it holds a separator or
/// `%`, and nowhere else; a template that is one placeholder encodes nothing.
#[derive(Clone, Debug)]
pub struct Template {
    parts: Vec<Part>,
    separators: Separators,
}

impl Template {
    /// Reads a room template.
    ///
    /// # Errors
    /// Braces that do not pair, an empty path, two placeholders with no separator between them
    /// (different values would meet in one room), `%` next to a placeholder (it is the
    /// encoding's own), text longer than a room's name may be.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let parts = parts(text)?;
        require_paths(&parts)?;
        let separators = Separators::of(&parts)?;
        Ok(Template { parts, separators })
    }

    /// The room that `body` means.
    ///
    /// # Errors
    /// `bad_request` where `body` is no object; `room_invalid`, naming the placeholder, where a
    /// value is missing, empty, or neither text nor a number, or where the name would hold a NUL
    /// or be longer than [`MAX_ROOM_BYTES`].
    pub fn room(&self, body: &Data) -> Result<Room, Refusal> {
        let mut room = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => room.push_str(text),
                Part::Placeholder(path) => {
                    let value = value(body, path, Code::RoomInvalid)?;
                    self.separators.encode(&value, &mut room);
                }
            }
        }
        if room.contains('\0') {
            return Err(Refusal::new(Code::RoomInvalid, "a room's name cannot hold a NUL"));
        }
        if room.len() > MAX_ROOM_BYTES {
            let message = format!(
                "a room's name has at most {MAX_ROOM_BYTES} bytes, this one would have {}",
                room.len()
            );
            return Err(Refusal::new(Code::RoomInvalid, message));
        }
        Ok(room.into())
    }
}

/// A template of an event's name: its values are put in as they are.
#[derive(Clone, Debug)]
pub struct TextTemplate {
    parts: Vec<Part>,
}

impl TextTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// Braces that do not pair, an empty path, or no text at all.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let parts = parts(text)?;
        require_paths(&parts)?;
        if parts.is_empty() {
            return Err(TemplateError::Empty);
        }
        Ok(TextTemplate { parts })
    }

    /// The text that `body` gives.
    ///
    /// # Errors
    /// `bad_request` where `body` is no object, or a value, which the message names, is missing,
    /// empty, or neither text nor a number.
    pub fn text(&self, body: &Data) -> Result<String, Refusal> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(own) => text.push_str(own),
                Part::Placeholder(path) => text.push_str(&value(body, path, Code::BadRequest)?),
            }
        }
        Ok(text)
    }

    /// The text, where it is the same for every message.
    pub fn constant(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }
}

/// A template of a published argument.
#[derive(Clone, Debug)]
pub struct ArgTemplate {
    parts: Vec<Part>,
}

impl ArgTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// Braces that do not pair, or an empty path.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let parts = parts(text)?;
        require_paths(&parts)?;
        Ok(ArgTemplate { parts })
    }

    /// The argument: of a template that is one placeholder the value itself (`null` where it is
    /// missing), else text, in which text, numbers and booleans appear as they are written and
    /// anything else as nothing.
    pub fn value(&self, body: &Data) -> Data {
        if let [Part::Placeholder(path)] = self.parts.as_slice() {
            return lookup(body, path).cloned().unwrap_or(Data::Null);
        }
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(own) => text.push_str(own),
                Part::Placeholder(path) => match lookup(body, path) {
                    Some(Data::String(value)) => text.push_str(value),
                    Some(Data::Number(number)) => text.push_str(&number.to_string()),
                    Some(Data::Bool(value)) => text.push_str(&value.to_string()),
                    _ => {}
                },
            }
        }
        Data::String(text)
    }
}

fn require_paths(parts: &[Part]) -> Result<(), TemplateError> {
    for part in parts {
        let Part::Placeholder(path) = part else { continue };
        if path.ends_with('*') {
            return Err(TemplateError::Star(path.clone()));
        }
        if path.split('.').any(|field| field.is_empty() || field.trim() != field) {
            return Err(TemplateError::Path(path.clone()));
        }
    }
    Ok(())
}

/// The value at a path of fields, where there is one.
pub(super) fn lookup<'a>(body: &'a Data, path: &str) -> Option<&'a Data> {
    path.split('.').try_fold(body, |data, field| data.get(field))
}

/// The text of the value at `path`, or why it has none, with `code` where the value is at fault.
fn value(body: &Data, path: &str, code: Code) -> Result<String, Refusal> {
    if !matches!(body, Data::Object(_)) {
        let message = format!("expected an object with the field `{path}`, found {}", kind(body));
        return Err(Refusal::new(Code::BadRequest, message));
    }
    let problem = match lookup(body, path) {
        Some(Data::String(text)) if text.is_empty() => "is empty".to_owned(),
        Some(Data::String(text)) => return Ok(text.clone()),
        Some(Data::Number(number)) => return Ok(number.to_string()),
        Some(other) => format!("is {}", kind(other)),
        None => "is missing".to_owned(),
    };
    Err(Refusal::new(code, format!("`{path}` {problem}; send text or a number")))
}

/// What a value is, in words.
pub(super) fn kind(data: &Data) -> &'static str {
    match data {
        Data::Null => "null",
        Data::Bool(_) => "a boolean",
        Data::Number(_) => "a number",
        Data::String(_) => "text",
        Data::Binary(_) => "binary",
        Data::Array(_) => "an array",
        Data::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Number;

    use super::*;

    fn object(fields: &[(&str, Data)]) -> Data {
        Data::Object(fields.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect())
    }

    fn room(template: &str, body: &Data) -> Result<Room, Refusal> {
        Template::parse(template).unwrap().room(body)
    }

    #[test]
    fn values_are_put_into_the_room_by_their_paths() {
        let payload = object(&[("workspaceId", "w1".into()), ("appId", "a1".into())]);
        let body = object(&[("payload", payload)]);
        let made = room("{payload.workspaceId}:{payload.appId}", &body).unwrap();
        assert_eq!(&*made, "w1:a1");
        assert_eq!(&*room("lobby", &Data::Null).unwrap(), "lobby");
    }

    #[test]
    fn separators_and_percent_are_encoded() {
        let body = object(&[("a", "x:y%z-ä".into()), ("b", "1→2".into())]);
        assert_eq!(&*room("{a}:{b}", &body).unwrap(), "x%3Ay%25z-ä:1→2");
        assert_eq!(&*room("{a}→{b}", &body).unwrap(), "x:y%25z-ä→1%E2%86%922");
        assert_eq!(&*room("user-{a}", &body).unwrap(), "user-x:y%25z%2Dä");
    }

    #[test]
    fn letters_and_digits_of_the_template_are_no_separators() {
        let body = object(&[("id", "room7".into())]);
        assert_eq!(&*room("room{id}7", &body).unwrap(), "roomroom77");
    }

    #[test]
    fn a_template_that_is_one_placeholder_encodes_nothing() {
        let body = object(&[("room", "50%: a-b".into())]);
        assert_eq!(&*room("{room}", &body).unwrap(), "50%: a-b");
    }

    #[test]
    fn numbers_appear_as_json_writes_them() {
        let number = |text: &str| Data::Number(serde_json::from_str::<Number>(text).unwrap());
        for text in ["0", "-7", "1.5", "9007199254740993", "18446744073709551615"] {
            assert_eq!(&*room("{id}", &object(&[("id", number(text))])).unwrap(), text);
        }
        let negative = object(&[("id", number("-7"))]);
        assert_eq!(&*room("a-{id}", &negative).unwrap(), "a-%2D7");
    }

    #[test]
    fn values_that_are_neither_text_nor_number_are_room_invalid() {
        let values = [
            ("".into(), "empty"),
            (Data::Null, "null"),
            (Data::Bool(true), "boolean"),
            (Data::Array(vec!["x".into()]), "array"),
            (object(&[("x", "y".into())]), "object"),
            (Data::Binary(bytes::Bytes::from_static(b"x")), "binary"),
        ];
        for (value, what) in values {
            let refusal =
                room("a:{p.id}", &object(&[("p", object(&[("id", value)]))])).unwrap_err();
            assert_eq!(refusal.code, Code::RoomInvalid);
            assert!(refusal.message.contains("`p.id`"), "{refusal}");
            assert!(refusal.message.contains(what), "{refusal}");
        }
        for body in [object(&[]), object(&[("p", "text".into())])] {
            let refusal = room("a:{p.id}", &body).unwrap_err();
            assert_eq!(refusal.code, Code::RoomInvalid);
            assert!(refusal.message.contains("`p.id` is missing"), "{refusal}");
        }
    }

    #[test]
    fn a_body_that_is_no_object_is_a_bad_request() {
        for body in [Data::Null, "w:a".into(), Data::Array(vec![]), Data::Bool(true)] {
            assert_eq!(room("{room}", &body).unwrap_err().code, Code::BadRequest);
        }
    }

    #[test]
    fn a_room_has_at_most_255_bytes_once_encoded() {
        let body = |length| object(&[("a", "é".repeat(length).into())]);
        assert_eq!(room("x{a}", &body(127)).unwrap().len(), 255);
        assert_eq!(room("xx{a}", &body(127)).unwrap_err().code, Code::RoomInvalid);
        let encoded = object(&[("a", ":".repeat(85).into())]);
        assert_eq!(room("{a}", &encoded).unwrap().len(), 85);
        assert_eq!(room(":{a}", &encoded).unwrap_err().code, Code::RoomInvalid);
    }

    #[test]
    fn a_nul_is_room_invalid() {
        let refusal = room("{a}", &object(&[("a", "x\0".into())])).unwrap_err();
        assert_eq!(refusal.code, Code::RoomInvalid);
    }

    #[test]
    fn of_a_field_that_is_written_twice_the_last_counts() {
        let body = object(&[("a", "first".into()), ("a", "last".into())]);
        assert_eq!(&*room("{a}", &body).unwrap(), "last");
    }

    #[test]
    fn templates_that_cannot_be_understood_are_refused() {
        use TemplateError::*;
        let cases = [
            ("", Empty),
            ("a{b", Unclosed(1)),
            ("a{b{c}", Unclosed(1)),
            ("a}b", Unopened(1)),
            ("{}", Path("".into())),
            ("{a..b}", Path("a..b".into())),
            ("{ a }", Path(" a ".into())),
            ("{a*}", Star("a*".into())),
            ("{a}{b}", Ambiguous("a".into(), "b".into())),
            ("{a}x{b}", Ambiguous("a".into(), "b".into())),
            (":{a}1{b}", Ambiguous("a".into(), "b".into())),
            ("{a}%{b}", Percent),
        ];
        for (text, error) in cases {
            assert_eq!(Template::parse(text).unwrap_err(), error, "{text}");
        }
        assert_eq!(Template::parse(&"x".repeat(256)).unwrap_err(), TooLong(256));
    }

    #[test]
    fn texts_are_not_encoded_and_fail_as_bad_requests() {
        let template = TextTemplate::parse("{kind}:{id}%").unwrap();
        let body = object(&[("kind", "a:b".into()), ("id", Data::Number(3.into()))]);
        assert_eq!(template.text(&body).unwrap(), "a:b:3%");
        assert_eq!(template.constant(), None);
        let refusal = template.text(&object(&[("kind", "x".into())])).unwrap_err();
        assert_eq!(refusal.code, Code::BadRequest);
        assert!(refusal.message.contains("`id`"));
        assert_eq!(TextTemplate::parse("news").unwrap().constant(), Some("news"));
        assert_eq!(TextTemplate::parse("").unwrap_err(), TemplateError::Empty);
    }

    #[test]
    fn an_argument_that_is_one_placeholder_is_the_value_itself() {
        let inner = object(&[("deep", Data::Array(vec![Data::Bool(true)]))]);
        let body = object(&[("data", inner.clone()), ("n", Data::Number(1.into()))]);
        let value = |text: &str| ArgTemplate::parse(text).unwrap().value(&body);
        assert_eq!(value("{data}"), inner);
        assert_eq!(value("{n}"), Data::Number(1.into()));
        assert_eq!(value("{missing.field}"), Data::Null);
        assert_eq!(value("n is {n}, x is {x}"), "n is 1, x is ".into());
        assert_eq!(value(""), "".into());
        assert_eq!(ArgTemplate::parse("{data}").unwrap().value(&Data::Null), Data::Null);
    }

    fn values() -> impl Strategy<Value = (String, String, String)> {
        ("[:%/a-c0-9A→]{1,8}", "[:%/a-c0-9A→]{1,8}", "\\PC{1,8}")
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in ".*", braces in "[{}a.:%*→]{0,16}") {
            for text in [text, braces] {
                let _ = Template::parse(&text);
                let _ = TextTemplate::parse(&text);
                let _ = ArgTemplate::parse(&text);
            }
        }

        #[test]
        fn any_template_gives_rooms_or_refusals(
            text in "[{}ab.:→]{1,12}",
            a in "\\PC{0,300}",
            b in any::<f64>(),
        ) {
            let body = object(&[
                ("a", Data::String(a)),
                ("b", Number::from_f64(b).map_or(Data::Null, Data::Number)),
            ]);
            if let Ok(room) = Template::parse(&text).map_or(Ok("".into()), |t| t.room(&body)) {
                prop_assert!(room.len() <= MAX_ROOM_BYTES);
            }
        }

        #[test]
        fn different_values_never_meet(
            text in prop::sample::select(vec![
                "{a}:{b}/{c}", "{a}:x:{b}1:{c}", "{a}→{b}::{c}", "x{a} {b}: {c}y",
            ]),
            one in values(),
            two in values(),
        ) {
            let template = Template::parse(text).unwrap();
            let body = |(a, b, c): &(String, String, String)| object(&[
                ("a", a.as_str().into()), ("b", b.as_str().into()), ("c", c.as_str().into()),
            ]);
            let rooms = (template.room(&body(&one)), template.room(&body(&two)));
            if let (Ok(first), Ok(second)) = rooms {
                prop_assert_eq!(one == two, first == second);
            }
        }

        /// Where one character wanders from one value to the next, a missing escape shows.
        #[test]
        fn values_cut_elsewhere_never_meet(joined in "[:%3A25ab]{2,10}", i in 1..9usize, j in 1..9usize) {
            let template = Template::parse("{a}:{b}").unwrap();
            let cut = |at: usize| {
                let (a, b) = joined.split_at(at.min(joined.len() - 1));
                object(&[("a", a.into()), ("b", b.into())])
            };
            let (i, j) = (i.min(joined.len() - 1), j.min(joined.len() - 1));
            let (first, second) = (template.room(&cut(i)).unwrap(), template.room(&cut(j)).unwrap());
            prop_assert_eq!(i == j, first == second);
        }
    }
}
