//! Room templates, from values to a room's name, and patterns, which do the reverse.
//!
//! The lines are a template, two pairs of values, and what is left over.

use rookery_policy::{ArgTemplate, Pattern, Template, TextTemplate};
use rookery_protocol::{Data, MAX_ROOM_BYTES};

use crate::repeat::{numbered, repeated};
use crate::target::{Shape, Target};

/// The most bytes of a configuration, or of an event.
const MAX: usize = 1 << 20;

/// A template, of which different values must never make the same room.
const PAIR: &str = "{a}:{b}";

/// The target.
pub const TARGET: Target = Target {
    name: "room",
    run,
    shapes: &[
        Shape {
            name: "placeholders",
            input: |n| repeated("", b"{a}:", b"\nx\ny\nx\ny", n),
            max: MAX,
        },
        Shape {
            name: "names",
            input: |n| numbered("", |n| format!("{{n{n}}}"), ":", "\n1\n2\nx:y", n),
            max: MAX,
        },
        Shape { name: "paths", input: |n| repeated("{a", b".b", b"}\n1", n), max: MAX },
        Shape { name: "braces", input: |n| repeated("", b"{", b"\n1", n), max: MAX },
        Shape { name: "a value", input: |n| repeated("{a}:{b}\n", b":%", b"\ny\nx", n), max: MAX },
        Shape {
            name: "a room",
            input: |n| repeated("{a}:{b}:{c}\n1\n2\n", b"x:", b"\n2", n),
            max: MAX,
        },
    ],
};

/// Makes rooms of values, and matches them.
pub fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut lines = text.splitn(5, '\n');
    let [template, a, b, c, d] = std::array::from_fn(|_| lines.next().unwrap_or_default());
    let body = body(a, b);
    if let Ok(template) = Template::parse(template)
        && let Ok(room) = template.room(&body)
    {
        assert!(room.len() <= MAX_ROOM_BYTES && !room.contains('\0'));
    }
    if let Ok(template) = TextTemplate::parse(template) {
        let _ = template.text(&body);
    }
    if let Ok(template) = ArgTemplate::parse(template) {
        let _ = template.value(&body);
    }
    if let Ok(pattern) = Pattern::parse(template) {
        assert_eq!(pattern.is_match(c), pattern.matches(c).is_some());
    }
    pairs(&body, (a, b), (c, d));
}

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
