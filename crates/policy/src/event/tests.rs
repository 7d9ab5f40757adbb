use rookery_protocol::{DataRef, RESERVED_EVENTS};

use super::*;
use crate::event_rule::{ByField, Except, Operation, Reply};
use crate::refusal::{Code, Refusal};

fn object(fields: &[(&str, Data)]) -> Data {
    Data::Object(fields.iter().map(|(k, v)| ((*k).into(), v.clone())).collect())
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

/// A request, and what it asks for.
struct Resolved {
    action: Result<Action, Refusal>,
    request: Request,
}

impl Resolved {
    fn code(&self) -> Code {
        self.action.as_ref().unwrap_err().code
    }

    fn success(&self) -> Data {
        self.request.success(None, owned)
    }

    /// A field of the answer.
    fn answer(&self, field: &str) -> Data {
        self.success().get(field).unwrap().clone()
    }
}

fn resolve(rules: &EventRules, event: &str, args: &[Data]) -> Resolved {
    let request = rules.request(event.to_owned(), args.to_vec());
    Resolved { action: request.action(), request }
}

fn owned(value: DataRef<'_>) -> Data {
    match value {
        DataRef::Value(data) => data.clone(),
        DataRef::Text(text) => text.into(),
        DataRef::Json(text) => rookery_protocol::json::parse_json(text.as_bytes()).unwrap(),
        DataRef::Object(entries) => {
            Data::Object(entries.iter().map(|(k, v)| ((*k).into(), owned(*v))).collect())
        }
    }
}

fn application(event: Data) -> (Data, Data) {
    let payload = object(&[("workspaceId", "w1".into()), ("appId", Data::Number(7.into()))]);
    (object(&[("event", event), ("payload", payload.clone())]), payload)
}

#[test]
fn an_event_that_no_rule_names_is_not_handled() {
    for event in ["chat", "Join"] {
        let resolved = resolve(&defaults(), event, &["x".into()]);
        let refusal = resolved.action.as_ref().unwrap_err();
        assert_eq!(refusal.code, Code::UnknownOperation);
        assert_eq!(refusal.message, format!("no rule handles the event `{event}`"));
        assert_eq!(resolved.request.reply_event(), None);
        assert_eq!(
            (resolved.answer("event"), resolved.answer("payload")),
            (event.into(), "x".into())
        );
    }
}

#[test]
fn a_field_of_the_argument_selects_join_or_leave() {
    let (join, payload) = application("SUBSCRIBE".into());
    let resolved = resolve(&defaults(), "application", &[join]);
    assert_eq!(resolved.action, Ok(Action::Join { room: "w1:7".into() }));
    assert_eq!(resolved.request.reply_event(), Some("application_response"));
    let expected = object(&[
        ("status", "SUCCESS".into()),
        ("event", "SUBSCRIBE".into()),
        ("payload", payload),
    ]);
    assert_eq!(resolved.success(), expected);
    let (leave, _) = application("UNSUBSCRIBE".into());
    let resolved = resolve(&defaults(), "application", &[leave]);
    assert_eq!(resolved.action, Ok(Action::Leave { room: "w1:7".into() }));
}

#[test]
fn an_unknown_operation_is_refused_with_its_own_code() {
    for event in ["REMOVE".into(), Data::Null, Data::Bool(true), "subscribe".into()] {
        let (body, payload) = application(event.clone());
        let resolved = resolve(&defaults(), "application", &[body]);
        assert_eq!(resolved.code(), Code::UnknownOperation);
        let message = &resolved.action.as_ref().unwrap_err().message;
        assert!(message.contains("`SUBSCRIBE` or `UNSUBSCRIBE`"), "{message}");
        assert_eq!(resolved.answer("event").as_str(), event.as_str().or(Some("application")));
        assert_eq!(resolved.answer("payload"), payload);
    }
    let resolved = resolve(&defaults(), "application", &[object(&[])]);
    assert_eq!(resolved.code(), Code::UnknownOperation);
    assert_eq!(resolved.answer("payload"), Data::Null);
}

#[test]
fn an_argument_that_is_not_an_object_is_a_bad_request() {
    for event in ["application", "join", "leave", "publish"] {
        for args in [vec![], vec![Data::Null], vec!["w1:a1".into()], vec![Data::Array(vec![])]] {
            let resolved = resolve(&defaults(), event, &args);
            assert_eq!(resolved.code(), Code::BadRequest, "{event} {args:?}");
            assert_eq!(resolved.answer("event").as_str(), Some(event));
            let payload = args.first().cloned().unwrap_or(Data::Null);
            assert_eq!(resolved.answer("payload"), payload);
        }
    }
}

#[test]
fn a_value_that_makes_no_room_name_is_room_invalid() {
    let body = object(&[("room", Data::Null)]);
    let resolved = resolve(&defaults(), "join", std::slice::from_ref(&body));
    assert_eq!(resolved.code(), Code::RoomInvalid);
    let refusal = resolved.action.as_ref().unwrap_err();
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
    assert_eq!(resolved.request.error(refusal, owned), expected);
}

#[test]
fn the_default_rules_join_leave_and_publish() {
    let body = object(&[("room", "50%".into())]);
    let resolved = resolve(&defaults(), "join", std::slice::from_ref(&body));
    assert_eq!(resolved.action, Ok(Action::Join { room: "50%".into() }));
    assert_eq!(resolved.request.reply_event(), None);
    assert_eq!(resolved.answer("payload"), body);
    let resolved = resolve(&defaults(), "leave", &[body]);
    assert_eq!(resolved.action, Ok(Action::Leave { room: "50%".into() }));
    let data = Data::Binary(bytes::Bytes::from_static(b"\x01"));
    let body = object(&[("room", "r".into()), ("event", "news".into()), ("data", data.clone())]);
    let resolved = resolve(&defaults(), "publish", &[body, "more".into()]);
    let published =
        Action::Publish { room: "r".into(), event: "news".to_owned(), except_sender: false };
    assert_eq!(resolved.action, Ok(published));
    assert_eq!(resolved.request.clone().take_args()[..], [data]);
}

#[test]
fn reserved_event_names_cannot_be_published() {
    let publish = |event: &str| {
        let body = object(&[("room", "r".into()), ("event", event.into())]);
        resolve(&defaults(), "publish", &[body])
    };
    for event in RESERVED_EVENTS {
        assert_eq!(publish(event).code(), Code::BadRequest, "{event}");
    }
    assert_eq!(publish("").code(), Code::BadRequest);
}

#[test]
fn events_of_the_server_and_the_client_library_cannot_be_published() {
    let rules = EventRules::compile(&[
        EventRule {
            reply: Some(Reply { event: "answer".to_owned() }),
            ..rule("x", Operation::Join)
        },
        EventRule {
            event: Some("{event}".to_owned()),
            args: Some(Vec::new()),
            ..rule("publish", Operation::Publish)
        },
    ])
    .unwrap();
    let publish = |event: &str| {
        let body = object(&[("room", Data::from("r")), ("event", Data::from(event))]);
        resolve(&rules, "publish", &[body]).action
    };
    for event in [
        "auth:expired",
        "auth:refreshed",
        "rookery:error",
        "rookery:",
        "answer",
        "error",
        "reconnect",
    ] {
        let refusal = publish(event).unwrap_err();
        assert_eq!(refusal.code, Code::Forbidden, "{event}");
        assert!(refusal.message.contains(event), "{refusal}");
    }
    for event in ["application_response", "auth:other", "Rookery:x", "ping", "message", "errors"] {
        assert!(publish(event).is_ok(), "{event}");
    }
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
    let published =
        Action::Publish { room: "r".into(), event: "r-news".to_owned(), except_sender: true };
    let mut resolved = resolve(&rules.unwrap(), "tell", &[body]);
    assert_eq!(resolved.action, Ok(published));
    assert_eq!(resolved.request.take_args()[..], [Data::Null, "x of r".into()]);
}

#[test]
fn arguments_that_use_one_value_all_get_it() {
    let inner = object(&[("b", "x".into()), ("c", "y".into())]);
    let body = object(&[("room", "r".into()), ("a", inner.clone()), ("ab", "z".into())]);
    for (args, expected) in [
        (vec!["{a}", "{a}"], vec![inner.clone(), inner.clone()]),
        (vec!["{a}", "{a.b}"], vec![inner.clone(), "x".into()]),
        (vec!["{a.b}", "{a}"], vec!["x".into(), inner.clone()]),
        (vec!["{a.b}", "<{a.b}>"], vec!["x".into(), "<x>".into()]),
        (vec!["{a.b}", "{a.c}", "{ab}"], vec!["x".into(), "y".into(), "z".into()]),
        (vec!["{a}", "{ab}", "{none}"], vec![inner.clone(), "z".into(), Data::Null]),
    ] {
        let rules = EventRules::compile(&[EventRule {
            event: Some("news".to_owned()),
            args: Some(args.iter().map(|arg| (*arg).to_owned()).collect()),
            ..rule("tell", Operation::Publish)
        }]);
        let mut resolved = resolve(&rules.unwrap(), "tell", std::slice::from_ref(&body));
        assert_eq!(resolved.request.take_args()[..], expected, "{args:?}");
        resolved.request.restore_args(expected.into());
        assert_eq!(resolved.answer("payload"), body, "{args:?}");
    }
}

#[test]
fn the_first_rule_for_an_event_handles_it() {
    let rules = EventRules::compile(&[rule("go", Operation::Join), rule("go", Operation::Leave)]);
    let resolved = resolve(&rules.unwrap(), "go", &[object(&[("room", "r".into())])]);
    assert_eq!(resolved.action, Ok(Action::Join { room: "r".into() }));
}

#[test]
fn a_constant_room_needs_no_body() {
    let rules = EventRules::compile(&[EventRule {
        room: "lobby".to_owned(),
        ..rule("enter", Operation::Join)
    }]);
    let resolved = resolve(&rules.unwrap(), "enter", &[]);
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
