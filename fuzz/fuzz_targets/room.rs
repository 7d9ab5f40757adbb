//! Room templates, from values to a room's name, and patterns, which do the reverse.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rookery_protocol::Data;
use rookery_policy::{ArgTemplate, Pattern, Template, TextTemplate};
use rookery_protocol::MAX_ROOM_BYTES;

/// A template, of which different values must never make the same room.
const PAIR: &str = "{a}:{b}";

fuzz_target!(|input: (String, String, String, String, String)| {
    let (template, a, b, c, d) = input;
    let body = body(&a, &b);
    if let Ok(template) = Template::parse(&template)
        && let Ok(room) = template.room(&body)
    {
        assert!(room.len() <= MAX_ROOM_BYTES && !room.contains('\0'));
    }
    if let Ok(template) = TextTemplate::parse(&template) {
        let _ = template.text(&body);
    }
    if let Ok(template) = ArgTemplate::parse(&template) {
        let _ = template.value(&body);
    }
    if let Ok(pattern) = Pattern::parse(&template) {
        assert_eq!(pattern.is_match(&c), pattern.matches(&c).is_some());
    }
    pairs(&body, (&a, &b), (&c, &d));
});

fn body(a: &str, b: &str) -> Data {
    Data::Object(vec![("a".into(), Data::from(a)), ("b".into(), Data::from(b))])
}

/// Different pairs make different rooms, and the pattern recovers the pair.
fn pairs(first: &Data, (a, b): (&str, &str), (c, d): (&str, &str)) {
    let template = Template::parse(PAIR).expect("the example is a template");
    let pattern = Pattern::parse(PAIR).expect("the example is a pattern");
    let Ok(room) = template.room(first) else { return };
    let captures = pattern.matches(&room).expect("a pattern matches its template's rooms");
    assert_eq!((captures.get("a"), captures.get("b")), (Some(a), Some(b)));
    if let Ok(other) = template.room(&body(c, d)) {
        assert_eq!(room == other, (a, b) == (c, d));
    }
}
