//! [`Decision`]: whether the rules allow a client to join a room or to publish to it.

use std::fmt;

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// To become a member of the room.
    Join,
    /// To publish to the room.
    Publish,
}

impl Permission {
    /// The key of a `rooms` rule that grants it, and the value of `action` in the HTTP API.
    pub fn key(self) -> &'static str {
        match self {
            Permission::Join => "join",
            Permission::Publish => "publish",
        }
    }

    /// The permission with this key.
    pub fn from_key(key: &str) -> Option<Self> {
        [Permission::Join, Permission::Publish].into_iter().find(|p| p.key() == key)
    }
}

/// Whether the rules allow something, which rule decided, and why. It borrows from the rules, and
/// nothing is formatted until the reason is displayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<'r> {
    /// Whether it is allowed.
    pub allowed: bool,
    /// The pattern of the rule that decided; `None` if no rule matched.
    pub rule: Option<&'r str>,
    /// Why it is allowed or denied.
    pub reason: Reason<'r>,
}

/// Why something is allowed or denied. The text is for operators: it may quote expressions and
/// claims, so it must not reach clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason<'r> {
    /// The configuration has no rules, which allows everything.
    NoRules,
    /// No rule matches the room, which denies everything.
    NoMatch,
    /// The rule has no expression for this permission, which allows it.
    NoExpression(Permission),
    /// The expression was evaluated.
    Evaluated {
        /// The expression as it is configured.
        expression: &'r str,
        /// What it evaluated to.
        answer: bool,
    },
    /// The expression could not be evaluated, or not to a boolean, which denies.
    Failed {
        /// The expression as it is configured.
        expression: &'r str,
        /// What went wrong, at most about 300 bytes.
        problem: String,
    },
}

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Reason::NoRules => f.write_str("no rules are configured"),
            Reason::NoMatch => f.write_str("no rule matches this room"),
            Reason::NoExpression(permission) => {
                write!(f, "the rule has no `{}`, so it allows it", permission.key())
            }
            Reason::Evaluated { expression, answer } => write!(f, "`{expression}` is {answer}"),
            Reason::Failed { expression, problem } => {
                write!(f, "`{expression}` failed: {problem}")
            }
        }
    }
}
