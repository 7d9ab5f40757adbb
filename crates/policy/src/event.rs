//! [`EventRules`]: what a client event does to rooms, and how it is answered.

use std::collections::HashMap;
use std::sync::Arc;

use crate::{EventRule, Except, Operation};
use rookery_protocol::Data;
use rookery_protocol::{RESERVED_EVENTS, Room};

use super::parts::TemplateError;
use super::refusal::{Code, Refusal};
use super::rules::RuleError;
use super::template::{ArgTemplate, Template, TextTemplate, kind, lookup};

/// The compiled `events` of the configuration. The first rule with an event's name handles it.
#[derive(Debug)]
pub struct EventRules {
    rules: HashMap<String, Rule>,
}

#[derive(Debug)]
struct Rule {
    operation: Choice,
    room: Template,
    publish: Option<Publish>,
    reply: Option<Arc<str>>,
}

/// How a rule chooses what to do.
#[derive(Debug)]
enum Choice {
    Always(Operation),
    ByField { path: String, operations: Vec<(String, Operation)> },
}

#[derive(Debug)]
struct Publish {
    event: TextTemplate,
    args: Vec<ArgTemplate>,
    except_sender: bool,
}

/// A client event that a rule handles.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// What it asks for, or why that cannot be.
    pub action: Result<Action, Refusal>,
    /// How it is answered.
    pub answer: Answer,
}

/// What a client event asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// To become a member.
    Join {
        /// Of this room.
        room: Room,
    },
    /// To be no member any more; it succeeds also for a room that the client is not in.
    Leave {
        /// Of this room.
        room: Room,
    },
    /// To publish; membership is not needed.
    Publish {
        /// The room.
        room: Room,
        /// The event that its members get; never a reserved name.
        event: String,
        /// The event's arguments.
        args: Vec<Data>,
        /// Whether the publisher is left out.
        except_sender: bool,
    },
}

/// The answer to a client event, before it is known whether it succeeds.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The event that carries the answer where the client gave no ack callback. Without one a
    /// success is silent and a refusal is the event `rookery:error`.
    pub reply_event: Option<Arc<str>>,
    /// The answer's `event`: with `byField` the operation's name, else the client event's.
    pub event: String,
    /// The answer's `payload`: with `byField` the argument's `payload`, else the argument.
    pub payload: Data,
}

impl Answer {
    /// `{status: "SUCCESS", event, payload}`.
    pub fn success(self) -> Data {
        Data::Object(self.entries("SUCCESS"))
    }

    /// `{status: "ERROR", event, payload, error: {code, message}}`.
    pub fn error(self, refusal: &Refusal) -> Data {
        let mut entries = self.entries("ERROR");
        let error = vec![
            ("code".to_owned(), Data::from(refusal.code.as_str())),
            ("message".to_owned(), Data::from(refusal.message.as_str())),
        ];
        entries.push(("error".to_owned(), Data::Object(error)));
        Data::Object(entries)
    }

    fn entries(self, status: &str) -> Vec<(String, Data)> {
        vec![
            ("status".to_owned(), Data::from(status)),
            ("event".to_owned(), Data::String(self.event)),
            ("payload".to_owned(), self.payload),
        ]
    }
}

impl EventRules {
    /// Compiles the rules.
    ///
    /// # Errors
    /// The first key that is missing, stands where it has no meaning, or holds a template that
    /// cannot be understood.
    pub fn compile(config: &[EventRule]) -> Result<Self, RuleError> {
        let mut rules = HashMap::with_capacity(config.len());
        for (index, rule) in config.iter().enumerate() {
            let compiled = Rule::compile(rule).map_err(|(key, message)| RuleError {
                section: "events",
                index,
                key,
                message,
            })?;
            rules.entry(rule.on.clone()).or_insert(compiled);
        }
        Ok(EventRules { rules })
    }

