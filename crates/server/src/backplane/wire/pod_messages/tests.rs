//! Messages of this version and of others.

use std::time::Duration;

use super::*;

fn question(ask: &str) -> Message {
    let json = format!(
        r#"{{"v":9,"kind":"question","pod":"pod-bbbb","id":1,"namespace":"/","ask":{ask}}}"#
    );
    Message::decode(json.as_bytes()).unwrap()
}

#[test]
fn messages_are_read_as_they_were_written() {
    let member = MemberInfo {
        id: "m".into(),
        user: Some("u".into()),
        connected_at: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(5)),
        rooms: vec!["r".into()],
    };
    let of = Selector::Rooms { rooms: vec!["a".into()], except: vec!["b".into()] };
    let ask = Ask::Join { of: WireSelector::from(&of), rooms: vec!["r".into()] };
    let admins = Ask::AdminSockets { admins: vec!["pod-aaaa000000000001".into()] };
    let (pod, namespace) = ("p".to_owned(), "/".to_owned());
    let state = RolloutState::parse("chat/web/7d4", 5);
    let messages = [
        Message::Hello { pod: pod.clone(), greet: true, state, admins: true },
        Message::Hello { pod: pod.clone(), greet: false, state: None, admins: false },
        Message::Bye { pod: pod.clone() },
        Message::Question { pod: pod.clone(), id: 7, namespace, ask: Some(ask.clone()) },
        Message::Question {
            pod: pod.clone(),
            id: 0,
            namespace: "/admin".into(),
            ask: Some(admins),
        },
        Message::Answer {
            pod: pod.clone(),
            id: 7,
            answer: Answer::Members(vec![member.clone().into()]),
        },
        Message::Answer { pod, id: 7, answer: Answer::Unknown },
    ];
    for message in messages {
        assert_eq!(Message::decode(&message.encode()).unwrap(), message);
    }
    let Ask::Join { of: selector, .. } = ask else { unreachable!() };
    assert_eq!(Selector::from(selector), of);
    assert_eq!(MemberInfo::from(WireMember::from(member.clone())), member);
}

#[test]
fn a_question_of_a_later_version_is_a_question_that_is_not_known() {
    for later in [r#"{"later":1}"#, r#"{"first":{"namespaces":["/"],"sort":"age","limit":5}}"#] {
        let Message::Question { id, ask, .. } = question(later) else { panic!("{later}") };
        assert_eq!((id, ask), (1, None), "{later}");
    }
    let known = question(r#"{"rooms":{"prefix":"x","later":true}}"#);
    assert!(matches!(known, Message::Question { ask: Some(Ask::Rooms { .. }), .. }));
}

#[test]
fn a_heartbeat_of_an_earlier_version_says_nothing_of_admins() {
    let earlier = Message::decode(br#"{"v":1,"kind":"hello","pod":"p","greet":false}"#).unwrap();
    let pod = "p".to_owned();
    assert_eq!(earlier, Message::Hello { pod, greet: false, state: None, admins: false });
    assert!(!String::from_utf8(earlier.encode()).unwrap().contains("admins"));
}

#[test]
fn an_answer_of_a_later_version_is_unknown() {
    let json = br#"{"v":9,"kind":"answer","pod":"pod-bbbb","id":1,"answer":{"later":1}}"#;
    let answer = Message::Answer { pod: "pod-bbbb".into(), id: 1, answer: Answer::Unknown };
    assert_eq!(Message::decode(json).unwrap(), answer);
}

#[test]
fn what_is_no_message_is_refused() {
    for bad in [
        r#"{"kind":"later"}"#,
        r#"{"kind":"later","pod":"p"}"#,
        r#"{"kind":"question","pod":"p","id":1}"#,
        r#"{"kind":"question","pod":"p","ask":{}}"#,
        r#"{"kind":"answer","pod":"p","id":1}"#,
        r#"{"kind":"hello"}"#,
        "{",
    ] {
        assert!(Message::decode(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn a_revision_has_a_group() {
    assert_eq!(RolloutState::parse("chat/web/7d4", 1).unwrap().group, "chat/web");
    for nonsense in ["", "7d4", "/7d4", "chat/"] {
        assert_eq!(RolloutState::parse(nonsense, 1), None, "{nonsense}");
    }
}
