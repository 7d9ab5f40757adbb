//! [`Rules`]: who may join and publish, room by room.

use std::sync::Arc;

use cel::Env;

use crate::RoomRule;

use super::expression::{Expression, Scope};
use super::pattern::Pattern;
use super::subject::Subject;

/// The class of rooms that no rule matches.
const DEFAULT_CLASS: &str = "default";

/// The compiled `rooms` of the configuration. The first rule whose pattern matches decides.
pub struct Rules {
    rules: Vec<Rule>,
    classes: Vec<Arc<str>>,
    env: Arc<Env>,
}

#[derive(Debug)]
struct Rule {
    pattern: Pattern,
    name: Arc<str>,
    class: usize,
    join: Option<Expression>,
    publish: Option<Expression>,
}

/// What a rule is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// To become a member.
    Join,
    /// To publish as a client.
    Publish,
}

impl Permission {
    /// The key of `rooms` that answers it, and `action` in the HTTP API.
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

/// Whether something is allowed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is.
    pub allowed: bool,
    /// The pattern of the rule that decided.
    pub rule: Option<Arc<str>>,
    /// Why, for operators: it may quote expressions and claims, so it is not for clients.
    pub why: String,
    /// Index in [`Rules::classes`].
    pub class: usize,
}

/// What is wrong with a rule of `rooms` or `events`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{section}[{index}].{key}: {message}")]
pub struct RuleError {
    /// `rooms` or `events`.
    pub section: &'static str,
    /// Which rule of it, from 0.
    pub index: usize,
    /// Which key of the rule.
    pub key: &'static str,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_list().entries(&self.rules).finish()
    }
}

impl Rules {
    /// Compiles the rules.
    ///
    /// # Errors
    /// The first pattern or expression that cannot be understood, or that repeats an earlier
    /// pattern and so could never match.
    pub fn compile(config: &[RoomRule]) -> Result<Self, RuleError> {
        let mut classes: Vec<Arc<str>> = vec![DEFAULT_CLASS.into()];
        let mut rules: Vec<Rule> = Vec::with_capacity(config.len());
        for (index, rule) in config.iter().enumerate() {
            let error = |key, message| RuleError { section: "rooms", index, key, message };
            let pattern = Pattern::parse(&rule.pattern)
                .map_err(|problem| error("match", problem.to_string()))?;
            if let Some(earlier) = rules.iter().position(|r| r.pattern.as_str() == rule.pattern) {
                let message =
                    format!("rooms[{earlier}] matches the same rooms; remove one of them");
                return Err(error("match", message));
            }
            let expression = |key, text: &Option<String>| match text {
                Some(text) => Expression::compile(text, pattern.names())
                    .map(Some)
                    .map_err(|message| error(key, message)),
                None => Ok(None),
            };
            let join = expression("join", &rule.join)?;
            let publish = expression("publish", &rule.publish)?;
            let name: Arc<str> = rule.pattern.as_str().into();
            let class = classes.iter().position(|class| *class == name).unwrap_or_else(|| {
                classes.push(name.clone());
                classes.len() - 1
            });
            rules.push(Rule { pattern, name, class, join, publish });
        }
        Ok(Rules { rules, classes, env: Arc::new(Env::stdlib()) })
    }

    /// Whether `subject` may join or publish in `room`.
    ///
    /// Without any rule everything is allowed; with rules, what none matches is not. A rule
    /// without the key allows it. An expression that fails, or gives anything but `true`, denies.
    pub fn decide(&self, permission: Permission, room: &str, subject: &Subject) -> Decision {
        let decided =
            |allowed, why: &str| Decision { allowed, rule: None, why: why.to_owned(), class: 0 };
        if self.rules.is_empty() {
            return decided(true, "no rules are configured");
        }
        let matched = self.rules.iter().find_map(|rule| Some((rule, rule.pattern.matches(room)?)));
        let Some((rule, captures)) = matched else {
            return decided(false, "no rule matches this room");
        };
        let expression = match permission {
            Permission::Join => &rule.join,
            Permission::Publish => &rule.publish,
        };
        let (allowed, why) = match expression {
            None => (true, format!("the rule has no `{}`, so it allows it", permission.key())),
            Some(expression) => {
                let scope = Scope { captures: &captures, room, subject };
                let text = expression.as_str();
                match expression.evaluate(&self.env, &scope) {
                    Ok(answer) => (answer, format!("`{text}` is {answer}")),
                    Err(problem) => (false, format!("`{text}` failed: {problem}")),
                }
            }
        };
        Decision { allowed, rule: Some(rule.name.clone()), why, class: rule.class }
    }

    /// The class of a room: the label `class` of the latency histogram. It is the pattern that
    /// matches, or `default`.
    pub fn class_of(&self, room: &str) -> &str {
        &self.classes[self.class_index(room)]
    }

    /// The index of a room's class in [`Rules::classes`].
    pub fn class_index(&self, room: &str) -> usize {
        let matched = self.rules.iter().find(|rule| rule.pattern.is_match(room));
        matched.map_or(0, |rule| rule.class)
    }

    /// Every class once, `default` first, then the patterns in order.
    pub fn classes(&self) -> &[Arc<str>] {
        &self.classes
    }
}

#[cfg(test)]
mod tests;
