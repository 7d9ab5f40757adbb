//! [`Request`]: a client event, and the answer to it.

use std::borrow::Cow;
use std::sync::Arc;

use rookery_protocol::{Data, DataRef};
use smallvec::{SmallVec, smallvec};

use super::action::Action;
use super::list_outcome::ListOutcome;
use super::rule::Rule;
use crate::refusal::{Code, Refusal};

/// A client event. It keeps what the client sent, so that an answer is made only where one is
/// sent, and from borrowed values.
#[derive(Clone, Debug)]
pub struct Request {
    handler: Handler,
    event: String,
    /// The first argument; `null` if there is none.
    body: Data,
}

/// What handles an event.
#[derive(Clone, Debug)]
enum Handler {
    Rule(Arc<Rule>),
    /// The server itself.
    Server {
        reply_event: &'static str,
    },
    /// Nothing: no rule has the event's name.
    Unknown,
}

impl Request {
    pub(super) fn new(rule: Option<&Arc<Rule>>, event: String, args: Vec<Data>) -> Self {
        let handler = rule.map_or(Handler::Unknown, |rule| Handler::Rule(rule.clone()));
        Request { handler, event, body: args.into_iter().next().unwrap_or(Data::Null) }
    }

    /// The request of an event that the server handles itself. The answer's `payload` is `payload`.
    pub fn of_server(event: String, payload: Data, reply_event: &'static str) -> Self {
        Request { handler: Handler::Server { reply_event }, event, body: payload }
    }

    /// What the event asks for.
    ///
    /// # Errors
    /// `unknown_operation` if no rule handles the event or its rule does not know the operation;
    /// `bad_request` or `room_invalid` if its argument does not have the form that the rule expects.
    pub fn action(&self) -> Result<Action, Refusal> {
        match &self.handler {
            Handler::Rule(rule) => rule.action(&self.body),
            Handler::Server { .. } | Handler::Unknown => {
                let message = format!("no rule handles the event `{}`", self.event);
                Err(Refusal::new(Code::UnknownOperation, message))
            }
        }
    }

    /// Takes the arguments that the rule publishes. Where possible they are moved out of the
    /// request, whose answer is incomplete until [`Request::restore_args`].
    pub fn take_args(&mut self) -> SmallVec<[Data; 1]> {
        match &self.handler {
            Handler::Rule(rule) => rule.take_args(&mut self.body),
            Handler::Server { .. } | Handler::Unknown => SmallVec::new(),
        }
    }

    /// Puts back the arguments that [`Request::take_args`] has taken.
    pub fn restore_args(&mut self, args: SmallVec<[Data; 1]>) {
        if let Handler::Rule(rule) = &self.handler {
            rule.restore_args(&mut self.body, args);
        }
    }

    /// The event that carries the answer to a client that gave no ack callback. If `None`, success
    /// is silent and a refusal is the event `rookery:error`.
    pub fn reply_event(&self) -> Option<&str> {
        match &self.handler {
            Handler::Rule(rule) => rule.reply_event(),
            Handler::Server { reply_event } => Some(reply_event),
            Handler::Unknown => None,
        }
    }

    /// Calls `encode` with the answer `{status: "SUCCESS", event, payload}` and, where somebody is
    /// told of, `presence`.
    pub fn success<T>(
        &self,
        presence: Option<DataRef<'_>>,
        encode: impl FnOnce(DataRef<'_>) -> T,
    ) -> T {
        let event = self.answer_event();
        let mut answer: SmallVec<[(&str, DataRef<'_>); 4]> = smallvec![
            ("status", DataRef::Text("SUCCESS")),
            ("event", DataRef::Text(&event)),
            ("payload", self.payload().into()),
        ];
        answer.extend(presence.map(|presence| ("presence", presence)));
        encode(DataRef::Object(&answer))
    }

    /// Calls `encode` with the answer `{status: "ERROR", event, payload, error: {code, message}}`.
    pub fn error<T>(&self, refusal: &Refusal, encode: impl FnOnce(DataRef<'_>) -> T) -> T {
        let error = [
            ("code", DataRef::Text(refusal.code.as_str())),
            ("message", DataRef::Text(&refusal.message)),
        ];
        encode(DataRef::Object(&[
            ("status", DataRef::Text("ERROR")),
            ("event", DataRef::Text(&self.answer_event())),
            ("payload", self.payload().into()),
            ("error", DataRef::Object(&error)),
        ]))
    }

    /// Calls `encode` with the answer to an event that names several rooms: that of
    /// [`Request::success`] or, where a room was refused, of [`Request::error`], and `joined`, the
    /// rooms that were not refused (`left` for a leave), and `refused`, a list of
    /// `{index, room, code, message}`; and `presence`, where somebody is told of.
    pub fn of_list<T>(
        &self,
        outcome: &ListOutcome,
        presence: Option<DataRef<'_>>,
        encode: impl FnOnce(DataRef<'_>) -> T,
    ) -> T {
        let (done, refused) = (outcome.done(), outcome.refused());
        let (event, error) = (self.answer_event(), outcome.error());
        let status = if error.is_some() { "ERROR" } else { "SUCCESS" };
        let error = error.as_ref().map(|error| {
            [
                ("code", DataRef::Text(error.code.as_str())),
                ("message", DataRef::Text(&error.message)),
            ]
        });
        let mut answer: SmallVec<[(&str, DataRef<'_>); 7]> = smallvec![
            ("status", DataRef::Text(status)),
            ("event", DataRef::Text(&event)),
            ("payload", self.payload().into()),
            (outcome.key, DataRef::Value(&done)),
            ("refused", DataRef::Value(&refused)),
        ];
        answer.extend(presence.map(|presence| ("presence", presence)));
        answer.extend(error.as_ref().map(|error| ("error", DataRef::Object(error))));
        encode(DataRef::Object(&answer))
    }

    /// The answer's `event`: the operation's name with `byField`, otherwise the client event's.
    fn answer_event(&self) -> Cow<'_, str> {
        match &self.handler {
            Handler::Rule(rule) => rule.operation_name(&self.body),
            Handler::Server { .. } | Handler::Unknown => None,
        }
        .unwrap_or(Cow::Borrowed(&self.event))
    }

    /// The answer's `payload`: the argument's `payload` with `byField`, otherwise the argument.
    fn payload(&self) -> &Data {
        match &self.handler {
            Handler::Rule(rule) => rule.payload(&self.body),
            Handler::Server { .. } | Handler::Unknown => &self.body,
        }
    }
}
