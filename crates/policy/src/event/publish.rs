//! [`Publish`]: the event that a rule publishes.

use std::sync::Arc;

use rookery_protocol::{Data, RESERVED_EVENTS};
use smallvec::SmallVec;

use super::control_events::ControlEvents;
use crate::event_rule::{EventRule, Except};
use crate::parts::TemplateError;
use crate::refusal::Refusal;
use crate::template::{ArgTemplate, TextTemplate, lookup_mut};

/// The event that members of the room receive.
#[derive(Debug)]
pub(super) struct Publish {
    event: TextTemplate,
    args: Vec<Arg>,
    except_sender: bool,
    control: Arc<ControlEvents>,
}

#[derive(Debug)]
struct Arg {
    template: ArgTemplate,
    /// The field that the argument is moved from. Without it, the argument is copied: it is not
    /// the whole value of a field, or another argument uses the same value.
    moved_from: Option<String>,
}

impl Publish {
    /// Compiles a rule's `args` and `except`, and its `event`.
    ///
    /// # Errors
    /// Returns the first key that is wrong, and what is wrong with it.
    pub(super) fn compile(
        event: &str,
        rule: &EventRule,
        control: &Arc<ControlEvents>,
    ) -> Result<Self, (&'static str, String)> {
        let key = |key| move |problem: TemplateError| (key, problem.to_string());
        let event = TextTemplate::parse(event).map_err(key("event"))?;
        if let Some(name) = event.constant().filter(|name| is_reserved(name)) {
            return Err(("event", format!("`{name}` is reserved by Socket.IO")));
        }
        let args = rule.args.iter().flatten().map(|arg| ArgTemplate::parse(arg));
        let args: Vec<_> = args.collect::<Result<_, _>>().map_err(key("args"))?;
        let except_sender = rule.except == Except::Sender;
        Ok(Publish { event, args: with_moves(args), except_sender, control: control.clone() })
    }

    /// Whether the publication skips its own publisher.
    pub(super) fn except_sender(&self) -> bool {
        self.except_sender
    }

    /// The event's name.
    ///
    /// # Errors
    /// `bad_request` if `body` makes no name, or a reserved one; `forbidden` if it makes that of a
    /// control event.
    pub(super) fn event(&self, body: &Data) -> Result<String, Refusal> {
        let event = self.event.text(body)?;
        self.control.check(&event)?;
        Ok(event)
    }

    /// The event's arguments, taken out of `body` where possible.
    pub(super) fn take_args(&self, body: &mut Data) -> SmallVec<[Data; 1]> {
        let take = |arg: &Arg| match &arg.moved_from {
            Some(path) => {
                let value = lookup_mut(body, path);
                value.map_or(Data::Null, |value| std::mem::replace(value, Data::Null))
            }
            None => arg.template.value(body),
        };
        self.args.iter().map(take).collect()
    }

    /// Puts `args` back to where [`Publish::take_args`] took them from.
    pub(super) fn restore_args(&self, body: &mut Data, args: SmallVec<[Data; 1]>) {
        for (arg, value) in self.args.iter().zip(args) {
            if let Some(place) = arg.moved_from.as_deref().and_then(|path| lookup_mut(body, path)) {
                *place = value;
            }
        }
    }
}

/// Decides which arguments are moved.
fn with_moves(templates: Vec<ArgTemplate>) -> Vec<Arg> {
    let is_shared = |at: usize, path: &str| {
        let others = templates.iter().enumerate().filter(|(other, _)| *other != at);
        others.flat_map(|(_, other)| other.paths()).any(|other| overlap(path, other))
    };
    let moved_from: Vec<_> = templates
        .iter()
        .enumerate()
        .map(|(at, arg)| arg.field().filter(|path| !is_shared(at, path)).map(str::to_owned))
        .collect();
    let args = templates.into_iter().zip(moved_from);
    args.map(|(template, moved_from)| Arg { template, moved_from }).collect()
}

/// Whether two paths lead to the same value, or one to a value inside the other's.
fn overlap(one: &str, other: &str) -> bool {
    one.split('.').zip(other.split('.')).all(|(one, other)| one == other)
}

/// Whether Socket.IO reserves the event's name.
pub(super) fn is_reserved(event: &str) -> bool {
    RESERVED_EVENTS.contains(&event)
}
