//! [`ControlEvents`]: the events that clients trust because no other client can send them.

use std::collections::BTreeSet;

use rookery_protocol::RESERVED_EVENTS;

use crate::event_rule::EventRule;
use crate::refusal::{Code, Refusal};

/// What the names of the server's own events begin with.
const PREFIX: &str = "rookery:";

/// The events of tokens: expired, refreshed, and the client's request to refresh one.
const TOKEN_EVENTS: [&str; 3] = ["auth:expired", "auth:refreshed", "auth:refresh"];

/// Who is in a room: came, went, how many there are.
const PRESENCE_EVENTS: [&str; 3] = ["presence:join", "presence:leave", "presence:count"];

/// What clients of Socket.IO 2 emit to themselves, so that a handler cannot tell such an event from
/// one of the network (socket.io-client 2, `lib/socket.js`, `events`). `ping` and `pong`, which are
/// harmless, are names that applications use.
const LOCAL_EVENTS: [&str; 8] = [
    "error",
    "connecting",
    "connect_timeout",
    "reconnect",
    "reconnect_attempt",
    "reconnect_error",
    "reconnect_failed",
    "reconnecting",
];

/// The events that clients cannot publish: those that the server sends itself, among them the
/// replies of the event rules, and those that the client library emits. Backends may publish all
/// but the names that Socket.IO reserves.
#[derive(Clone, Debug, Default)]
pub(crate) struct ControlEvents {
    replies: BTreeSet<String>,
}

impl ControlEvents {
    /// The control events of a configuration with these rules.
    pub(crate) fn of(rules: &[EventRule]) -> Self {
        let replies = rules.iter().filter_map(|rule| rule.reply.as_ref());
        ControlEvents { replies: replies.map(|reply| reply.event.clone()).collect() }
    }

    /// Refuses an event that a client may not publish.
    ///
    /// # Errors
    /// `bad_request` for a name that Socket.IO reserves, `forbidden` for another control event.
    pub(super) fn check(&self, event: &str) -> Result<(), Refusal> {
        if RESERVED_EVENTS.contains(&event) {
            let message = format!("the event name `{event}` is reserved by Socket.IO");
            return Err(Refusal::new(Code::BadRequest, message));
        }
        match self.sender(event) {
            Some(sender) => {
                let message = format!("the event `{event}` is sent by {sender} only");
                Err(Refusal::new(Code::Forbidden, message))
            }
            None => Ok(()),
        }
    }

    /// Who alone sends the event; `None` where clients may publish it.
    pub(crate) fn sender(&self, event: &str) -> Option<&'static str> {
        if LOCAL_EVENTS.contains(&event) {
            return Some("the client library");
        }
        let is_own = event.starts_with(PREFIX)
            || TOKEN_EVENTS.contains(&event)
            || PRESENCE_EVENTS.contains(&event);
        (is_own || self.replies.contains(event)).then_some("the server")
    }
}

/// Who alone sends the event, of the server and the client library, with these rules; `None` where
/// clients may publish it.
pub fn sole_sender(rules: &[EventRule], event: &str) -> Option<&'static str> {
    ControlEvents::of(rules).sender(event)
}
