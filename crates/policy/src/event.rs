//! [`EventRules`]: what a client event does to rooms, and how the server answers it.

mod action;
mod control_events;
mod list_outcome;
mod publish;
mod request;
mod rule;
mod selector;

use std::collections::BTreeMap;
use std::sync::Arc;

use rookery_protocol::Data;

use crate::event_rule::EventRule;
use crate::rule_error::RuleError;
pub use action::Action;
use control_events::ControlEvents;
pub use control_events::sole_sender;
pub use list_outcome::ListOutcome;
pub use request::Request;
use rule::Rule;

/// The compiled `events` of the configuration. The first rule with an event's name handles the
/// event.
#[derive(Debug)]
pub struct EventRules {
    rules: BTreeMap<String, Arc<Rule>>,
}

impl EventRules {
    /// Compiles the rules.
    ///
    /// # Errors
    /// Fails at the first key that is missing, has no meaning in its rule, or holds a malformed
    /// template.
    pub fn compile(config: &[EventRule]) -> Result<Self, RuleError> {
        let mut rules = BTreeMap::new();
        let control = Arc::new(ControlEvents::of(config));
        for (index, rule) in config.iter().enumerate() {
            let compiled = Rule::compile(rule, &control).map_err(|(key, message)| RuleError {
                section: "events",
                index,
                key,
                message,
            })?;
            rules.entry(rule.on.clone()).or_insert_with(|| Arc::new(compiled));
        }
        Ok(EventRules { rules })
    }

    /// Whether a rule handles the event.
    pub fn handles(&self, event: &str) -> bool {
        self.rules.contains_key(event)
    }

    /// The request that the client event `event` with `args` is.
    pub fn request(&self, event: String, args: Vec<Data>) -> Request {
        Request::new(self.rules.get(event.as_str()), event, args)
    }
}

#[cfg(test)]
mod tests;