    /// What the client event `event` with `args` asks for; `None` where no rule handles it.
    pub fn resolve(&self, event: &str, args: &[Data]) -> Option<Resolved> {
        let rule = self.rules.get(event)?;
        let body = args.first().unwrap_or(&Data::Null);
        let (operation, answer_event, payload) = match &rule.operation {
            Choice::Always(operation) => (Ok(*operation), event.to_owned(), body.clone()),
            Choice::ByField { path, operations } => {
                let name = lookup(body, path);
                let payload = body.get("payload").unwrap_or(match body {
                    Data::Object(_) => &Data::Null,
                    other => other,
                });
                let answer_event = match name {
                    Some(Data::String(name)) => name.clone(),
                    Some(Data::Number(number)) => number.to_string(),
                    _ => event.to_owned(),
                };
                (chosen(body, path, name, operations), answer_event, payload.clone())
            }
        };
        let answer = Answer { reply_event: rule.reply.clone(), event: answer_event, payload };
        Some(Resolved { action: operation.and_then(|o| rule.action(o, body)), answer })
    }
}

impl Rule {
    fn compile(rule: &EventRule) -> Result<Self, (&'static str, String)> {
        if rule.on.is_empty() {
            return Err(("on", "it is empty; write the name of an event".to_owned()));
        }
        let operation = Choice::compile(rule)?;
        let publish = match (&rule.event, operation.has(Operation::Publish)) {
            (Some(event), true) => Some(Publish::compile(event, rule)?),
            (None, true) => {
                let message = "it is missing; write the event that is published, such as `{event}`";
                return Err(("event", message.to_owned()));
            }
            (None, false) if rule.args.is_none() => None,
            (event, false) => {
                let key = if event.is_some() { "event" } else { "args" };
                return Err((key, "it has a meaning only where the rule publishes".to_owned()));
            }
        };
        let reply = match &rule.reply {
            Some(reply) if is_reserved(&reply.event) || reply.event.is_empty() => {
                let message = format!("`{}` cannot be an event's name", reply.event);
                return Err(("reply.event", message));
            }
            reply => reply.as_ref().map(|reply| reply.event.as_str().into()),
        };
        Ok(Rule {
            operation,
            room: Template::parse(&rule.room).map_err(at("room"))?,
            publish,
            reply,
        })
    }

    fn action(&self, operation: Operation, body: &Data) -> Result<Action, Refusal> {
        let room = self.room.room(body)?;
        Ok(match (operation, &self.publish) {
            (Operation::Join, _) => Action::Join { room },
            (Operation::Leave, _) => Action::Leave { room },
            (Operation::Publish, Some(publish)) => Action::Publish {
                room,
                event: publish.event(body)?,
                args: publish.args.iter().map(|arg| arg.value(body)).collect(),
                except_sender: publish.except_sender,
            },
            (Operation::Publish, None) | (Operation::ByField, _) => {
                unreachable!("`compile` gives a rule that publishes its event")
            }
        })
    }
}

impl Choice {
    fn compile(rule: &EventRule) -> Result<Self, (&'static str, String)> {
        let fields = match (rule.operation, &rule.by_field) {
            (Operation::ByField, Some(fields)) => fields,
            (Operation::ByField, None) => {
                let message = "it is missing; write {name: FIELD, join: VALUE, leave: VALUE}";
                return Err(("byField", message.to_owned()));
            }
            (operation, None) => return Ok(Choice::Always(operation)),
            (_, Some(_)) => {
                let message = "it has a meaning only with `operation: byField`";
                return Err(("byField", message.to_owned()));
            }
        };
        if fields.name.split('.').any(str::is_empty) {
            return Err(("byField.name", "write the name of a field".to_owned()));
        }
        let named = [
            (&fields.join, Operation::Join),
            (&fields.leave, Operation::Leave),
            (&fields.publish, Operation::Publish),
        ];
        let mut operations: Vec<(String, Operation)> = Vec::new();
        for (value, operation) in named {
            let Some(value) = value else { continue };
            if operations.iter().any(|(other, _)| other == value) {
                let message = format!("`{value}` cannot stand for two operations");
                return Err(("byField", message));
            }
            operations.push((value.clone(), operation));
        }
        if operations.is_empty() {
            return Err(("byField", "write a value for join, leave or publish".to_owned()));
        }
        Ok(Choice::ByField { path: fields.name.clone(), operations })
    }

    fn has(&self, wanted: Operation) -> bool {
        match self {
            Choice::Always(operation) => *operation == wanted,
            Choice::ByField { operations, .. } => operations.iter().any(|(_, o)| *o == wanted),
        }
    }
}

