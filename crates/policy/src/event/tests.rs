use super::*;
use crate::event_rule::{ByField, Reply};

fn object(fields: &[(&str, Data)]) -> Data {
    Data::Object(fields.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect())
}

fn defaults() -> EventRules {
    EventRules::compile(&EventRule::defaults()).unwrap()
}

fn rule(on: &str, operation: Operation) -> EventRule {
    EventRule {
        on: on.to_owned(),
        operation,
        by_field: None,
        room: "{room}".to_owned(),
        event: None,
        args: None,
        except: Except::None,
        reply: None,
    }
}

fn code(resolved: &Resolved) -> Code {
    resolved.action.as_ref().unwrap_err().code
}

fn application(event: Data) -> (Data, Data) {
    let payload = object(&[("workspaceId", "w1".into()), ("appId", Data::Number(7.into()))]);
    (object(&[("event", event), ("payload", payload.clone())]), payload)
}

#[test]
fn an_event_that_no_rule_names_is_not_handled() {
    assert_eq!(defaults().resolve("chat", &[]), None);
    assert_eq!(defaults().resolve("Join", &[]), None);
}

#[test]
fn a_field_of_the_argument_selects_join_or_leave() {
    let (join, payload) = application("SUBSCRIBE".into());
    let resolved = defaults().resolve("application", &[join]).unwrap();
    assert_eq!(resolved.action, Ok(Action::Join { room: "w1:7".into() }));
    assert_eq!(resolved.answer.reply_event.as_deref(), Some("application_response"));
    let expected = object(&[
        ("status", "SUCCESS".into()),
        ("event", "SUBSCRIBE".into()),
        ("payload", payload),
    ]);
    assert_eq!(resolved.answer.success(), expected);
    let (leave, _) = application("UNSUBSCRIBE".into());
    let resolved = defaults().resolve("application", &[leave]).unwrap();
    assert_eq!(resolved.action, Ok(Action::Leave { room: "w1:7".into() }));
}

#[test]
fn an_unknown_operation_is_refused_with_its_own_code() {
    for event in ["REMOVE".into(), Data::Null, Data::Bool(true), "subscribe".into()] {
        let (body, payload) = application(event.clone());
        let resolved = defaults().resolve("application", &[body]).unwrap();
        assert_eq!(code(&resolved), Code::UnknownOperation);
        let message = &resolved.action.as_ref().unwrap_err().message;
        assert!(message.contains("`SUBSCRIBE` or `UNSUBSCRIBE`"), "{message}");
        assert_eq!(resolved.answer.event, event.as_str().unwrap_or("application"));
        assert_eq!(resolved.answer.payload, payload);
    }
    let resolved = defaults().resolve("application", &[object(&[])]).unwrap();
    assert_eq!(code(&resolved), Code::UnknownOperation);
    assert_eq!(resolved.answer.payload, Data::Null);
}

#[test]
fn an_argument_that_is_not_an_object_is_a_bad_request() {
    for event in ["application", "join", "leave", "publish"] {
        for args in [vec![], vec![Data::Null], vec!["w1:a1".into()], vec![Data::Array(vec![])]] {
            let resolved = defaults().resolve(event, &args).unwrap();
            assert_eq!(code(&resolved), Code::BadRequest, "{event} {args:?}");
            assert_eq!(resolved.answer.event, event);
            let payload = args.first().cloned().unwrap_or(Data::Null);
            assert_eq!(resolved.answer.payload, payload);
        }
    }
}

#[test]
fn a_value_that_makes_no_room_name_is_room_invalid() {
    let body = object(&[("room", Data::Null)]);
    let resolved = defaults().resolve("join", std::slice::from_ref(&body)).unwrap();
    assert_eq!(code(&resolved), Code::RoomInvalid);
    let refusal = resolved.action.unwrap_err();
    let expected = object(&[
        ("status", "ERROR".into()),
        ("event", "join".into()),
        ("payload", body),
        (
            "error",
            object(&[
                ("code", "room_invalid".into()),
                ("message", refusal.message.as_str().into()),
            ]),
        ),
    ]);
    assert_eq!(resolved.answer.error(&refusal), expected);
}

