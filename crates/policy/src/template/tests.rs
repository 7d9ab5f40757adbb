use proptest::prelude::*;
use serde_json::Number;

use super::*;

fn object(fields: &[(&str, Data)]) -> Data {
    Data::Object(fields.iter().map(|(k, v)| ((*k).into(), v.clone())).collect())
}

fn room(template: &str, body: &Data) -> Result<Room, Refusal> {
    Template::parse(template).unwrap().room(body)
}

#[test]
fn placeholders_are_filled_by_their_paths() {
    let payload = object(&[("workspaceId", "w1".into()), ("appId", "a1".into())]);
    let body = object(&[("payload", payload)]);
    let made = room("{payload.workspaceId}:{payload.appId}", &body).unwrap();
    assert_eq!(&*made, "w1:a1");
    assert_eq!(&*room("lobby", &Data::Null).unwrap(), "lobby");
}

#[test]
fn only_separators_and_percent_are_encoded() {
    let body = object(&[("a", "x:y%z-ä".into()), ("b", "1→2".into())]);
    assert_eq!(&*room("{a}:{b}", &body).unwrap(), "x%3Ay%25z-ä:1→2");
    assert_eq!(&*room("{a}→{b}", &body).unwrap(), "x:y%25z-ä→1%E2%86%922");
    assert_eq!(&*room("user-{a}", &body).unwrap(), "user-x:y%25z%2Dä");
}

#[test]
fn letters_and_digits_of_a_template_are_not_separators() {
    let body = object(&[("id", "room7".into())]);
    assert_eq!(&*room("room{id}7", &body).unwrap(), "roomroom77");
}

#[test]
fn a_template_of_one_placeholder_encodes_nothing() {
    let body = object(&[("room", "50%: a-b".into())]);
    assert_eq!(&*room("{room}", &body).unwrap(), "50%: a-b");
}

#[test]
fn numbers_are_written_as_in_json() {
    let number = |text: &str| Data::Number(serde_json::from_str::<Number>(text).unwrap());
    for text in ["0", "-7", "1.5", "9007199254740993", "18446744073709551615"] {
        assert_eq!(&*room("{id}", &object(&[("id", number(text))])).unwrap(), text);
    }
    let negative = object(&[("id", number("-7"))]);
    assert_eq!(&*room("a-{id}", &negative).unwrap(), "a-%2D7");
}

#[test]
fn values_that_are_neither_text_nor_a_number_are_room_invalid() {
    let values = [
        ("".into(), "empty"),
        (Data::Null, "null"),
        (Data::Bool(true), "boolean"),
        (Data::Array(vec!["x".into()]), "array"),
        (object(&[("x", "y".into())]), "object"),
        (Data::Binary(bytes::Bytes::from_static(b"x")), "binary"),
    ];
    for (value, what) in values {
        let refusal = room("a:{p.id}", &object(&[("p", object(&[("id", value)]))])).unwrap_err();
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
fn a_body_that_is_not_an_object_is_a_bad_request() {
    for body in [Data::Null, "w:a".into(), Data::Array(vec![]), Data::Bool(true)] {
        assert_eq!(room("{room}", &body).unwrap_err().code, Code::BadRequest);
    }
}

#[test]
fn the_encoded_name_of_a_room_has_at_most_255_bytes() {
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
fn the_last_of_two_fields_with_one_name_counts() {
    let body = object(&[("a", "first".into()), ("a", "last".into())]);
    assert_eq!(&*room("{a}", &body).unwrap(), "last");
}

#[test]
fn malformed_templates_are_refused() {
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
fn text_templates_encode_nothing_and_fail_as_bad_requests() {
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
fn an_argument_template_of_one_placeholder_gives_the_value_itself() {
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
    fn no_template_makes_a_room_name_that_is_too_long(
        text in "[{}ab.:→]{1,12}",
        a in "\\PC{0,300}",
        b in any::<f64>(),
    ) {
        let body = object(&[
            ("a", Data::from(a)),
            ("b", Number::from_f64(b).map_or(Data::Null, Data::Number)),
        ]);
        if let Ok(room) = Template::parse(&text).map_or(Ok("".into()), |t| t.room(&body)) {
            prop_assert!(room.len() <= MAX_ROOM_BYTES);
        }
    }

    #[test]
    fn different_values_never_make_the_same_room(
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

    /// Moves characters from one value to the next, which a missing escape would not tell apart.
    #[test]
    fn values_split_elsewhere_never_make_the_same_room(joined in "[:%3A25ab]{2,10}", i in 1..9usize, j in 1..9usize) {
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
