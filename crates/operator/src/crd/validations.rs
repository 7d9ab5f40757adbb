//! Adds validation rules to the definition's schema, so that the cluster refuses what is wrong when
//! it is applied. The rules use only functions of CEL that Kubernetes 1.29 has.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool, ValidationRule,
};
use rookery_config::units::{Period, Rate, Size};
use schemars::{JsonSchema, SchemaGenerator};

use super::forms::{CONFIG_FORMS, FORMS, Form, PERIOD, RATE, SIZE};
use super::relations::{BOUNDS, RELATIONS};

/// The most entries of a map of labels, annotations, variables or quantities.
const MOST_ENTRIES: i64 = 128;

/// Gives a time, size or rate its rule instead of its pattern, whose message would not say what is
/// expected.
pub(super) fn of_units(schema: &mut JSONSchemaProps) {
    for (pattern, form) in
        [(pattern::<Period>(), &PERIOD), (pattern::<Size>(), &SIZE), (pattern::<Rate>(), &RATE)]
    {
        if schema.pattern.is_some() && schema.pattern == pattern {
            require(schema, form);
        }
    }
}

/// Adds the rules of [`FORMS`], [`CONFIG_FORMS`], [`BOUNDS`] and [`RELATIONS`] to the schema of a
/// spec.
pub(super) fn add(spec: &mut JSONSchemaProps) {
    for (path, change) in BOUNDS {
        at(spec, path, &mut |schema, _| change(schema));
    }
    for (path, form) in FORMS {
        at(spec, path, &mut |schema, of_keys| {
            if of_keys { require_keys(schema, form) } else { require(schema, form) }
        });
    }
    for (path, form) in CONFIG_FORMS {
        at(spec, path, &mut |schema, _| require(schema, form));
    }
    for (path, rule, message) in RELATIONS {
        at(spec, path, &mut |schema, _| push(schema, (*rule).to_owned(), (*message).to_owned()));
    }
}

/// The pattern in the schema of a unit.
fn pattern<T: JsonSchema>() -> Option<String> {
    let schema = T::json_schema(&mut SchemaGenerator::default()).to_value();
    let found = schema.pointer("/pattern").or_else(|| schema.pointer("/anyOf/1/pattern"));
    found.and_then(|pattern| pattern.as_str()).map(str::to_owned)
}

fn require(schema: &mut JSONSchemaProps, form: &Form) {
    let matches = format!("matches(r\"{}\")", form.pattern);
    let rule = match schema.x_kubernetes_int_or_string {
        Some(true) => {
            format!("type(self) == int ? int(self) >= {} : string(self).{matches}", least(form))
        }
        _ => format!("self.{matches}"),
    };
    schema.pattern = None;
    schema.min_length = None;
    let longest = i64::from(form.longest);
    schema.max_length = Some(schema.max_length.map_or(longest, |max| max.min(longest)));
    push(schema, rule, format!("expected {}", form.expected));
}

/// What a rule of [`require`] or [`require_keys`] asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RequiredForm<'r> {
    /// A regular expression (RE2) that matches the whole text.
    pub(crate) pattern: &'r str,
    /// The least number, where there may be a number instead.
    pub(crate) least: Option<u8>,
    /// Whether the keys of a map are meant.
    pub(crate) of_keys: bool,
}

/// The form that a rule asks for; `None` of a rule that is about something else.
pub(crate) fn form_of(rule: &str) -> Option<RequiredForm<'_>> {
    let keys = rule.strip_prefix("self.all(key, key.").and_then(|rest| rest.strip_suffix(')'));
    let number = rule.strip_prefix("type(self) == int ? int(self) >= ");
    let number = number.and_then(|rest| rest.split_once(" : string(self)."));
    let (least, call) = match (keys, number) {
        (Some(call), _) => (None, call),
        (None, Some((least, call))) => (Some(least.parse().ok()?), call),
        (None, None) => (None, rule.strip_prefix("self.")?),
    };
    let pattern = call.strip_prefix("matches(r\"")?.strip_suffix("\")")?;
    Some(RequiredForm { pattern, least, of_keys: keys.is_some() })
}

/// A size is more than zero, and a quantity at least zero.
fn least(form: &Form) -> u8 {
    u8::from(*form == SIZE)
}

fn require_keys(schema: &mut JSONSchemaProps, form: &Form) {
    schema.max_properties = Some(MOST_ENTRIES);
    let rule = format!("self.all(key, key.matches(r\"{}\"))", form.pattern);
    push(schema, rule, format!("has a key that is none: expected {}", form.expected));
}

fn push(schema: &mut JSONSchemaProps, rule: String, message: String) {
    let rule = ValidationRule { rule, message: Some(message), ..ValidationRule::default() };
    schema.x_kubernetes_validations.get_or_insert_default().push(rule);
}

/// Finds the schema at a path of [`FORMS`], and whether its keys are meant.
///
/// # Panics
/// If there is none: every path is a constant, and the definition itself is one.
fn at(
    schema: &mut JSONSchemaProps,
    path: &str,
    change: &mut dyn FnMut(&mut JSONSchemaProps, bool),
) {
    if path.is_empty() || path == "{key}" {
        return change(schema, !path.is_empty());
    }
    let (inner, rest) = if let Some(rest) = path.strip_prefix("[]") {
        let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items else {
            panic!("no list at {path}")
        };
        (&mut **items, rest)
    } else if let Some(rest) = path.strip_prefix("{}") {
        let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties else {
            panic!("no map at {path}")
        };
        (&mut **values, rest)
    } else {
        let path = path.strip_prefix('.').unwrap_or(path);
        let end = path.find(['.', '[', '{']).unwrap_or(path.len());
        let (name, rest) = path.split_at(end);
        let found = schema.properties.as_mut().and_then(|all| all.get_mut(name));
        (found.unwrap_or_else(|| panic!("no field {name}")), rest)
    };
    at(inner, rest, change);
}
