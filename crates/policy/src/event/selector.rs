//! [`Selector`]: how a rule selects its operation.

use rookery_protocol::Data;

use crate::event_rule::{EventRule, Operation};
use crate::refusal::{Code, Refusal};
use crate::template::{kind, lookup};

/// How a rule selects its operation.
#[derive(Debug)]
pub(super) enum Selector {
    Always(Operation),
    ByField { path: String, operations: Vec<(String, Operation)> },
}

impl Selector {
    /// Compiles a rule's `operation` and `byField`.
    ///
    /// # Errors
    /// Returns the first key that is wrong, and what is wrong with it.
    pub(super) fn compile(rule: &EventRule) -> Result<Self, (&'static str, String)> {
        let fields = match (rule.operation, &rule.by_field) {
            (Operation::ByField, Some(fields)) => fields,
            (Operation::ByField, None) => {
                let message = "it is missing; write {name: FIELD, join: VALUE, leave: VALUE}";
                return Err(("byField", message.to_owned()));
            }
            (operation, None) => return Ok(Selector::Always(operation)),
            (_, Some(_)) => {
                let message = "it has a meaning only with `operation: byField`";
                return Err(("byField", message.to_owned()));
            }
        };
        if fields.name.split('.').any(str::is_empty) {
            return Err(("byField.name", "write the name of a field".to_owned()));
        }
        let named = [
            (&fields.join, Operation::Join),
            (&fields.leave, Operation::Leave),
            (&fields.publish, Operation::Publish),
        ];
        let mut operations: Vec<(String, Operation)> = Vec::new();
        for (value, operation) in named {
            let Some(value) = value else { continue };
            if operations.iter().any(|(other, _)| other == value) {
                let message = format!("`{value}` cannot stand for two operations");
                return Err(("byField", message));
            }
            operations.push((value.clone(), operation));
        }
        if operations.is_empty() {
            return Err(("byField", "write a value for join, leave or publish".to_owned()));
        }
        Ok(Selector::ByField { path: fields.name.clone(), operations })
    }

    /// Whether the selector can select the operation.
    pub(super) fn has(&self, wanted: Operation) -> bool {
        match self {
            Selector::Always(operation) => *operation == wanted,
            Selector::ByField { operations, .. } => operations.iter().any(|(_, o)| *o == wanted),
        }
    }

    /// Whether a field selects the operation.
    pub(super) fn is_by_field(&self) -> bool {
        matches!(self, Selector::ByField { .. })
    }

    /// The value of the field that selects the operation.
    pub(super) fn name<'a>(&self, body: &'a Data) -> Option<&'a Data> {
        match self {
            Selector::Always(_) => None,
            Selector::ByField { path, .. } => lookup(body, path),
        }
    }

    /// The operation that an event with the first argument `body` asks for.
    ///
    /// # Errors
    /// `bad_request` if `body` is not an object, and `unknown_operation` if its field has none of
    /// the values that the rule knows.
    pub(super) fn operation(&self, body: &Data) -> Result<Operation, Refusal> {
        match self {
            Selector::Always(operation) => Ok(*operation),
            Selector::ByField { path, operations } => selected(body, path, operations),
        }
    }
}

fn selected(
    body: &Data,
    path: &str,
    operations: &[(String, Operation)],
) -> Result<Operation, Refusal> {
    if !matches!(body, Data::Object(_)) {
        let message = format!("expected an object with the field `{path}`, found {}", kind(body));
        return Err(Refusal::new(Code::BadRequest, message));
    }
    let name = lookup(body, path).and_then(Data::as_str);
    let known = operations.iter().find(|(value, _)| Some(value.as_str()) == name);
    known.map(|(_, operation)| *operation).ok_or_else(|| {
        let values: Vec<_> = operations.iter().map(|(value, _)| format!("`{value}`")).collect();
        let message = format!("`{path}` must be {}", values.join(" or "));
        Refusal::new(Code::UnknownOperation, message)
    })
}
