//! Policy: which room a client event refers to, and who may join or publish there.
//!
//! Everything here is a pure function of the configuration and its arguments: not async, without
//! I/O and without a clock. Templates build room names from events, patterns take them apart
//! again, and rules decide with CEL expressions over a pattern's captures and a token's claims.

#![forbid(unsafe_code)]

mod decision;
mod event;
mod event_rule;
mod expression;
mod expression_cost;
mod namespaces;
mod operands;
mod parts;
mod pattern;
mod presence;
mod refusal;
mod regexes;
mod room_hooks;
mod room_list;
mod room_rule;
mod rule_error;
mod rules;
mod subject;
mod template;

pub use decision::{Decision, Permission, Reason};
pub use event::{Action, EventRules, ListOutcome, Request, sole_sender};
pub use event_rule::{ByField, EventRule, Except, Operation, Reply};
pub use namespaces::{
    MAX_NAMESPACE_BYTES, Namespace, NamespaceError, NamespaceProblem, Namespaces, Params,
};
pub use parts::TemplateError;
pub use pattern::{Captures, Pattern};
pub use presence::Presence;
pub use refusal::{Code, Refusal};
pub use room_hooks::{RoomHook, RoomHooks};
pub use room_list::{MAX_LISTED_ROOMS, RoomList};
pub use room_rule::RoomRule;
pub use rule_error::RuleError;
pub use rules::{MAX_INFO_BYTES, Rules, TrackAs};
pub use subject::Subject;
pub use template::{ArgTemplate, Template, TextTemplate};
