//! [`EventRules`]: what a client event does to rooms, and how the server answers it.

use std::collections::HashMap;
use std::sync::Arc;

use rookery_protocol::{Data, RESERVED_EVENTS, Room};

use crate::event_rule::{EventRule, Except, Operation};
use crate::parts::TemplateError;
use crate::refusal::{Code, Refusal};
use crate::rule_error::RuleError;
use crate::template::{ArgTemplate, Template, TextTemplate, kind, lookup};

/// The compiled `events` of the configuration. The first rule with an event's name handles the
/// event.
#[derive(Debug)]
pub struct EventRules {
    rules: HashMap<String, Rule>,
}

#[derive(Debug)]
struct Rule {
    selector: Selector,
    room: Template,
    publish: Option<Publish>,
    reply: Option<Arc<str>>,
}

/// How a rule selects its operation.
#[derive(Debug)]
enum Selector {
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
    /// What the event asks for, or why it is refused.
    pub action: Result<Action, Refusal>,
    /// The answer, complete but for the outcome.
    pub answer: Answer,
}

/// What a client event asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// To become a member of a room.
    Join {
        /// The room to join.
        room: Room,
    },
    /// To end a membership. Leaving a room that the client is not in succeeds.
    Leave {
        /// The room to leave.
        room: Room,
    },
    /// To publish to a room, of which the client need not be a member.
    Publish {
        /// The room to publish to.
        room: Room,
        /// The name of the event that members receive; never a reserved name.
        event: String,
        /// The arguments of the event that members receive.
        args: Vec<Data>,
        /// Whether the publication skips its own publisher.
        except_sender: bool,
    },
}

/// The answer to a client event, before its outcome is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The event that carries the answer to a client that gave no ack callback. If `None`, success
    /// is silent and a refusal is the event `rookery:error`.
    pub reply_event: Option<Arc<str>>,
    /// The answer's `event`: the operation's name with `byField`, otherwise the client event's.
    pub event: String,
    /// The answer's `payload`: the argument's `payload` with `byField`, otherwise the argument.
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
    /// Fails at the first key that is missing, has no meaning in its rule, or holds a malformed
    /// template.
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

    /// Resolves the client event `event` with `args`; `None` if no rule handles it.
    pub fn resolve(&self, event: &str, args: &[Data]) -> Option<Resolved> {
        let rule = self.rules.get(event)?;
        let body = args.first().unwrap_or(&Data::Null);
        let (operation, answer_event, payload) = match &rule.selector {
            Selector::Always(operation) => (Ok(*operation), event.to_owned(), body.clone()),
            Selector::ByField { path, operations } => {
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
                (selected(body, path, name, operations), answer_event, payload.clone())
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
        let selector = Selector::compile(rule)?;
        let publish = match (&rule.event, selector.has(Operation::Publish)) {
            (Some(event), true) => Some(Publish::compile(event, rule)?),
            (None, true) => {
                let message = "it is missing; write the event that is published, such as `{event}`";
                return Err(("event", message.to_owned()));
            }
            (None, false) if rule.args.is_none() => None,
            (event, false) => {
                let key = if event.is_some() { "event" } else { "args" };
                return Err((key, "it has a meaning only if the rule publishes".to_owned()));
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
            selector,
            room: Template::parse(&rule.room).map_err(in_key("room"))?,
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
                unreachable!("`compile` gives every rule that publishes its `Publish`")
            }
        })
    }
}

impl Selector {
    fn compile(rule: &EventRule) -> Result<Self, (&'static str, String)> {
        let fields = match (rule.operation, &rule.by_field) {
            (Operation::ByField, Some(fields)) => fields,
            (Operation::ByField, None) => {
                let message = "it is missing; write {name: FIELD, join: VALUE, leave: VALUE}";
                return Err(("byField", message.to_owned()));
            }
            (operation, None) => return Ok(Selector::Always(operation)),
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
        Ok(Selector::ByField { path: fields.name.clone(), operations })
    }

    fn has(&self, wanted: Operation) -> bool {
        match self {
            Selector::Always(operation) => *operation == wanted,
            Selector::ByField { operations, .. } => operations.iter().any(|(_, o)| *o == wanted),
        }
    }
}

impl Publish {
    fn compile(event: &str, rule: &EventRule) -> Result<Self, (&'static str, String)> {
        let event = TextTemplate::parse(event).map_err(in_key("event"))?;
        if let Some(name) = event.constant().filter(|name| is_reserved(name)) {
            return Err(("event", format!("`{name}` is reserved by Socket.IO")));
        }
        let args = rule.args.iter().flatten().map(|arg| ArgTemplate::parse(arg));
        Ok(Publish {
            event,
            args: args.collect::<Result<_, _>>().map_err(in_key("args"))?,
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

fn selected(
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

fn in_key(key: &'static str) -> impl Fn(TemplateError) -> (&'static str, String) {
    move |problem| (key, problem.to_string())
}

#[cfg(test)]
mod tests;
