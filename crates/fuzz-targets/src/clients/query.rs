//! Query strings: of requests, and in the namespace of a CONNECT of revision 3.

use percent_encoding::percent_decode_str;
use rookery_protocol::Revision;
use rookery_server::gateway::fuzzing::{Query, parameter, query_to_json};
use serde_json::Value;

use crate::repeat::{numbered, repeated};
use crate::target::{Shape, Target};

/// The most bytes of a request's head here.
const MAX: usize = 1 << 16;

/// The target.
pub const TARGET: Target = Target {
    name: "query",
    run,
    shapes: &[
        Shape {
            name: "parameters",
            input: |n| numbered("", |n| format!("p{n}={n}"), "&", "", n),
            max: MAX,
        },
        Shape {
            name: "equal parameters",
            input: |n| repeated("sid=1", b"&sid=2", b"", n),
            max: MAX,
        },
        Shape { name: "escapes", input: |n| repeated("sid=", b"%e4%", b"", n), max: MAX },
        Shape { name: "separators", input: |n| repeated("", b"&=", b"", n), max: MAX },
        Shape { name: "blanks", input: |n| repeated("token=", b"+", b"", n), max: MAX },
    ],
};

/// Parses a query and compares it with a simple parser of forms.
pub fn run(input: &[u8]) {
    let Ok(query) = std::str::from_utf8(input) else { return };
    let parsed = Query::parse(query);
    let raw = |name| pairs(query).find(|(key, _)| *key == name).map(|(_, value)| decoded(value));
    assert_eq!(parsed.eio.as_deref(), raw("EIO").as_deref());
    let mut sids = pairs(query).filter(|(key, _)| *key == "sid").map(|(_, value)| decoded(value));
    assert_eq!(parsed.sid.as_deref(), sids.find(|sid| !sid.is_empty()).as_deref());
    assert_eq!(parsed.transport.as_deref(), raw("transport").as_deref());
    assert_eq!(parsed.revision() == Revision::V4, raw("EIO").as_deref() == Some("4"));
    let token = parameter(query, "token");
    assert!(token.as_ref().is_none_or(|token| token.len() <= 3 * query.len()));
    let json = query_to_json(query);
    let object = json.as_object().expect("a query is an object");
    assert_eq!(
        object.values().map(values).sum::<usize>(),
        query.split('&').filter(|p| !p.is_empty()).count()
    );
    let form = |text: &str| decoded(&text.replace('+', " "));
    for (name, value) in
        pairs(query).filter(|(name, value)| !(name.is_empty() && value.is_empty())).take(8)
    {
        let known = &object[&form(name)];
        let value = Value::from(form(value));
        assert!(*known == value || known.as_array().is_some_and(|all| all.contains(&value)));
    }
}

/// Names and values as they are written.
fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// The number of times that a parameter was given.
fn values(value: &Value) -> usize {
    value.as_array().map_or(1, Vec::len)
}
