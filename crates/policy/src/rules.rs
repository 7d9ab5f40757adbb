//! [`Rules`]: who may join rooms and publish to them.

use std::sync::Arc;

use cel::Env;
use serde_json::Value as Json;

use crate::decision::{Decision, Permission, Reason};
use crate::expression::{Expression, Scope};
use crate::namespaces::Namespace;
use crate::pattern::{Pattern, Slices};
use crate::presence::Presence;
use crate::room_hooks::RoomHooks;
use crate::room_rule::RoomRule;
use crate::rule_error::RuleError;
use crate::subject::Subject;

/// The class of rooms that no rule matches.
const DEFAULT_CLASS: &str = "default";

/// The most that `presenceInfo` may give, in bytes of JSON.
pub const MAX_INFO_BYTES: usize = 1024;

/// The compiled `rooms` of the configuration. The first rule whose pattern matches decides.
pub struct Rules {
    rules: Vec<Rule>,
    classes: Vec<Arc<str>>,
    /// Whether a rule has presence or hooks.
    tracks: bool,
    env: Arc<Env>,
}

#[derive(Debug)]
struct Rule {
    pattern: Pattern,
    /// The position of the rule's class in `Rules::classes`.
    class: usize,
    join: Option<Expression>,
    publish: Option<Expression>,
    presence: Presence,
    presence_info: Option<Expression>,
    hooks: RoomHooks,
}

impl Rule {
    /// Whether it is kept track of who is in the rooms.
    fn tracks(&self) -> bool {
        !self.presence.is_off() || !self.hooks.is_empty()
    }
}

/// How a member is kept track of in a room with presence or hooks.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackAs {
    /// What counts as one: a user, or a member.
    pub by: Presence,
    /// Whether the room's members are told; otherwise only the backend is.
    pub is_shown: bool,
    /// What `presenceInfo` gives; `None` without one. The error is a sentence for operators, at most
    /// about 300 bytes, and the member is shown without any.
    pub info: Option<Result<Json, String>>,
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
    /// Fails at the first pattern or expression that does not compile, or that repeats an earlier
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
            let presence_info = expression("presenceInfo", &rule.presence_info)?;
            let known = classes.iter().position(|class| **class == *rule.pattern);
            let class = known.unwrap_or_else(|| {
                classes.push(rule.pattern.as_str().into());
                classes.len() - 1
            });
            let presence = rule.presence;
            let hooks = rule.hooks;
            rules.push(Rule { pattern, class, join, publish, presence, presence_info, hooks });
        }
        let tracks = rules.iter().any(Rule::tracks);
        Ok(Rules { rules, classes, tracks, env: Arc::new(Env::stdlib()) })
    }

    /// Decides whether `subject` may join `room` of a namespace or publish to it.
    ///
    /// Without any rules everything is allowed. With rules, a room that none of them matches is
    /// denied, and a rule without an expression for the permission allows it. An expression that
    /// fails, or evaluates to anything but `true`, denies.
    pub fn decide(
        &self,
        permission: Permission,
        namespace: &Namespace,
        room: &str,
        subject: &Subject,
    ) -> Decision<'_> {
        if self.rules.is_empty() {
            return Decision { allowed: true, rule: None, reason: Reason::NoRules };
        }
        let Some((rule, slices)) = self.first_match(room) else {
            return Decision { allowed: false, rule: None, reason: Reason::NoMatch };
        };
        let expression = match permission {
            Permission::Join => &rule.join,
            Permission::Publish => &rule.publish,
        };
        let (allowed, reason) = match expression {
            None => (true, Reason::NoExpression(permission)),
            Some(expression) => {
                let captures = rule.pattern.captures(slices);
                self.evaluate(expression, &Scope::new(&captures, namespace, room, subject))
            }
        };
        Decision { allowed, rule: Some(rule.pattern.as_str()), reason }
    }

    fn evaluate<'r>(&self, expression: &'r Expression, scope: &Scope) -> (bool, Reason<'r>) {
        let text = expression.text();
        match expression.evaluate(&self.env, scope) {
            Ok(answer) => (answer, Reason::Evaluated { expression: text, answer }),
            Err(problem) => (false, Reason::Failed { expression: text, problem }),
        }
    }

    /// How `subject` is kept track of in `room` of a namespace; `None` where the room's rule has neither
    /// presence nor hooks. With hooks alone, users count.
    pub fn track_as(
        &self,
        namespace: &Namespace,
        room: &str,
        subject: &Subject,
    ) -> Option<TrackAs> {
        if !self.tracks {
            return None;
        }
        let (rule, slices) = self.first_match(room).filter(|(rule, _)| rule.tracks())?;
        let info = rule.presence_info.as_ref().map(|expression| {
            let captures = rule.pattern.captures(slices);
            let scope = Scope::new(&captures, namespace, room, subject);
            expression.evaluate_json(&self.env, &scope).and_then(within_bounds)
        });
        let is_shown = !rule.presence.is_off();
        Some(TrackAs { by: if is_shown { rule.presence } else { Presence::User }, is_shown, info })
    }

    /// Whether a room's rule has presence.
    pub fn has_presence(&self, room: &str) -> bool {
        self.matching(room).is_some_and(|rule| !rule.presence.is_off())
    }

    /// What the backend is told of a room.
    pub fn hooks_of(&self, room: &str) -> RoomHooks {
        self.matching(room).map_or_else(RoomHooks::default, |rule| rule.hooks)
    }

    /// The rule that decides about a room, with what its pattern captures.
    fn first_match<'r>(&self, room: &'r str) -> Option<(&Rule, Slices<'r>)> {
        self.rules.iter().find_map(|rule| Some((rule, rule.pattern.slices(room)?)))
    }

    /// The rule that decides about a room.
    fn matching(&self, room: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.pattern.is_match(room))
    }

    /// The class of a room, which is the label `class` of the latency histogram: the pattern of
    /// the first rule that matches, or `default`.
    pub fn class_of(&self, room: &str) -> &Arc<str> {
        &self.classes[self.class_index(room)]
    }

    /// The position of a room's class in [`Rules::classes`].
    fn class_index(&self, room: &str) -> usize {
        self.matching(room).map_or(0, |rule| rule.class)
    }

    /// Every class once: `default` first, then the patterns in their order.
    pub fn classes(&self) -> &[Arc<str>] {
        &self.classes
    }
}

fn within_bounds(info: Json) -> Result<Json, String> {
    let bytes = info.to_string().len();
    match bytes <= MAX_INFO_BYTES {
        true => Ok(info),
        false => Err(format!("it gives {bytes} bytes; at most {MAX_INFO_BYTES} are allowed")),
    }
}

#[cfg(test)]
mod tests;