impl Publish {
    fn compile(event: &str, rule: &EventRule) -> Result<Self, (&'static str, String)> {
        let event = TextTemplate::parse(event).map_err(at("event"))?;
        if let Some(name) = event.constant().filter(|name| is_reserved(name)) {
            return Err(("event", format!("`{name}` is reserved by Socket.IO")));
        }
        let args = rule.args.iter().flatten().map(|arg| ArgTemplate::parse(arg));
        Ok(Publish {
            event,
            args: args.collect::<Result<_, _>>().map_err(at("args"))?,
            except_sender: rule.except == Except::Sender,
        })
    }

    fn event(&self, body: &Data) -> Result<String, Refusal> {
        let event = self.event.text(body)?;
        if is_reserved(&event) {
            let message = format!("the event name `{event}` is reserved by Socket.IO");
            return Err(Refusal::new(Code::BadRequest, message));
        }
        Ok(event)
    }
}

fn chosen(
    body: &Data,
    path: &str,
    name: Option<&Data>,
    operations: &[(String, Operation)],
) -> Result<Operation, Refusal> {
    if !matches!(body, Data::Object(_)) {
        let message = format!("expected an object with the field `{path}`, found {}", kind(body));
        return Err(Refusal::new(Code::BadRequest, message));
    }
    let name = name.and_then(Data::as_str);
    let known = operations.iter().find(|(value, _)| Some(value.as_str()) == name);
    known.map(|(_, operation)| *operation).ok_or_else(|| {
        let values: Vec<_> = operations.iter().map(|(value, _)| format!("`{value}`")).collect();
        let message = format!("`{path}` must be {}", values.join(" or "));
        Refusal::new(Code::UnknownOperation, message)
    })
}

fn is_reserved(event: &str) -> bool {
    RESERVED_EVENTS.contains(&event)
}

fn at(key: &'static str) -> impl Fn(TemplateError) -> (&'static str, String) {
    move |problem| (key, problem.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ByField, Reply};

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
    fn the_first_example_joins_and_leaves_by_a_field() {
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
    fn an_unknown_operation_is_answered_as_such() {
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
    fn a_body_that_is_no_object_is_a_bad_request() {
        for event in ["application", "join", "leave", "publish"] {
            for args in [vec![], vec![Data::Null], vec!["w1:a1".into()], vec![Data::Array(vec![])]]
            {
                let resolved = defaults().resolve(event, &args).unwrap();
                assert_eq!(code(&resolved), Code::BadRequest, "{event} {args:?}");
                assert_eq!(resolved.answer.event, event);
                let payload = args.first().cloned().unwrap_or(Data::Null);
                assert_eq!(resolved.answer.payload, payload);
            }
        }
    }

    #[test]
    fn values_that_make_no_room_are_room_invalid() {
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
        let body =
            object(&[("room", "r".into()), ("event", "news".into()), ("data", data.clone())]);
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
    fn the_publisher_can_be_left_out() {
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
    fn the_first_rule_of_an_event_handles_it() {
        let rules =
            EventRules::compile(&[rule("go", Operation::Join), rule("go", Operation::Leave)]);
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
    fn rules_that_cannot_be_understood_name_their_key() {
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
        let publish = |event: &str| EventRule {
            event: Some(event.to_owned()),
            ..rule("x", Operation::Publish)
        };
        let cases = [
            (rule("", Operation::Join), "on"),
            (EventRule { room: "{a}{b}".to_owned(), ..join() }, "room"),
            (EventRule { event: Some("e".to_owned()), ..join() }, "event"),
            (EventRule { args: Some(vec![]), ..join() }, "args"),
            (
                EventRule { reply: Some(Reply { event: "connect".to_owned() }), ..join() },
                "reply.event",
            ),
            (rule("x", Operation::Publish), "event"),
            (publish("disconnect"), "event"),
            (publish("{"), "event"),
            (EventRule { args: Some(vec!["}".to_owned()]), ..publish("e") }, "args"),
            (rule("x", Operation::ByField), "byField"),
            (
                EventRule { operation: Operation::Join, ..by_field(Some("J"), None, None) },
                "byField",
            ),
            (by_field(None, None, None), "byField"),
            (by_field(Some("A"), Some("A"), None), "byField"),
            (by_field(None, None, Some("P")), "event"),
        ];
        for (bad, key) in cases {
            let error = EventRules::compile(&[join(), bad.clone()]).unwrap_err();
            assert_eq!((error.section, error.index, error.key), ("events", 1, key), "{bad:?}");
        }
    }
}
