//! The query of a CONNECT in revision 3. Pure.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

/// A query as a JSON object of texts; a parameter that is repeated is a list of them.
pub fn to_json(query: &str) -> Value {
    let decoded = |text: &str| {
        let text = text.replace('+', " ");
        percent_decode_str(&text).decode_utf8_lossy().into_owned()
    };
    let mut object = Map::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = Value::from(decoded(value));
        match object.entry(decoded(name)).or_insert(Value::Null) {
            first @ Value::Null => *first = value,
            Value::Array(values) => values.push(value),
            first => *first = Value::Array(vec![first.take(), value]),
        }
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_are_decoded() {
        assert_eq!(to_json(""), json!({}));
        assert_eq!(
            to_json("token=a.b%2Fc&x=1+2&flag&n=%22&x=3&x="),
            json!({"token": "a.b/c", "x": ["1 2", "3", ""], "flag": "", "n": "\""})
        );
    }
}
