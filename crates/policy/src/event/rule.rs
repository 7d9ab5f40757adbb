//! [`Rule`]: a compiled [`EventRule`].

use std::borrow::Cow;
use std::sync::Arc;

use rookery_protocol::Data;
use smallvec::SmallVec;

use super::action::Action;
use super::control_events::ControlEvents;
use super::publish::{Publish, is_reserved};
use super::selector::Selector;
use crate::event_rule::{EventRule, Operation};
use crate::refusal::Refusal;
use crate::room_list::ListTemplate;
use crate::template::Template;

/// What an event that a rule handles does, and how it is answered.
#[derive(Debug)]
pub(super) struct Rule {
    selector: Selector,
    room: Template,
    /// Several rooms at once.
    list: Option<ListTemplate>,
    publish: Option<Publish>,
    reply_event: Option<String>,
}

impl Rule {
    /// Compiles a rule.
    ///
    /// # Errors
    /// Returns the first key that is wrong, and what is wrong with it.
    pub(super) fn compile(
        rule: &EventRule,
        control: &Arc<ControlEvents>,
    ) -> Result<Self, (&'static str, String)> {
        if rule.on.is_empty() {
            return Err(("on", "it is empty; write the name of an event".to_owned()));
        }
        let selector = Selector::compile(rule)?;
        let publish = match (&rule.event, selector.has(Operation::Publish)) {
            (Some(event), true) => Some(Publish::compile(event, rule, control)?),
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
        let reply_event = match &rule.reply {
            Some(reply) if is_reserved(&reply.event) || reply.event.is_empty() => {
                let message = format!("`{}` cannot be an event's name", reply.event);
                return Err(("reply.event", message));
            }
            reply => reply.as_ref().map(|reply| reply.event.clone()),
        };
        let room = Template::parse(&rule.room).map_err(|e| ("room", e.to_string()))?;
        Ok(Rule { selector, list: ListTemplate::of(&room), room, publish, reply_event })
    }

    /// What the event with the first argument `body` asks for, or why it is refused.
    pub(super) fn action(&self, body: &Data) -> Result<Action, Refusal> {
        let operation = self.selector.operation(body)?;
        if operation != Operation::Publish
            && let Some(rooms) = self.list.as_ref().and_then(|list| list.rooms(body))
        {
            let rooms = rooms?;
            return Ok(match operation {
                Operation::Leave => Action::LeaveAll { rooms },
                _ => Action::JoinAll { rooms },
            });
        }
        let room = self.room.room(body)?;
        Ok(match (operation, &self.publish) {
            (Operation::Join, _) => Action::Join { room },
            (Operation::Leave, _) => Action::Leave { room },
            (Operation::Publish, Some(publish)) => Action::Publish {
                room,
                event: publish.event(body)?,
                except_sender: publish.except_sender(),
            },
            (Operation::Publish, None) | (Operation::ByField, _) => {
                unreachable!("`compile` gives every rule that publishes its `Publish`")
            }
        })
    }

    /// Takes the arguments of a publication out of `body`, or copies them.
    pub(super) fn take_args(&self, body: &mut Data) -> SmallVec<[Data; 1]> {
        self.publish.as_ref().map_or_else(SmallVec::new, |publish| publish.take_args(body))
    }

    /// Puts the arguments that were taken out of `body` back.
    pub(super) fn restore_args(&self, body: &mut Data, args: SmallVec<[Data; 1]>) {
        if let Some(publish) = &self.publish {
            publish.restore_args(body, args);
        }
    }

    /// The event that carries the answer to a client that gave no ack callback.
    pub(super) fn reply_event(&self) -> Option<&str> {
        self.reply_event.as_deref()
    }

    /// The name of the operation, if a field of `body` selects it.
    pub(super) fn operation_name<'a>(&self, body: &'a Data) -> Option<Cow<'a, str>> {
        match self.selector.name(body)? {
            Data::String(name) => Some(name.as_str().into()),
            Data::Number(number) => Some(number.to_string().into()),
            _ => None,
        }
    }

    /// The part of `body` that answers repeat.
    pub(super) fn payload<'a>(&self, body: &'a Data) -> &'a Data {
        match body {
            Data::Object(_) if self.selector.is_by_field() => {
                body.get("payload").unwrap_or(&Data::Null)
            }
            body => body,
        }
    }
}
