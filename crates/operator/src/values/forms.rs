//! What the definition of the resource says of a text or a number beyond its type, as JSON Schema for
//! the values of the chart, so that Helm refuses what the cluster would refuse.
//!
//! A sentence stands in a `const`: Helm prints it with the path of the value.

use serde_json::{Map, Value, json};

use super::relations::{self, unless};
use crate::crd;

/// Bounds that are copied as they are.
const BOUNDS: [&str; 7] =
    ["minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "maxProperties"];

/// Fields that are of any type in the values, so that their types are copied too.
const UNTYPED: [&str; 3] =
    ["podTemplate.initContainers.", "podTemplate.sidecars.", "podTemplate.volumes."];

/// Fields that the chart checks itself, with a sentence that names the value.
const CHECKED_BY_THE_CHART: [&str; 2] = ["config.listen", "config.internal"];

/// Fields that may be empty in the values, where the chart leaves them out.
const MAY_BE_EMPTY: [&str; 3] = ["ingress.host", "redis.host", "redis.url"];

/// What the values must be beyond their types.
pub(super) fn of_the_definition() -> Value {
    let definition = serde_json::to_value(crd::definition()).unwrap_or_default();
    let root = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut spec = root["properties"]["spec"].clone();
    if let Some(sections) = spec["properties"].as_object_mut() {
        // A section of its own in the values.
        sections.remove("image");
    }
    let mut forms = Value::Object(of("", &spec, Part::Others));
    relations::add(&mut forms);
    // Without an operator, other units of time are understood too.
    let standalone = json!({ "properties": { "standalone": { "const": true } } });
    let is_standalone = json!({ "required": ["rookery"], "properties": { "rookery": standalone } });
    let periods = of("", &spec, Part::Periods);
    json!([forms, { "if": is_standalone, "else": periods }])
}

/// What is looked for in the definition.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The form of times.
    Periods,
    /// All other forms and bounds.
    Others,
}

fn of(path: &str, schema: &Value, part: Part) -> Map<String, Value> {
    let mut found = Map::new();
    if CHECKED_BY_THE_CHART.contains(&path) {
        return found;
    }
    if part == Part::Others {
        add_bounds(path, schema, &mut found);
    }
    let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    let texts: Vec<Value> = rules.filter_map(|rule| form(path, rule, part, &mut found)).collect();
    if !texts.is_empty() {
        found.insert("allOf".to_owned(), texts.into());
    }
    let join =
        |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let inner = |name: &str, schema: &Value| {
        let inner = of(&join(name), schema, part);
        (!inner.is_empty()).then(|| (name.to_owned(), Value::Object(inner)))
    };
    let fields = schema["properties"].as_object().into_iter().flatten();
    let fields: Map<_, _> = fields.filter_map(|(name, of)| inner(name, of)).collect();
    if !fields.is_empty() {
        found.insert("properties".to_owned(), fields.into());
    }
    found.extend(["items", "additionalProperties"].iter().filter_map(|one| {
        schema.get(one).filter(|of| of.is_object()).and_then(|of| inner(one, of))
    }));
    found
}

fn add_bounds(path: &str, schema: &Value, found: &mut Map<String, Value>) {
    if UNTYPED.iter().any(|prefix| path.starts_with(prefix)) {
        let typed = |key: &str| Some((key.to_owned(), schema.get(key)?.clone()));
        found.extend(["type", "required"].iter().filter_map(|key| typed(key)));
    }
    for bound in BOUNDS {
        if let Some(limit) = schema.get(bound)
            && !crd::is_general_bound(bound, limit)
        {
            found.insert(bound.to_owned(), limit.clone());
        }
    }
}

/// The form of a text, or of the keys of a map, that a rule asks for. Of what may be a number too, the
/// least one goes into `bounds`.
fn form(path: &str, rule: &Value, part: Part, bounds: &mut Map<String, Value>) -> Option<Value> {
    let form = crd::form_of(rule["rule"].as_str()?)?;
    if (form.pattern == crd::PERIOD.pattern) != (part == Part::Periods) {
        return None;
    }
    if let Some(least) = form.least {
        bounds.insert("minimum".to_owned(), least.into());
    }
    let pattern = match MAY_BE_EMPTY.contains(&path) {
        true => format!("^$|{}", form.pattern),
        false => form.pattern.to_owned(),
    };
    let sentence = rule["message"].as_str()?;
    Some(match form.of_keys {
        true => {
            let keys = json!({ "propertyNames": { "pattern": pattern } });
            unless(&keys, sentence)
        }
        false => unless(&json!({ "pattern": pattern }), sentence),
    })
}
