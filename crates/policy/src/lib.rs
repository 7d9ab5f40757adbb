//! Policy: which room an event means, and who may join or publish there.
//!
//! Everything here is a pure function of the configuration and its arguments: never async, no
//! I/O, no clock. Templates make room names from events, patterns read them back, rules decide
//! by CEL expressions over what a pattern captured and what the token claims.

#![forbid(unsafe_code)]

mod event;
mod event_rule;
mod expression;
mod parts;
mod pattern;
mod refusal;
mod room_rule;
mod rules;
mod subject;
mod template;

pub use event::{Action, Answer, EventRules, Resolved};
pub use event_rule::{ByField, EventRule, Except, Operation, Reply};
pub use parts::TemplateError;
pub use pattern::{Captures, Pattern};
pub use refusal::{Code, Refusal};
pub use room_rule::RoomRule;
pub use rules::{Decision, Permission, RuleError, Rules};
pub use subject::Subject;
pub use template::{ArgTemplate, Template, TextTemplate};
