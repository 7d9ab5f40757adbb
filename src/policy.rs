//! Policy: which room an event means, and who may join or publish there.
//!
//! Everything here is a pure function of the configuration and its arguments: never async, no
//! I/O, no clock. Templates make room names from events, patterns read them back, rules decide
//! by CEL expressions over what a pattern captured and what the token claims.

mod event;
mod expression;
mod parts;
mod pattern;
mod refusal;
mod rules;
mod subject;
mod template;

pub use event::{Action, Answer, EventRules, Resolved};
pub use parts::TemplateError;
pub use pattern::{Captures, Pattern};
pub use refusal::{Code, Refusal};
pub use rules::{Decision, Permission, RuleError, Rules};
pub use subject::Subject;
pub use template::{ArgTemplate, Template, TextTemplate};
