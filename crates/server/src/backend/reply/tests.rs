use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn parsed(text: &str) -> Reply {
    Reply::parse(text.as_bytes()).unwrap()
}

fn refused(text: &str) -> String {
    Reply::parse(text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn an_empty_reply_asks_for_nothing() {
    for nothing in ["", " \n", "{}", r#"{"ack":null,"emit":null,"join":[],"disconnect":false}"#] {
        assert_eq!(parsed(nothing), Reply::default(), "{nothing}");
    }
}

#[test]
fn every_field_is_read_and_binary_is_read_at_any_depth() {
    let reply = parsed(
        r#"{
            "emit": [{"event": "a", "args": [1, {"b": [{"$binary": "AQI="}]}]}, {"event": "b"}],
            "join": ["r"], "leave": ["s", "t"], "ack": [{"$binary": ""}, "x"],
            "publish": [
                {"room": "r", "event": "c", "args": ["y"], "except": ["u"], "volatile": true,
                 "compress": false},
                {"room": "r", "event": "d"}
            ],
            "disconnect": true, "unknown": 1
        }"#,
    );
    let binary = |bytes: &'static [u8]| Data::Binary(Bytes::from_static(bytes));
    let nested = Data::Object(vec![("b".into(), Data::Array(vec![binary(b"\x01\x02")]))]);
    assert_eq!(
        reply,
        Reply {
            emit: vec![
                Emit { event: "a".to_owned(), args: vec![Data::Number(1.into()), nested] },
                Emit { event: "b".to_owned(), args: Vec::new() },
            ],
            join: vec!["r".into()],
            leave: vec!["s".into(), "t".into()],
            ack: Some(vec![binary(b""), "x".into()]),
            publish: vec![
                Publish {
                    room: "r".into(),
                    except: vec!["u".into()],
                    event: "c".to_owned(),
                    args: vec!["y".into()],
                    volatile: true,
                    compress: false,
                },
                Publish {
                    room: "r".into(),
                    except: Vec::new(),
                    event: "d".to_owned(),
                    args: Vec::new(),
                    volatile: false,
                    compress: true,
                },
            ],
            disconnect: true,
            error: None,
        }
    );
}

#[test]
fn an_error_has_a_message_and_may_have_data() {
    let error = |text: &str| {
        let ReplyError { message, data } = parsed(text).error.unwrap();
        (message, data.map(|data| data.to_json()))
    };
    let data = Some(serde_json::json!({ "code": 7 }));
    assert_eq!(
        error(r#"{"error": {"message": "no", "data": {"code": 7}}}"#),
        ("no".to_owned(), data)
    );
    assert_eq!(error(r#"{"error": "no"}"#), ("no".to_owned(), None));
    assert_eq!(error(r#"{"error": {}}"#), (REFUSED.to_owned(), None));
    assert_eq!(parsed(r#"{"error": null}"#).error, None);
}

#[test]
fn a_reply_that_is_not_valid_is_refused_with_the_name_of_its_field() {
    for (text, says) in [
        ("<html>", "the reply is not valid JSON, at line 1"),
        ("{} {}", "the reply is not valid JSON"),
        ("[]", "the reply is not a JSON object"),
        ("7", "the reply is not a JSON object"),
        (r#"{"emit": 5}"#, "emit is not a list"),
        (r#"{"emit": [{}]}"#, "emit[0].event is not the name of an event"),
        (r#"{"emit": [{"event": "connect"}]}"#, "emit[0].event is not the name of an event"),
        (r#"{"emit": [{"event": "a"}, {"event": "a", "args": 1}]}"#, "emit[1].args is not a list"),
        (r#"{"ack": "yes"}"#, "ack is not a list"),
        (r#"{"ack": [{"$binary": "?"}]}"#, "the reply is not valid JSON"),
        (r#"{"join": [""]}"#, "join[0] is not the name of a room"),
        (r#"{"leave": "r"}"#, "leave is not a list"),
        (r#"{"publish": [{"event": "a"}]}"#, "publish[0].room is not the name of a room"),
        (r#"{"publish": [{"room": "r"}]}"#, "publish[0].event is not the name of an event"),
        (
            r#"{"publish": [{"room": "r", "event": "a", "except": [1]}]}"#,
            "publish[0].except[0] is not the name of a room",
        ),
        (
            r#"{"publish": [{"room": "r", "event": "a", "volatile": 1}]}"#,
            "publish[0].volatile is not true or false",
        ),
        (r#"{"disconnect": "yes"}"#, "disconnect is not true or false"),
        (r#"{"error": 1}"#, "error is not an object with a message"),
        (r#"{"error": {"message": 1}}"#, "error.message is not text"),
    ] {
        let found = refused(text);
        assert!(found.starts_with(says), "{text}: {found}");
    }
    let deep = format!(r#"{{"ack": [{}{}]}}"#, "[".repeat(65), "]".repeat(65));
    assert!(refused(&deep).starts_with("ack: an argument nests deeper"));
    let many = vec![r#"{"event":"a"}"#; MAX_ITEMS + 1].join(",");
    assert_eq!(refused(&format!(r#"{{"emit":[{many}]}}"#)), "emit is not a list of at most 1000");
    let long = "r".repeat(MAX_ROOM_BYTES + 1);
    assert!(refused(&format!(r#"{{"join":["{long}"]}}"#)).starts_with("join[0]"));
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes in any::<Vec<u8>>()) {
        let _ = Reply::parse(&bytes);
    }
}