#[test]
fn the_default_rules_join_leave_and_publish() {
    let body = object(&[("room", "50%".into())]);
    let resolved = defaults().resolve("join", std::slice::from_ref(&body)).unwrap();
    assert_eq!(resolved.action, Ok(Action::Join { room: "50%".into() }));
    assert_eq!(resolved.answer.reply_event, None);
    assert_eq!(resolved.answer.payload, body);
    let resolved = defaults().resolve("leave", &[body]).unwrap();
    assert_eq!(resolved.action, Ok(Action::Leave { room: "50%".into() }));
    let data = Data::Binary(bytes::Bytes::from_static(b"\x01"));
    let body = object(&[("room", "r".into()), ("event", "news".into()), ("data", data.clone())]);
    let resolved = defaults().resolve("publish", &[body, "more".into()]).unwrap();
    let published = Action::Publish {
        room: "r".into(),
        event: "news".to_owned(),
        args: vec![data],
        except_sender: false,
    };
    assert_eq!(resolved.action, Ok(published));
}

#[test]
fn reserved_event_names_cannot_be_published() {
    let publish = |event: &str| {
        let body = object(&[("room", "r".into()), ("event", event.into())]);
        defaults().resolve("publish", &[body]).unwrap()
    };
    for event in RESERVED_EVENTS {
        assert_eq!(code(&publish(event)), Code::BadRequest, "{event}");
    }
    assert!(publish("rookery:news").action.is_ok());
    assert_eq!(code(&publish("")), Code::BadRequest);
}

#[test]
fn a_publication_can_skip_its_publisher() {
    let rules = EventRules::compile(&[EventRule {
        event: Some("{room}-news".to_owned()),
        args: Some(vec!["{a}".to_owned(), "{b} of {room}".to_owned()]),
        except: Except::Sender,
        ..rule("tell", Operation::Publish)
    }]);
    let body = object(&[("room", "r".into()), ("b", "x".into())]);
    let published = Action::Publish {
        room: "r".into(),
        event: "r-news".to_owned(),
        args: vec![Data::Null, "x of r".into()],
        except_sender: true,
    };
    assert_eq!(rules.unwrap().resolve("tell", &[body]).unwrap().action, Ok(published));
}

#[test]
fn the_first_rule_for_an_event_handles_it() {
    let rules = EventRules::compile(&[rule("go", Operation::Join), rule("go", Operation::Leave)]);
    let resolved = rules.unwrap().resolve("go", &[object(&[("room", "r".into())])]).unwrap();
    assert_eq!(resolved.action, Ok(Action::Join { room: "r".into() }));
}

#[test]
fn a_constant_room_needs_no_body() {
    let rules = EventRules::compile(&[EventRule {
        room: "lobby".to_owned(),
        ..rule("enter", Operation::Join)
    }]);
    let resolved = rules.unwrap().resolve("enter", &[]).unwrap();
    assert_eq!(resolved.action, Ok(Action::Join { room: "lobby".into() }));
}

#[test]
fn malformed_rules_name_their_key() {
    let by_field = |join: Option<&str>, leave: Option<&str>, publish: Option<&str>| EventRule {
        by_field: Some(ByField {
            name: "op".to_owned(),
            join: join.map(str::to_owned),
            leave: leave.map(str::to_owned),
            publish: publish.map(str::to_owned),
        }),
        ..rule("x", Operation::ByField)
    };
    let join = || rule("x", Operation::Join);
    let publish =
        |event: &str| EventRule { event: Some(event.to_owned()), ..rule("x", Operation::Publish) };
    let cases = [
        (rule("", Operation::Join), "on"),
        (EventRule { room: "{a}{b}".to_owned(), ..join() }, "room"),
        (EventRule { event: Some("e".to_owned()), ..join() }, "event"),
        (EventRule { args: Some(vec![]), ..join() }, "args"),
        (EventRule { reply: Some(Reply { event: "connect".to_owned() }), ..join() }, "reply.event"),
        (rule("x", Operation::Publish), "event"),
        (publish("disconnect"), "event"),
        (publish("{"), "event"),
        (EventRule { args: Some(vec!["}".to_owned()]), ..publish("e") }, "args"),
        (rule("x", Operation::ByField), "byField"),
        (EventRule { operation: Operation::Join, ..by_field(Some("J"), None, None) }, "byField"),
        (by_field(None, None, None), "byField"),
        (by_field(Some("A"), Some("A"), None), "byField"),
        (by_field(None, None, Some("P")), "event"),
    ];
    for (bad, key) in cases {
        let error = EventRules::compile(&[join(), bad.clone()]).unwrap_err();
        assert_eq!((error.section, error.index, error.key), ("events", 1, key), "{bad:?}");
    }
}
