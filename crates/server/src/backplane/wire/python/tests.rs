use proptest::prelude::*;

use super::*;

fn emitted(json: &str) -> Broadcast {
    match decode(json.as_bytes()) {
        Ok(Order::Emit(broadcast)) => broadcast,
        other => panic!("{json}: {other:?}"),
    }
}

#[test]
fn an_emit_becomes_a_broadcast() {
    let broadcast = emitted(
        r#"{"method":"emit","event":"news","data":[{"a":1},"b"],"binary":false,"namespace":"/chat",
            "room":"r","skip_sid":["s1","s2"],"callback":null,"host_id":"h"}"#,
    );
    assert_eq!((broadcast.uid.as_str(), broadcast.namespace.as_str()), ("h", "/chat"));
    assert_eq!(broadcast.event, "news");
    assert_eq!(broadcast.args.len(), 2);
    assert_eq!(broadcast.rooms, [Room::from("r")]);
    assert_eq!(broadcast.except, [Room::from("s1"), Room::from("s2")]);
    let all = emitted(r#"{"method":"emit","event":"e","data":[null],"room":null,"skip_sid":null}"#);
    assert!(all.args.is_empty() && all.rooms.is_empty() && all.except.is_empty());
    assert_eq!(all.namespace, "/");
    let two = emitted(r#"{"method":"emit","event":"e","data":[1],"room":["a",7]}"#);
    assert_eq!(two.rooms, [Room::from("a"), Room::from("7")]);
    let own = emitted(r#"{"method":"emit","event":"e","data":[{"$binary":"x?"}]}"#);
    assert_eq!(own.args[0].get("$binary"), Some(&Data::from("x?")), "a key like any other");
}

#[test]
fn attachments_take_the_places_of_their_placeholders() {
    let broadcast = emitted(
        r#"{"method":"emit","event":"e","binary":true,
            "data":[[{"deep":[{"_placeholder":true,"num":1}]},{"_placeholder":true,"num":0}],"AQ==","Ag=="]}"#,
    );
    let bytes = |n: u8| Data::Binary(Bytes::copy_from_slice(&[n]));
    let deep = Data::Object(vec![("deep".into(), Data::Array(vec![bytes(2)]))]);
    assert_eq!(broadcast.args, [deep, bytes(1)]);
}

#[test]
fn orders_about_members_are_understood() {
    let member = || Selector::Member("s".into());
    let room = || vec![Room::from("r")];
    for (json, expected) in [
        (r#"{"method":"enter_room","sid":"s","room":"r"}"#, Ask::Join(member(), room())),
        (r#"{"method":"leave_room","sid":"s","room":"r"}"#, Ask::Leave(member(), room())),
        (r#"{"method":"close_room","room":"r"}"#, Ask::Leave(Selector::room("r"), room())),
        (r#"{"method":"disconnect","sid":"s"}"#, Ask::Disconnect(member(), false)),
    ] {
        let expected = Order::Members { namespace: "/".to_owned(), ask: expected };
        assert_eq!(decode(json.as_bytes()), Ok(expected), "{json}");
    }
    assert_eq!(decode(br#"{"method":"callback","host_id":"h"}"#), Ok(Order::Callback));
}

#[test]
fn what_is_not_understood_says_why() {
    for (bad, why) in [
        ("\u{80}", "no JSON"),
        ("{}", "unknown method"),
        (r#"{"method":"emit","data":[]}"#, "no event name"),
        (r#"{"method":"emit","event":"e"}"#, "data is no list"),
        (r#"{"method":"emit","event":"e","data":[],"room":[]}"#, "names no room"),
        (r#"{"method":"emit","event":"e","data":[],"room":{}}"#, "names no room"),
        (r#"{"method":"emit","event":"e","data":[],"binary":true}"#, "no arguments"),
        (r#"{"method":"emit","event":"e","data":[[],"?"],"binary":true}"#, "no base64"),
        (
            r#"{"method":"emit","event":"e","data":[[{"_placeholder":true,"num":0}]],"binary":true}"#,
            "is missing",
        ),
        (r#"{"method":"disconnect"}"#, "no sid"),
        (r#"{"method":"close_room"}"#, "no room"),
    ] {
        let error = decode(bad.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(why), "{bad}: {error}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>()) {
        let _ = decode(text.as_bytes());
    }
}
